"""Latency: time of one call at the configuration's batch, from rounds of calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from litefront.objectives.measurement import Measurement, Provenance
from litefront.objectives.runner import bootstrap_interval

__all__ = ["Timing", "busy_cores", "measure_latency", "noisy_reason", "unsteadiness"]

_NOISY_HALF_WIDTH = 0.05


@dataclass(frozen=True)
class Timing:
    """How long the runner times a candidate.

    Attributes:
        min_rounds: Rounds that are always taken.
        round_s: Length of a round, seconds; a round has at least three calls.
        max_s: After this the rounds end, steady or not, seconds.
        warm_up_max_s: Longest warm-up, seconds.
        target_half_width: Rounds go on until the interval is this narrow, as a fraction of the median.
        cold_starts: Fresh processes that load the model and call it once.
    """

    min_rounds: int = 7
    round_s: float = 0.08
    max_s: float = 3.0
    warm_up_max_s: float = 1.0
    target_half_width: float = 0.02
    cold_starts: int = 3

    def to_json(self) -> dict[str, float]:
        """The settings as the runner's request holds them."""
        return asdict(self)


def measure_latency(rounds: Sequence[Mapping[str, Any]], batch_size: int) -> dict[str, Measurement]:
    """Sums up the runner's rounds.

    The p50 is the median over rounds of each round's median, its 95 % interval a bootstrap over rounds; calls of one
    round share their disturbances, so they would make the interval too narrow (Kalibera and Jones, ISMM 2013).
    Disturbed rounds are left out as long as three calm ones remain.

    Args:
        rounds: The reply's `rounds`.
        batch_size: Rows a call.

    Returns:
        `latency_ms` (p50), `latency_p90_ms`, and `throughput_per_s` in samples.
    """
    kept = _calm(rounds)
    medians = [entry["median_ms"] for entry in kept]
    p90s = [entry["p90_ms"] for entry in kept]
    p50_ms = float(np.median(medians))
    low_ms, high_ms = bootstrap_interval(medians)
    calls = int(sum(entry["calls"] for entry in kept))
    over = f"over {len(kept)} rounds, {calls} calls"
    if dropped := len(rounds) - len(kept):
        over += f", {dropped} disturbed left out"
    per_ms = 1000.0 * batch_size
    return {
        "latency_ms": Measurement(p50_ms, "ms", Provenance.MEASURED, f"p50 of a call {over}", (low_ms, high_ms)),
        "latency_p90_ms": Measurement(
            float(np.median(p90s)), "ms", Provenance.MEASURED, f"p90 of a call {over}", bootstrap_interval(p90s)
        ),
        "throughput_per_s": Measurement(
            per_ms / p50_ms, "1/s", Provenance.MEASURED, f"batch / p50 {over}", (per_ms / high_ms, per_ms / low_ms)
        ),
    }


def busy_cores(rounds: Sequence[Mapping[str, Any]]) -> float:
    """Processor seconds a second of calls: how many cores the candidate really kept busy, spinning included."""
    kept = _calm(rounds)
    return float(sum(entry["cpu_s"] for entry in kept) / sum(entry["wall_s"] for entry in kept))


def noisy_reason(rounds: Sequence[Mapping[str, Any]]) -> str | None:
    """Why a latency should be taken with care, or None."""
    disturbed, half_width = unsteadiness(rounds)
    if disturbed:
        return "other work ran beside the measurement"
    if half_width > _NOISY_HALF_WIDTH:
        return f"interval of +-{half_width:.0%}"
    return None


def unsteadiness(rounds: Sequence[Mapping[str, Any]]) -> tuple[bool, float]:
    """How little a timing is to be trusted, least first: whether other work ran beside it, and how wide it scatters.

    The second is the half-width of the p50's interval as a fraction of the p50.
    """
    kept = _calm(rounds)
    medians = [entry["median_ms"] for entry in kept]
    low, high = bootstrap_interval(medians)
    return any(entry["disturbed"] for entry in kept), (high - low) / 2 / float(np.median(medians))


def _calm(rounds: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    calm = [entry for entry in rounds if not entry["disturbed"]]
    return calm if len(calm) >= 3 else list(rounds)
