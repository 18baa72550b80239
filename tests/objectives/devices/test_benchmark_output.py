"""What `benchmark_model` prints, in the forms that its source gives; the figures are computed by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from litefront.objectives.devices.benchmark_output import CallTimes, Delegation, read_output
from litefront.spaces.delegate import Delegate
from litefront.spaces.errors import CandidateError

OUTPUTS = Path(__file__).parents[2] / "data" / "benchmark_model"


def text_of(name: str) -> str:
    return (OUTPUTS / f"{name}.txt").read_text(encoding="utf-8")


def test_a_run_of_xnnpack() -> None:
    output = read_output(text_of("xnnpack"), 0, Delegate.XNNPACK, nodes=5)
    # The second statistics line: the first is the warm-up's.
    assert output.times == CallTimes(23, 13.399, "p50", 13.76, "p95")
    assert (output.init_ms, output.first_call_ms) == (2.148, 15.24)
    assert output.peak_memory_bytes == 6_553_600  # 6.25 MB of 1048576 bytes
    assert output.delegation == Delegation(5, 5)


def test_without_a_delegate_nothing_is_delegated() -> None:
    output = read_output(text_of("none"), 0, Delegate.NONE, nodes=5)
    assert output.times == CallTimes(11, 36.044, "p50", 37.58, "p95")
    assert output.delegation == Delegation(0, 5)


def test_an_old_build_gives_a_mean_and_a_longest_call() -> None:
    output = read_output(text_of("xnnpack_old_build"), 0, Delegate.XNNPACK, nodes=5)
    assert output.times == CallTimes(1200, 13.4417, "mean", 13.988, "maximum")
    # "Replacing 4 node(s)" names no total: the graph's own is taken.
    assert output.delegation == Delegation(4, 5)


def test_calls_that_all_took_the_same_time() -> None:
    output = read_output(text_of("xnnpack_all_same"), 0, Delegate.XNNPACK, nodes=5)
    assert output.times == CallTimes(3, 0.25, "p50", 0.25, "p95")
    assert (output.init_ms, output.first_call_ms) == (0.913, 0.412)


@pytest.mark.parametrize(
    ("name", "delegate", "nodes", "expected"),
    [
        ("gpu", Delegate.GPU, 31, Delegation(31, 31)),
        ("nnapi", Delegate.NNAPI, 31, Delegation(31, 31)),
        ("external", Delegate.EXTERNAL, 31, Delegation(31, 31)),
        ("gpu_partial", Delegate.GPU, 31, Delegation(29, 31)),
        # Two kernels took at least one node each.
        ("gpu_partial_quiet", Delegate.GPU, 31, Delegation(2, 31)),
    ],
)
def test_how_much_a_delegate_ran(name: str, delegate: Delegate, nodes: int, expected: Delegation) -> None:
    assert read_output(text_of(name), 0, delegate, nodes).delegation == expected


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("unknown_flag", 0, "refused: WARN: Unconsumed cmdline flags: --gpu_backend=cl"),
        ("gpu_not_executed", 0, "refused: .*the model graph will not be executed by the delegate"),
        ("gpu_unsupported", 0, "refused: WARN: GPU acceleration is unsupported on this platform"),
        ("gpu_unmentioned", 0, "gpu was asked for, but benchmark_model does not say that it was applied"),
        ("gpu_failed", 1, "refused: ERROR: Failed to apply GPU delegate"),
        ("full_delegation_refused", 1, "refused: ERROR: Disallowed CPU fallback detected"),
        ("aborted", 134, "crashed with SIGABRT: Aborted"),
        ("aborted", 139, "crashed with SIGSEGV"),
        ("cannot_link", 1, "ended with code 1: CANNOT LINK EXECUTABLE"),
        ("no_timings", 0, "gave no timings: INFO: Initialized session in 2.148ms"),
        ("no_time", 0, "time out of range: .*median=0"),
        ("contradiction", 0, "contradict each other: .*median=14399"),
    ],
)
def test_what_is_no_figure_is_a_reason(name: str, code: int, reason: str) -> None:
    with pytest.raises(CandidateError, match=reason):
        read_output(text_of(name), code, Delegate.GPU, nodes=31)


def test_another_delegates_line_is_not_taken_for_the_one_that_was_asked_for() -> None:
    with pytest.raises(CandidateError, match="nnapi was asked for"):
        read_output(text_of("gpu"), 0, Delegate.NNAPI, nodes=31)


def test_a_summary_without_statistics_is_no_figure() -> None:
    lines = [line for line in text_of("xnnpack").splitlines() if "count=" not in line]
    with pytest.raises(CandidateError, match="no timings"):
        read_output("\n".join(lines), 0, Delegate.XNNPACK, nodes=5)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (("median=13399", "median=nan"), "out of range"),
        (("median=13399", "median=inf"), "out of range"),
        (("median=13399", "median=1-2"), "no number"),
        (("count=23", "count=0"), "contradict"),
        (("Init: 2148", "Init: 0"), "out of range: .*Init: 0"),
        (("overall=6.25", "overall=-1"), "memory size out of range"),
    ],
)
def test_a_figure_that_cannot_be_is_refused(given: tuple[str, str], reason: str) -> None:
    with pytest.raises(CandidateError, match=reason):
        read_output(text_of("xnnpack").replace(*given), 0, Delegate.XNNPACK, nodes=5)
