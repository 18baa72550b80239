"""A figure holds together, and survives JSON."""

from __future__ import annotations

import dataclasses
import json

import pytest

from litefront.objectives.measurement import Measurement, Provenance

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_value_must_be_finite(value: float) -> None:
    with pytest.raises(ValueError, match="must be finite, but got .*ms"):
        Measurement(value, "ms", Provenance.MEASURED, "by hand")


@pytest.mark.parametrize("interval", [(NAN, 1.0), (0.0, INF)])
def test_both_ends_of_an_interval_must_be_finite(interval: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        Measurement(1.0, "ms", Provenance.MEASURED, "by hand", interval)


@pytest.mark.parametrize(
    "figure",
    [
        Measurement(0.0, "bytes", Provenance.MEASURED, "the file as stored"),
        Measurement(1.5, "ms", Provenance.COUNTED, "p50", (1.25, 1.75)),
        Measurement(12.0, "mW", Provenance.MODELLED, "x86", (6.0, 24.0), 0.9),
    ],
    ids=["exact", "interval", "confidence"],
)
def test_a_figure_survives_json(figure: Measurement) -> None:
    assert Measurement.from_json(json.loads(json.dumps(figure.to_json(), allow_nan=False))) == figure


def test_an_exact_figure_has_no_confidence() -> None:
    written = Measurement(7, "bytes", Provenance.MEASURED, "the file as stored").to_json()
    assert written == {"value": 7, "unit": "bytes", "provenance": "measured", "source": "the file as stored"}


def test_a_figure_cannot_be_changed() -> None:
    figure = Measurement(1.0, "ms", Provenance.MEASURED, "by hand")
    with pytest.raises(dataclasses.FrozenInstanceError):
        figure.value = 2.0  # type: ignore[misc]
