"""Sizes of contents whose deflated length is known beforehand."""

from __future__ import annotations

import numpy as np

from litefront.objectives.measurement import Provenance
from litefront.objectives.size import measure_size


def test_size_is_that_of_the_file() -> None:
    figure = measure_size(b"x" * 1234)["size_bytes"]
    assert (figure.value, figure.unit, figure.provenance) == (1234, "bytes", Provenance.MEASURED)
    assert figure.interval is None


def test_zeros_deflate_to_a_thousandth() -> None:
    # Deflate gets at best 1032 : 1 (zlib's technical details).
    assert 1_000_000 / 1032 < measure_size(bytes(1_000_000))["download_bytes"].value < 1_100


def test_noise_does_not_deflate() -> None:
    noise = np.random.default_rng(0).bytes(100_000)
    assert 100_000 <= measure_size(noise)["download_bytes"].value < 100_100


def test_zeros_among_noise_show_in_the_download_only() -> None:
    weights = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    dense = measure_size(weights.tobytes())
    weights[::2] = weights[1::4].repeat(2) * 0
    pruned = measure_size(weights.tobytes())
    assert pruned["size_bytes"] == dense["size_bytes"]
    assert pruned["download_bytes"].value < 0.7 * dense["download_bytes"].value


def test_an_empty_file_has_size_zero() -> None:
    assert measure_size(b"")["size_bytes"].value == 0
