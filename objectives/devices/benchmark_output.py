"""What LiteRT's `benchmark_model` prints, read line by line; whatever it does not say plainly is a refusal.

The forms are those of its source (`tflite/tools/benchmark`, and `stats_calculator.h` for the statistics):

    count=50 first=.. curr=.. min=.. max=.. avg=.. std=.. p5=.. median=.. p95=..     us; one line a phase
    count=50 first=.. curr=.. min=.. max=.. avg=.. std=..                            builds before p5, median and p95
    count=50 curr=..(all same)                                                       all calls took the same time
    count=1 curr=..
    Inference timings in us: Init: .., First inference: .., Warmup (avg): .., Inference (avg): ..
    Memory footprint delta from the start of the tool (MB): init=.. overall=..       growth of the peak resident set
    Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.
    .. and the model graph will be partially executed by the delegate w/ 2 delegate kernels.
    Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate.
    Replacing 31 out of 33 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 2 partitions for subgraph 0.

It goes on when a flag is unknown, and when a delegate cannot be made at all: then no line says that one was applied,
and the CPU runs the graph. So a run that asked for a delegate must name it.

Calls are timed in whole microseconds. The 90th percentile that other devices measure is not among the statistics: the
95th, which cannot be less, stands for it, and in older builds the longest call; there the mean stands for the median.
"""

from __future__ import annotations

import math
import re
import signal
from dataclasses import dataclass
from itertools import pairwise

from litefront.spaces.delegate import Delegate
from litefront.spaces.errors import CandidateError

__all__ = ["BenchmarkOutput", "CallTimes", "Delegation", "read_output", "refusal_line"]

_LONGEST_CALL_MS = 600_000.0
_MEGABYTE = 1024**2

_NAMES = {Delegate.XNNPACK: "XNNPACK", Delegate.GPU: "GPU", Delegate.NNAPI: "NNAPI", Delegate.EXTERNAL: "EXTERNAL"}

_NUMBER = r"([-+.\deEinfa]+)"
_STATISTICS = re.compile(r"\bcount=\d+ .*curr=.*")
_STATISTIC = re.compile(rf"\b(count|first|curr|min|max|avg|std|p5|median|p95)={_NUMBER}")
_SUMMARY = re.compile(
    r"Inference timings in us: Init: (\d+), First inference: (\d+), "
    rf"Warmup \(avg\): {_NUMBER}, Inference \(avg\): {_NUMBER}"
)
_MEMORY = re.compile(rf"Memory footprint delta from the start of the tool \(MB\): init={_NUMBER} overall={_NUMBER}")
_APPLIED = re.compile(
    r"[Aa]pplied (\w+) delegate, and the model graph will be (completely|partially) executed (?:by|w/) the delegate"
    r"(?:\.| w/ (\d+) delegate kernels)"
)
_REPLACED = re.compile(r"Replacing (\d+)(?: out of (\d+))? node\(s\) with delegate")

# Lines after which the figures are not those of what was asked for, whatever else is printed.
_REFUSALS = re.compile(
    r"Unconsumed cmdline flags|will not be executed by the delegate|Disallowed CPU fallback|is unsupported on this "
    r"platform|Failed to apply|Couldn't load|[Ff]ailed to allocate tensors|Failed to load model|Failed to initialize"
)
# What a tool, the shell or the linker says last before it ends.
_LAST_WORDS = re.compile(
    r"^(?:ERROR|FATAL|F\d{4}|Abort|Segmentation|CANNOT LINK|Killed|terminating|libc)|error|No such"
)


@dataclass(frozen=True)
class CallTimes:
    """Times of the calls of one run.

    Attributes:
        calls: How many there were.
        median_ms: Their median, or what stands for it.
        median_is: What that is: `p50`, or `mean`.
        p90_ms: What stands for the 90th percentile.
        p90_is: What that is: `p95`, or `maximum`.
    """

    calls: int
    median_ms: float
    median_is: str
    p90_ms: float
    p90_is: str


@dataclass(frozen=True)
class Delegation:
    """How much of the graph a delegate ran.

    Attributes:
        delegated_nodes: Nodes that it ran; where the log tells no more, the number of its kernels: at least so many.
        nodes: Nodes of the graph.
    """

    delegated_nodes: int
    nodes: int


@dataclass(frozen=True)
class BenchmarkOutput:
    """What one run of `benchmark_model` said.

    Attributes:
        init_ms: Loading the model and preparing its delegate.
        first_call_ms: The first call.
        peak_memory_bytes: What load and calls added to the peak resident memory; None if it does not say.
        times: The timed calls.
        delegation: What ran on the delegate.
    """

    init_ms: float
    first_call_ms: float
    peak_memory_bytes: int | None
    times: CallTimes
    delegation: Delegation


