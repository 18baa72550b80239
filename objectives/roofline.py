"""Time of a call, modelled from a data sheet: a roofline over the operators of the graph.

Each operator takes what its arithmetic or its memory traffic takes, whichever is longer (Williams, Waterman and
Patterson, "Roofline", CACM 52:4, 2009), and something for being started:

    t(operator) = max(operations / rate, bytes / bandwidth) + start
    rate        = GHz * MACs a cycle * share(kernel class, arithmetic, delegate) * speed-up(threads)
    speed-up    = 1 / (s + (1 - s) / C),  C the threads' cores counted in cores of the first kind

`s` is Amdahl's serial share, 0.09: between 0.02 and 0.24 on the published latencies of MobileNets at one and at several
threads (XNNPACK's README). `bytes` are what does not fit the last-level cache: the weights if all of them together do
not, and an operator's values if its own do not.

How the arithmetic of a file is treated:
    float16, weight-only int8   widened when the model is loaded: the rates and the bytes of float32
    dynamic-range               int8 kernels of XNNPACK where it has them (convolutions and dense layers of int8
                                weights, dense layers of int4); depthwise ones and all else on the built-in kernels
    int16x8                     no kernels in XNNPACK: built-in ones, which are plain loops
    zeros among the weights     change nothing: sparse kernels need graphs that converted models do not have
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from litefront.objectives.device_profile import AcceleratorSheet, ClusterSheet, DeviceProfile, SheetNumber
from litefront.objectives.tflite_operators import Arithmetic, KernelClass, OperatorCounts
from litefront.objectives.xnnpack_operators import xnnpack_takes
from litefront.spaces.delegate import Delegate

__all__ = ["Roofline", "RooflineTime", "speed_up"]

SERIAL_SHARE = 0.09
"""Amdahl's serial share."""

# Of the rate that a core's matrix kernels reach. The first two were fitted, together with the cores' shares in the
# profiles, to the published latencies of MobileNetV1 and V2; few multiplications are depthwise, so they are rough.
_DEPTHWISE_SHARE: Mapping[str, float] = {"float32": 0.2, "int8": 0.13}
_ELEMENTWISE_SHARE = 0.5

# Built-in kernels against XNNPACK's, by their times with one thread on the same cores; float32 and int8 were fitted to
# DeepEdgeBench's runs (TensorFlow Lite before XNNPACK was its default), and miss these by 21 % (root of the mean square
# of the logarithm). int16x8 is assumed: on x86 its plain loops took eight times as long as the built-in float kernels,
# which have wider vectors there.
_BUILT_IN_SHARE: Mapping[Arithmetic, float] = {
    Arithmetic.FLOAT32: 0.65,
    Arithmetic.INT8: 0.45,
    Arithmetic.DYNAMIC_INT8: 0.45,
    Arithmetic.DYNAMIC_INT4: 0.45,
    Arithmetic.INT16X8: 0.15,
}
_BUILT_IN_ERROR, _PLAIN_LOOPS_ERROR = 0.21, 0.7

# Of a core whose kernel share was fitted to no published latency of its own: what it misses when each published device
# is left out (tests/benchmarks/profiles.py).
_USUAL_ERROR = 0.41

_ON_INT8_KERNELS = (Arithmetic.INT8, Arithmetic.DYNAMIC_INT8, Arithmetic.DYNAMIC_INT4)

# Cycles to start an operator (assumed).
_START_CYCLES = 4000.0


@dataclass(frozen=True)
class RooflineTime:
    """What a data sheet says of a call.

    Attributes:
        latency_ms: Time of the call.
        error: Standard deviation of the logarithm of the modelled over the true time: of what takes most of it.
        busy_cores: Cores that it keeps busy on average, spinning ones included.
        delegated: Operators that the delegate runs; 0 for the built-in kernels.
        operators: Operators that the call runs in all.
    """

    latency_ms: float
    error: float
    busy_cores: float
    delegated: int
    operators: int


@dataclass(frozen=True)
class _OperatorTime:
    seconds: float
    busy_cores: float
    error: float


