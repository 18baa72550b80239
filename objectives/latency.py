"""Latency: time of one call at the configuration's batch, from rounds of calls of one or more measurements."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litefront.objectives.measurement import Measurement, Provenance
from litefront.objectives.runner import bootstrap_interval

__all__ = [
    "MAX_DRIFT",
    "Rounds",
    "Timing",
    "beside_itself",
    "busy_cores",
    "machine_speed",
    "measure_latency",
    "noisy_reason",
    "timing_facts",
]

_NOISY_HALF_WIDTH = 0.05
_RESAMPLES = 400

MAX_DRIFT = 0.05
"""A machine whose speed is within this share of its pace is taken to be at it: so far, figures are left alone."""

Rounds = Sequence[Mapping[str, Any]]
"""The rounds of one measurement, as the runner's reply holds them."""


@dataclass(frozen=True)
class Timing:
    """How long the runner times a candidate.

    Attributes:
        min_rounds: Rounds that are always taken.
        round_s: Length of a round, seconds; a round has at least three calls.
        reference_round_s: Length of the reference's round beside each, seconds.
        max_s: After this the rounds end, steady or not, seconds.
        warm_up_max_s: Longest warm-up, seconds.
        target_half_width: Rounds go on until the interval is this narrow, as a fraction of the median.
        cold_starts: Fresh processes that load the model and call it once.
    """

    min_rounds: int = 7
    round_s: float = 0.04
    reference_round_s: float = 0.015
    max_s: float = 3.0
    warm_up_max_s: float = 1.0
    target_half_width: float = 0.02
    cold_starts: int = 3

    def to_json(self) -> dict[str, float]:
        """The settings as the runner's request holds them."""
        return asdict(self)


def measure_latency(
    measurements: Sequence[Rounds], batch_size: int, *, reference_ms: float | None = None
) -> dict[str, Measurement]:
    """Sums up the measurements of a candidate.

    The p50 of a measurement is the median over its rounds of each round's median; that of several is the median of
    theirs. Its 95 % interval is a bootstrap: of one measurement over its rounds, since calls of one round share their
    disturbances; of several over measurements and the rounds within them, at the level where variance arises (Kalibera
    and Jones, ISMM 2013). Disturbed rounds
    are left out as long as three calm ones remain; so are disturbed measurements, and those that scatter widely, as
    long as a better one is there.

    A measurement in which the reference took over 5 % more or less than `reference_ms` found the machine slower or
    faster than that: each of its rounds is divided by what the reference beside it lost.

    Args:
        measurements: The replies' `rounds`.
        batch_size: Rows a call.
        reference_ms: p50 of the reference's call at the machine's pace; None leaves the rounds as they are.

    Returns:
        `latency_ms` (p50), `latency_p90_ms`, and `throughput_per_s` in samples.
    """
    kept = _kept(measurements)
    p50 = [_times_ms(rounds, "median_ms", reference_ms) for rounds in kept]
    p90 = [_times_ms(rounds, "p90_ms", reference_ms) for rounds in kept]
    p50_ms, (low_ms, high_ms) = _median(p50), _interval(p50)
    over = _over(measurements, kept, reference_ms)
    per_ms = 1000.0 * batch_size
    return {
        "latency_ms": Measurement(p50_ms, "ms", Provenance.MEASURED, f"p50 of a call {over}", (low_ms, high_ms)),
        "latency_p90_ms": Measurement(_median(p90), "ms", Provenance.MEASURED, f"p90 of a call {over}", _interval(p90)),
        "throughput_per_s": Measurement(
            per_ms / p50_ms, "1/s", Provenance.MEASURED, f"batch / p50 {over}", (per_ms / high_ms, per_ms / low_ms)
        ),
    }


def timing_facts(rounds: Rounds, reference_ms: float | None = None) -> dict[str, Any]:
    """What one measurement alone says.

    Returns:
        `latency_ms`, `half_width` of its interval as a fraction of it, `disturbed`, and of the reference beside it
        `beside_ms` as it was and the `machine_speed` that this means; each None if it is not known.
    """
    times = _times_ms(_calm(rounds), "median_ms", reference_ms)
    low, high = _interval([times])
    p50_ms = float(np.median(times))
    return {
        "latency_ms": p50_ms,
        "half_width": (high - low) / 2 / p50_ms,
        "disturbed": _is_disturbed(rounds),
        "beside_ms": _beside_ms(rounds),
        "machine_speed": machine_speed(rounds, reference_ms),
    }


def machine_speed(rounds: Rounds, reference_ms: float | None) -> float | None:
    """How fast the machine was, 1 being its speed when the reference takes `reference_ms`; None if nobody knows."""
    beside_ms = _beside_ms(rounds)
    return None if reference_ms is None or beside_ms is None else reference_ms / beside_ms


def beside_itself(rounds: Rounds) -> Rounds:
    """The reference's own rounds as they would be with its own time beside them: it tells the machine's speed itself.

    Rounds that have the reference beside them stay as they are.
    """
    own_ms = float(np.median([entry["median_ms"] for entry in _calm(rounds)]))
    return [{"reference_ms": own_ms, **entry} for entry in rounds]


