"""What quantization-aware training and mixed precision win back of the accuracy that static int8 loses."""

from __future__ import annotations

from harness.compressed_runs import CompressedRun
from harness.figures import figure

from litefront.search.cell_record import CellRecord
from litefront.spaces.deployment_config import BASELINE

__all__ = ["recovered_share", "tell_recovery"]

_RECOVERING = frozenset({"qat_int8", "mixed_int8", "mixed_int16x8"})


def tell_recovery(run: CompressedRun) -> None:
    """Prints what static int8 loses, and the share of it that the best recovering cell wins back."""
    float32 = run.baseline.value("accuracy")
    plain = [record for record in _dense(run) if record.config.quantization.value == "int8"]
    plain = [record for record in plain if record.config.calibration is BASELINE.calibration]
    recovering = [record for record in _dense(run) if record.config.quantization.value in _RECOVERING]
    if not plain or not recovering:
        figure("recovery: cells that count", len(plain) + len(recovering), "cells", ">= 2", False)
        return
    int8 = max(record.value("accuracy") for record in plain)
    best = max(recovering, key=lambda record: record.value("accuracy"))
    lost = float32 - int8
    figure("recovery: points that static int8 loses", round(100 * lost, 2), "points", "> 5", lost > 0.05)
    if lost > 0:
        share = recovered_share(float32, int8, best.value("accuracy"))
        figure("recovery: share of it won back", round(share, 3), "", ">= 0.8", share >= 0.8)
    figure("recovery: best cell", {"cell": best.label(), "accuracy": round(best.value("accuracy"), 4)}, "", "", None)


def recovered_share(float32: float, int8: float, recovered: float) -> float:
    """The share of what `int8` lost against `float32` that `recovered` has won back."""
    return (recovered - int8) / (float32 - int8)


def _dense(run: CompressedRun) -> list[CellRecord]:
    """The cells of whole models that were scored, also those that a gate rejected for what they lost."""
    scored = (record for record in run.results.records if "accuracy" in record.figures)
    return [record for record in scored if not record.config.sparsity and not record.config.clusters]