class Roofline:
    """Times of one file's calls on one device.

    Args:
        profile: The device's data sheet.
        operators: The file's operators.
    """

    def __init__(self, profile: DeviceProfile, operators: Sequence[OperatorCounts]) -> None:
        self._profile = profile
        self._operators = tuple(operators)
        self._cache_bytes = profile.memory.last_level_cache_bytes.value
        self._weights_stay = sum(op.weight_bytes for op in operators) <= self._cache_bytes

    def call(self, delegate: Delegate, num_threads: int) -> RooflineTime:
        """Models a call.

        Args:
            delegate: What executes the graph; an accelerator must be one of the profile's.
            num_threads: Threads on the cores.
        """
        accelerator = self._profile.accelerator(delegate)
        if accelerator is not None:
            return self._call_beside_cores(accelerator)
        runners = [
            delegate if delegate is Delegate.XNNPACK and xnnpack_takes(op) else Delegate.NONE for op in self._operators
        ]
        times = [self._on_cores(op, by, num_threads) for op, by in zip(self._operators, runners, strict=True)]
        return _summed(times, delegated=sum(by is not Delegate.NONE for by in runners))

    def _call_beside_cores(self, accelerator: AcceleratorSheet) -> RooflineTime:
        error = accelerator.error.value
        # A core hands the call over, and waits.
        times = [_OperatorTime(accelerator.call_ms.value / 1e3, 1.0, error)]
        delegated = 0
        for op in self._operators:
            rate = _accelerator_rate(accelerator, op)
            if rate is None:
                times.append(self._on_cores(op, Delegate.XNNPACK if xnnpack_takes(op) else Delegate.NONE, 1))
                continue
            delegated += 1
            moved = op.weight_bytes + (0 if accelerator.keeps_values else op.input_bytes + op.output_bytes)
            seconds = max(op.operations / (rate * 1e9), moved / (accelerator.gb_per_s.value * 1e9))
            times.append(_OperatorTime(seconds, 0.0, error))
        return _summed(times, delegated=delegated, handed_over=1)

    def _on_cores(self, op: OperatorCounts, runner: Delegate, num_threads: int) -> _OperatorTime:
        cores = self._profile.cores_in_order[:num_threads]
        # Plain loops, on the thread that calls.
        alone = runner is Delegate.NONE and op.arithmetic is Arithmetic.INT16X8
        gain = 1.0 if alone else speed_up(cores, _sheet_type(op.arithmetic))
        rate = core_rate(cores[0], op, runner) * gain
        seconds = max(op.operations / rate, self._moved_bytes(op) / (self._profile.memory.gb_per_s.value * 1e9))
        # XNNPACK's workers sleep while they have nothing to do, those of the built-in kernels spin.
        busy = 1.0 if alone else gain if runner is Delegate.XNNPACK else float(len(cores))
        seconds += _START_CYCLES / (cores[0].ghz.value * 1e9)
        return _OperatorTime(seconds, busy, _core_error(cores[0], op.arithmetic, runner))

    def _moved_bytes(self, op: OperatorCounts) -> int:
        """Bytes that come from memory or go there, because the cache does not hold them."""
        values = op.input_bytes + op.output_bytes
        return (0 if self._weights_stay else op.weight_bytes) + (values if values > self._cache_bytes else 0)


def core_rate(core: ClusterSheet, op: OperatorCounts, runner: Delegate) -> float:
    """Operations a second of one core on an operator's kernel."""
    sheet = _sheet_type(op.arithmetic)
    per_cycle, share = getattr(core.macs_per_cycle, sheet).value, getattr(core.kernel_share, sheet).value
    match op.kernel:
        case KernelClass.DEPTHWISE:
            share *= _DEPTHWISE_SHARE[sheet]
        case KernelClass.ELEMENTWISE:
            share *= _ELEMENTWISE_SHARE
    if runner is Delegate.NONE:
        share *= _BUILT_IN_SHARE[op.arithmetic]
    return float(core.ghz.value * 1e9 * per_cycle * share)


def speed_up(cores: Sequence[ClusterSheet], sheet_type: str = "float32") -> float:
    """How much faster the work is done by threads on these cores than by one on the first of them, by Amdahl's law.

    Workers take a new piece when they are done with one, so that slower cores help by what they compute.
    """
    rates = [_sheet_rate(core, sheet_type) for core in cores]
    return 1 / (SERIAL_SHARE + (1 - SERIAL_SHARE) * rates[0] / sum(rates))


def _sheet_rate(core: ClusterSheet, sheet_type: str) -> float:
    per_cycle, share = getattr(core.macs_per_cycle, sheet_type), getattr(core.kernel_share, sheet_type)
    return float(core.ghz.value * per_cycle.value * share.value)


def _sheet_type(arithmetic: Arithmetic) -> str:
    """The column of a core's rates that an arithmetic is told from."""
    return "int8" if arithmetic in _ON_INT8_KERNELS else "float32"


def _core_error(core: ClusterSheet, arithmetic: Arithmetic, runner: Delegate) -> float:
    """How far off a core's kernels may be: its share's error, with that of the built-in kernels where they run."""
    share: SheetNumber = getattr(core.kernel_share, _sheet_type(arithmetic))
    error = _USUAL_ERROR if share.sigma is None else share.sigma
    if runner is not Delegate.NONE:
        return error
    return math.hypot(error, _PLAIN_LOOPS_ERROR if arithmetic is Arithmetic.INT16X8 else _BUILT_IN_ERROR)


def _accelerator_rate(accelerator: AcceleratorSheet, op: OperatorCounts) -> float | None:
    """Billions of operations a second; None for what stays on the cores."""
    rates = accelerator.gmacs_per_s
    if op.arithmetic is Arithmetic.INT8:
        found = rates.get("int8") or rates.get("float32")
    elif op.arithmetic is Arithmetic.INT16X8:
        found = None
    else:
        # What is quantized at run time is computed in float there.
        found = rates.get("float32")
    return None if found is None else found.value


def _summed(times: Sequence[_OperatorTime], *, delegated: int, handed_over: int = 0) -> RooflineTime:
    """The operators one after the other; the first `handed_over` times are no operator's."""
    seconds = sum(time.seconds for time in times)
    if not seconds:
        return RooflineTime(0.0, 0.0, 0.0, 0, 0)
    # Errors of one device's kernels are mostly one error, so that they add up instead of cancelling.
    error = sum(time.seconds * time.error for time in times) / seconds
    busy = sum(time.seconds * time.busy_cores for time in times) / seconds
    return RooflineTime(seconds * 1e3, error, busy, delegated, len(times) - handed_over)
