"""The roofline on a data sheet of round numbers, by hand."""

from __future__ import annotations

import pytest

from litefront.objectives.device_profile import read_profile
from litefront.objectives.roofline import SERIAL_SHARE, Roofline, RooflineTime, speed_up
from litefront.objectives.tflite_operators import Arithmetic, KernelClass, OperatorCounts
from litefront.spaces.delegate import Delegate
from tests.objectives.made_profile import made_profile, number

PROFILE = read_profile(made_profile())
START_MS = 4000 / 1e9 * 1e3
"""Four thousand cycles of 1 GHz."""


def op(
    operations: int = 0,
    *,
    name: str = "CONV_2D",
    kernel: KernelClass = KernelClass.DENSE,
    arithmetic: Arithmetic = Arithmetic.FLOAT32,
    weight_bytes: int = 0,
    value_bytes: int = 0,
) -> OperatorCounts:
    return OperatorCounts(name, kernel, arithmetic, operations, weight_bytes, value_bytes, 0)


def call(*operators: OperatorCounts, delegate: Delegate = Delegate.XNNPACK, num_threads: int = 1) -> RooflineTime:
    return Roofline(PROFILE, operators).call(delegate, num_threads)


def test_what_computes_much_takes_what_its_arithmetic_takes() -> None:
    # 20 million products at 1 GHz * 4 * 0.5 = 2 a nanosecond; its 1 MB would take 1 ms.
    assert call(op(20_000_000, weight_bytes=1_000_000)).latency_ms == pytest.approx(10 + START_MS)


def test_what_moves_much_takes_what_its_memory_takes() -> None:
    assert call(op(1_000_000, weight_bytes=5_000_000)).latency_ms == pytest.approx(5 + START_MS)


def test_what_fits_the_cache_moves_nothing() -> None:
    assert call(op(weight_bytes=1000, value_bytes=1000)).latency_ms == pytest.approx(START_MS)
    # Weights share the cache, so that they stay all or none; values are there one operator at a time.
    both = call(op(weight_bytes=600), op(weight_bytes=600, value_bytes=900))
    assert both.latency_ms == pytest.approx(2 * START_MS + 1200 / 1e9 * 1e3)


def test_operators_add_up() -> None:
    parts = op(20_000_000), op(weight_bytes=5_000_000)
    assert call(*parts).latency_ms == pytest.approx(15 + 2 * START_MS)
    assert call(*parts).operators == call(*parts).delegated == 2


def test_int8_has_its_own_rate() -> None:
    # 16 * 0.5 products a cycle.
    assert call(op(80_000_000, arithmetic=Arithmetic.INT8)).latency_ms == pytest.approx(10 + START_MS)


@pytest.mark.parametrize("cores", [1, 2])
def test_equal_cores_follow_amdahls_law(cores: int) -> None:
    gain = speed_up(PROFILE.cores_in_order[:cores])
    assert gain == pytest.approx(1 / (SERIAL_SHARE + (1 - SERIAL_SHARE) / cores))


def test_a_slower_core_helps_by_what_it_computes() -> None:
    # Two cores of 1 and one of a half are 2.5 first cores.
    assert speed_up(PROFILE.cores_in_order[:3]) == pytest.approx(1 / (0.09 + 0.91 / 2.5))


def test_threads_speed_arithmetic_up_and_not_memory() -> None:
    gain = 1 / (0.09 + 0.91 / 2)
    assert call(op(20_000_000), num_threads=2).latency_ms == pytest.approx(10 / gain + START_MS)
    assert call(op(weight_bytes=5_000_000), num_threads=2).latency_ms == pytest.approx(5 + START_MS)


def test_workers_of_xnnpack_sleep_and_those_of_the_built_in_kernels_spin() -> None:
    work = op(20_000_000)
    assert call(work, num_threads=2).busy_cores == pytest.approx(1 / (0.09 + 0.91 / 2))
    assert call(work, delegate=Delegate.NONE, num_threads=2).busy_cores == 2


def test_the_built_in_kernels_are_slower_and_delegate_nothing() -> None:
    work = op(20_000_000)
    alone = call(work, delegate=Delegate.NONE)
    assert alone.latency_ms > call(work).latency_ms
    assert alone.delegated == 0