def read_output(text: str, code: int, delegate: Delegate, nodes: int) -> BenchmarkOutput:
    """Reads a run.

    Args:
        text: What it printed, on both streams.
        code: Its exit code, 128 and more for a signal as a shell says it.
        delegate: What was asked for.
        nodes: Operators of the model's main graph.

    Raises:
        CandidateError: If it was refused, crashed, did not do what was asked, or gave no plausible figures; the reason
            holds the line that says so.
    """
    if line := refusal_line(text):
        raise CandidateError(f"refused: {line}")
    if code:
        raise CandidateError(f"{_how_it_ended(code)}{_last_words(text)}")
    summary = _SUMMARY.search(text)
    statistics = [line for line in text.splitlines() if _STATISTICS.search(line)]
    if summary is None or not statistics:
        raise CandidateError(f"benchmark_model gave no timings{_last_words(text)}")
    memory = _MEMORY.search(text)
    return BenchmarkOutput(
        init_ms=_plausible_ms(summary[1], summary[0]),
        first_call_ms=_plausible_ms(summary[2], summary[0]),
        peak_memory_bytes=None if memory is None else _plausible_bytes(memory[2], memory[0]),
        times=_call_times(statistics[-1]),
        delegation=_delegation(text, delegate, nodes),
    )


def refusal_line(text: str) -> str | None:
    """The first line by which the tool says that it did not do what was asked."""
    return next((line.strip()[:300] for line in text.splitlines() if _REFUSALS.search(line)), None)


def _how_it_ended(code: int) -> str:
    if code > 128 and code - 128 in signal.valid_signals():
        return f"crashed with {signal.Signals(code - 128).name}"
    return f"ended with code {code}"


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if _LAST_WORDS.search(line)] or lines
    return f": {telling[-1][:300]}" if telling else ""


def _call_times(line: str) -> CallTimes:
    """The statistics of a phase; the line holds microseconds."""
    found: dict[str, str] = dict(_STATISTIC.findall(line))
    if "min" not in found:  # all calls took the same time
        found = {"count": found["count"]} | dict.fromkeys(("min", "median", "avg", "p95", "max"), found["curr"])
    calls = int(found["count"])
    median_is, median = ("p50", "median") if "median" in found else ("mean", "avg")
    p90_is, p90 = ("p95", "p95") if "p95" in found else ("maximum", "max")
    times_ms = {name: _plausible_ms(found[name], line) for name in ("min", "max", median, p90)}
    in_order = [times_ms[name] for name in ("min", median, p90, "max")]
    # The mean is printed with six digits.
    if calls < 1 or any(later < earlier * (1 - 1e-5) for earlier, later in pairwise(in_order)):
        raise CandidateError(f"benchmark_model's figures contradict each other: {line.strip()[:300]}")
    return CallTimes(calls, times_ms[median], median_is, times_ms[p90], p90_is)


def _plausible_ms(us: str, line: str) -> float:
    """A time of the tool in ms; a call under a microsecond shows as 0, which is no figure."""
    ms = _number(us, line) / 1e3
    if not 0 < ms <= _LONGEST_CALL_MS:
        raise CandidateError(f"benchmark_model gave a time out of range: {line.strip()[:300]}")
    return ms


def _plausible_bytes(megabytes: str, line: str) -> int:
    number = _number(megabytes, line) * _MEGABYTE
    if not 0 <= number < math.inf:
        raise CandidateError(f"benchmark_model gave a memory size out of range: {line.strip()[:300]}")
    return round(number)


def _number(text: str, line: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise CandidateError(f"benchmark_model gave no number: {line.strip()[:300]}") from None


def _delegation(text: str, delegate: Delegate, nodes: int) -> Delegation:
    if delegate is Delegate.NONE:
        return Delegation(0, nodes)
    applied = [found for found in _APPLIED.finditer(text) if found[1].upper() == _NAMES[delegate]]
    if not applied:
        raise CandidateError(
            f"{delegate} was asked for, but benchmark_model does not say that it was applied: the CPU ran the graph"
        )
    replaced = _REPLACED.search(text)
    if replaced is not None:
        return Delegation(int(replaced[1]), int(replaced[2] or nodes))
    if applied[0][2] == "completely":
        return Delegation(nodes, nodes)
    return Delegation(min(int(applied[0][3] or 1), nodes), nodes)
