"""Published tables of `data/`, and the graphs that they are about, built anew and counted."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from litefront.objectives.tflite_operators import OperatorCounts, count_operators
from litefront.spaces.base_model import save_keras
from litefront.spaces.batch_size import convert
from litefront.spaces.quantization import Quantization, quantize
from litefront.spaces.tensorflow_environment import import_keras, seed_everything
from litefront.spaces.tflite.graph import TfliteGraph

__all__ = ["PublishedLatency", "latencies", "operators", "read_table"]

_DATA = Path(__file__).parent.parent / "data"


@dataclass(frozen=True)
class PublishedLatency:
    """A row of `published_latencies.csv`."""

    profile: str
    model: str
    quantization: str
    threads: int
    latency_ms: float


def read_table(name: str) -> list[dict[str, str]]:
    """A table of `data/`, a dictionary a row."""
    with open(_DATA / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def latencies() -> list[PublishedLatency]:
    """XNNPACK's published latencies."""
    return [
        PublishedLatency(
            row["profile"], row["model"], row["quantization"], int(row["threads"]), float(row["latency_ms"])
        )
        for row in read_table("published_latencies.csv")
    ]


@cache
def operators(model: str, quantization: str) -> tuple[OperatorCounts, ...]:
    """The operators of a MobileNet with random weights at batch 1, as litefront converts and quantizes it."""
    content, side = _float_tflite(model)
    rows = np.random.default_rng(0).random((2, side, side, 3), dtype=np.float32)
    quantized = quantize(content, Quantization(quantization), representative_dataset=rows)
    return tuple(count_operators(TfliteGraph(quantized)))


@cache
def _float_tflite(model: str) -> tuple[bytes, int]:
    # Without a seed a model with dropout converts into a file without a signature, which calibration needs.
    seed_everything(0)
    zoo: Any = import_keras().applications
    side = 128 if model == "mobilenet_v1_025_128" else 224
    shape = (side, side, 3)
    make = {
        "mobilenet_v1": lambda: zoo.MobileNet(shape, weights=None),
        "mobilenet_v1_025_128": lambda: zoo.MobileNet(shape, alpha=0.25, weights=None),
        "mobilenet_v2": lambda: zoo.MobileNetV2(shape, weights=None),
        "mobilenet_v3_large": lambda: zoo.MobileNetV3Large(shape, weights=None, include_preprocessing=False),
        "mobilenet_v3_small": lambda: zoo.MobileNetV3Small(shape, weights=None, include_preprocessing=False),
    }[model]
    with TemporaryDirectory() as folder:
        return convert(save_keras(make(), Path(folder)), 1), side