@pytest.mark.parametrize("delegate", [Delegate.NONE, Delegate.XNNPACK])
def test_int16x8_runs_on_plain_loops_of_one_thread(delegate: Delegate) -> None:
    work = op(20_000_000, arithmetic=Arithmetic.INT16X8)
    one, two = (call(work, delegate=delegate, num_threads=threads) for threads in (1, 2))
    assert one == two
    assert one.delegated == 0
    assert one.latency_ms > 4 * call(op(20_000_000), delegate=Delegate.NONE).latency_ms


@pytest.mark.parametrize(
    ("name", "arithmetic", "delegated"),
    [
        ("CONV_2D", Arithmetic.DYNAMIC_INT8, 1),
        ("DEPTHWISE_CONV_2D", Arithmetic.DYNAMIC_INT8, 0),
        ("FULLY_CONNECTED", Arithmetic.DYNAMIC_INT4, 1),
        ("CONV_2D", Arithmetic.DYNAMIC_INT4, 0),
        ("CONV_2D", Arithmetic.FLOAT32, 1),
        ("SOFTMAX", Arithmetic.FLOAT32, 1),
        ("SOFTMAX", Arithmetic.INT8, 0),
        ("GATHER", Arithmetic.FLOAT32, 0),
    ],
)
def test_xnnpack_takes_what_it_has_kernels_for(name: str, arithmetic: Arithmetic, delegated: int) -> None:
    assert call(op(1, name=name, arithmetic=arithmetic)).delegated == delegated


def test_an_accelerator_computes_what_it_can_and_is_handed_the_call() -> None:
    # 1 ms for the call, 20 million products at 10 a nanosecond, and int16 values on the cores.
    on_cores = op(2_000_000, arithmetic=Arithmetic.INT16X8)
    found = call(op(20_000_000), on_cores, delegate=Delegate.GPU)
    assert found.latency_ms == pytest.approx(1 + 2 + call(on_cores).latency_ms)
    assert (found.delegated, found.operators) == (1, 2)
    assert 0 < found.busy_cores < 1


def test_a_core_is_busy_while_it_hands_a_call_over() -> None:
    # 1 ms of 3.
    assert call(op(20_000_000), delegate=Delegate.GPU).busy_cores == pytest.approx(1 / 3)


def test_an_accelerator_may_keep_values_to_itself() -> None:
    work = op(1, arithmetic=Arithmetic.INT8, weight_bytes=1_000_000, value_bytes=4_000_000)
    # 0.5 ms for the call and a megabyte at 2 GB/s; the GPU moves all five at 1 GB/s.
    assert call(work, delegate=Delegate.NPU).latency_ms == pytest.approx(0.5 + 0.5)
    assert call(work, delegate=Delegate.GPU).latency_ms == pytest.approx(1 + 5)


def test_an_accelerator_of_integers_leaves_floats_on_the_cores() -> None:
    assert call(op(1, arithmetic=Arithmetic.INT8), op(1), delegate=Delegate.NPU).delegated == 1


def test_a_graph_of_nothing_takes_no_time() -> None:
    assert call() == RooflineTime(0.0, 0.0, 0.0, 0, 0)


def test_the_error_is_that_of_what_takes_the_time() -> None:
    assert call(op(20_000_000)).error == pytest.approx(0.3)
    assert call(op(20_000_000), delegate=Delegate.NONE).error == pytest.approx((0.3**2 + 0.21**2) ** 0.5)
    assert call(op(20_000_000), delegate=Delegate.GPU).error == pytest.approx(0.7)
    # Half a millisecond for the call, and floats on a core.
    mixed = call(op(1_000_000 - 8_000, weight_bytes=0), delegate=Delegate.NPU)
    assert mixed.latency_ms == pytest.approx(0.5 + 0.496 + START_MS)
    assert mixed.error == pytest.approx((0.5 * 0.5 + 0.5 * 0.3) / 1.0)


def test_a_core_that_nothing_was_fitted_to_has_the_usual_error() -> None:
    content = made_profile()
    for cluster in content["clusters"]:
        cluster["kernel_share"] = {"float32": number(0.5), "int8": number(0.5)}
    model = Roofline(read_profile(content), [op(20_000_000)])
    assert model.call(Delegate.XNNPACK, 1).error == 0.41