def busy_cores(measurements: Sequence[Rounds]) -> float:
    """Processor seconds a second of calls: how many cores the candidate really kept busy, spinning included."""
    kept = [entry for rounds in _kept(measurements) for entry in rounds]
    return float(sum(entry["cpu_s"] for entry in kept) / sum(entry["wall_s"] for entry in kept))


def noisy_reason(measurements: Sequence[Rounds], reference_ms: float | None = None) -> str | None:
    """Why a latency should be taken with care, or None."""
    kept = _kept(measurements)
    if any(_is_disturbed(rounds) for rounds in kept):
        return "other work ran beside the measurement"
    p50 = [_times_ms(rounds, "median_ms", reference_ms) for rounds in kept]
    low, high = _interval(p50)
    half_width = (high - low) / 2 / _median(p50)
    return f"interval of +-{half_width:.0%}" if half_width > _NOISY_HALF_WIDTH else None


def _kept(measurements: Sequence[Rounds]) -> list[Rounds]:
    """The calm rounds of the measurements that count: the undisturbed and narrow ones if there are any."""
    undisturbed = [rounds for rounds in measurements if not _is_disturbed(rounds)]
    narrow = [rounds for rounds in undisturbed if _half_width(_calm(rounds)) <= _NOISY_HALF_WIDTH]
    return [_calm(rounds) for rounds in narrow or undisturbed or measurements]


def _half_width(rounds: Rounds) -> float:
    """Half-width of the interval that these rounds alone give, as a fraction of their median."""
    times = [entry["median_ms"] for entry in rounds]
    low, high = _bootstrap(tuple(times))
    return (high - low) / 2 / float(np.median(times))


def _calm(rounds: Rounds) -> Rounds:
    calm = [entry for entry in rounds if not entry["disturbed"]]
    return calm if len(calm) >= 3 else list(rounds)


def _is_disturbed(rounds: Rounds) -> bool:
    return any(entry["disturbed"] for entry in _calm(rounds))


def _beside_ms(rounds: Rounds) -> float | None:
    """What the reference's call took between the rounds; None if it was not called."""
    beside = [entry["reference_ms"] for entry in _calm(rounds) if "reference_ms" in entry]
    return float(np.median(beside)) if beside else None


def _times_ms(rounds: Rounds, name: str, reference_ms: float | None) -> NDArray[np.float64]:
    """The rounds' times, shape `(rounds,)`, on a machine on which the reference takes `reference_ms`."""
    times = np.array([entry[name] for entry in rounds])
    speed = machine_speed(rounds, reference_ms)
    if reference_ms is None or speed is None or abs(speed - 1) <= MAX_DRIFT:
        return times
    beside = np.array([entry["reference_ms"] for entry in rounds])
    return np.asarray(times * reference_ms / beside)


def _median(times: Sequence[NDArray[np.float64]]) -> float:
    """The median of the measurements' medians, an array of rounds' times a measurement."""
    return float(np.median([np.median(rounds) for rounds in times]))


def _interval(times: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """The 95 % interval of `_median`."""
    if len(times) == 1:
        return _bootstrap(tuple(times[0].tolist()))
    rng, number = np.random.default_rng(0), len(times)
    # Medians of each measurement's rounds drawn anew, `number` of them a resample: as many as may be drawn of it.
    redrawn = [
        np.median(rounds[rng.integers(0, len(rounds), (_RESAMPLES, number, len(rounds)))], axis=2) for rounds in times
    ]
    drawn = rng.integers(0, number, (1, _RESAMPLES, number))
    medians = np.median(np.take_along_axis(np.array(redrawn), drawn, axis=0)[0], axis=1)
    low, high = np.quantile(medians, (0.025, 0.975))
    return float(low), float(high)


@functools.lru_cache(maxsize=16)
def _bootstrap(times_ms: tuple[float, ...]) -> tuple[float, float]:
    """Whether rounds are steady, what they come to and whether that is noisy all ask for the same few intervals."""
    return bootstrap_interval(list(times_ms))


def _over(measurements: Sequence[Rounds], kept: Sequence[Rounds], reference_ms: float | None) -> str:
    """What a figure rests on, in words."""
    rounds = sum(map(len, kept))
    text = f"over {rounds} rounds, {sum(int(entry['calls']) for part in kept for entry in part)} calls"
    if len(kept) > 1:
        text = f"{text} of {len(kept)} measurements"
    if dropped := sum(map(len, measurements)) - rounds:
        text = f"{text}, {dropped} disturbed or unsteady left out"
    speeds = [machine_speed(part, reference_ms) for part in kept]
    if corrected := [f"{speed:.2f}" for speed in speeds if speed is not None and abs(speed - 1) > MAX_DRIFT]:
        text = f"{text}, corrected for a machine at {', '.join(corrected)} of its speed"
    return text
