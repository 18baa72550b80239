"""Modelled latencies against published ones.

What was fitted to what: each named device's kernel shares (one number for float32, one for int8) to that device's own
rows of MobileNetV1 and V2; the shares of depthwise kernels to the same rows of all devices; those of the built-in
kernels to DeepEdgeBench's. So the errors of the profiles on these rows are those of a fit. Apart from them stand each
row predicted with shares fitted to the device's other rows, each device predicted with the mean share of the others,
and rows of MobileNetV3, which nothing was fitted to.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence

from harness.errors import error_words
from harness.figures import figure
from harness.ranks import rank_correlation

from litefront.objectives.device_profile import DeviceProfile, read_profile
from litefront.objectives.roofline import Roofline
from litefront.spaces.delegate import Delegate
from parts.published import PublishedLatency, latencies, operators, read_table

__all__ = ["fitted_share", "measure", "predicted_ms", "print_shares"]

_FITTED_MODELS = ("mobilenet_v1", "mobilenet_v2")
# The one core of the Pi Zero has no vectors: what share of its peak scalar kernels reach says nothing of others, nor
# theirs of it.
_ALONE = "raspberry-pi-zero-w"


def measure() -> None:
    """Prints ranks and errors of all published latencies."""
    rows = [row for row in latencies() if row.model in _FITTED_MODELS]
    fitted = [predicted_ms(row, read_profile(row.profile)) for row in rows]
    _tell("profiles as they are, shares fitted to the same rows", rows, fitted)
    left_out = [predicted_ms(row, _without_row(row, rows)) for row in rows]
    _tell("each row left out of its device's fit", rows, left_out)
    others = [row for row in rows if row.profile != _ALONE]
    _tell("each device left out, mean share of the others", others, _by_other_devices(others), rank_goal=None)
    unseen = [row for row in latencies() if row.model not in _FITTED_MODELS]
    _tell("MobileNetV3, never fitted", unseen, [predicted_ms(row, read_profile(row.profile)) for row in unseen])
    _tell_deepedgebench()


def print_shares() -> None:
    """Prints the kernel shares fitted anew, by profile."""
    rows = [row for row in latencies() if row.model in _FITTED_MODELS]
    shares: dict[str, dict[str, float]] = {}
    for row in rows:
        of_device = [other for other in rows if _key(other) == _key(row)]
        share = fitted_share(read_profile(row.profile), row.quantization, of_device)
        shares.setdefault(row.profile, {})[row.quantization] = round(share, 3)
    print(json.dumps({"kernel_share": shares}, indent=1), flush=True)


def predicted_ms(row: PublishedLatency, profile: DeviceProfile) -> float:
    """What a profile says of a published row."""
    model = Roofline(profile, operators(row.model, row.quantization))
    return model.call(Delegate.XNNPACK, row.threads).latency_ms


def fitted_share(profile: DeviceProfile, quantization: str, rows: Sequence[PublishedLatency]) -> float:
    """The kernel share with which a device's rows are met in their geometric mean, by bisection."""

    def mean_log_error(share: float) -> float:
        tried = _with_share(profile, quantization, share)
        return sum(math.log(predicted_ms(row, tried) / row.latency_ms) for row in rows) / len(rows)

    low, high = 0.01, 10.0
    for _ in range(40):
        middle = math.sqrt(low * high)
        # More of the peak is a shorter time.
        low, high = (middle, high) if mean_log_error(middle) > 0 else (low, middle)
    return math.sqrt(low * high)


def _with_share(profile: DeviceProfile, quantization: str, share: float) -> DeviceProfile:
    """The profile with another kernel share of its first cores; published runs used no others."""
    first = profile.clusters[0]
    number = getattr(first.kernel_share, quantization).model_copy(update={"value": share})
    shares = first.kernel_share.model_copy(update={quantization: number})
    clusters = (first.model_copy(update={"kernel_share": shares}), *profile.clusters[1:])
    return profile.model_copy(update={"clusters": clusters})


def _without_row(row: PublishedLatency, rows: Iterable[PublishedLatency]) -> DeviceProfile:
    profile = read_profile(row.profile)
    others = [other for other in rows if _key(other) == _key(row) and other != row]
    return _with_share(profile, row.quantization, fitted_share(profile, row.quantization, others))


def _by_other_devices(rows: Sequence[PublishedLatency]) -> list[float]:
    """Each row by the geometric mean of the other devices' shares; the two builds of the Pi 4 are one device."""
    keys = {_key(row) for row in rows}
    shares = {
        key: fitted_share(read_profile(key[0]), key[1], [row for row in rows if _key(row) == key]) for key in keys
    }

    def predict(row: PublishedLatency) -> float:
        known = [
            math.log(share)
            for (name, quantization), share in shares.items()
            if quantization == row.quantization and name[:14] != row.profile[:14]
        ]
        share = math.exp(sum(known) / len(known))
        return predicted_ms(row, _with_share(read_profile(row.profile), row.quantization, share))

    return [predict(row) for row in rows]


def _key(row: PublishedLatency) -> tuple[str, str]:
    return row.profile, row.quantization


def _tell(
    what: str, rows: Sequence[PublishedLatency], predicted: Sequence[float], rank_goal: float | None = 0.9
) -> None:
    published = [row.latency_ms for row in rows]
    rank = rank_correlation(predicted, published)
    goal = "told" if rank_goal is None else f">= {rank_goal}"
    holds = None if rank_goal is None else rank >= rank_goal
    figure(f"latency, {what}: rank correlation", round(rank, 3), "", goal, holds)
    figure(f"latency, {what}: error", error_words(predicted, published), "of the published", "told", None)


def _tell_deepedgebench() -> None:
    """The built-in kernels on one thread of two boards, and the Edge TPU."""
    for delegate, what in (("none", "built-in kernels, their shares fitted to these rows"), ("npu", "Edge TPU")):
        rows = [row for row in read_table("deepedgebench.csv") if row["profile"] and row["delegate"] == delegate]
        predicted = [_deepedgebench_ms(row) for row in rows]
        published = [float(row["latency_ms"]) for row in rows]
        figure(f"latency, DeepEdgeBench, {what}: error", error_words(predicted, published), "", "told", None)


def _deepedgebench_ms(row: dict[str, str]) -> float:
    model = Roofline(read_profile(row["profile"]), operators(row["model"], row["quantization"]))
    return model.call(Delegate(row["delegate"]), 1).latency_ms
