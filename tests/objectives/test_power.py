"""Power and energy, from the formula of the module's docstring."""

from __future__ import annotations

import dataclasses

import pytest

from litefront.objectives.device_profile import profile_names, read_profile
from litefront.objectives.measurement import Provenance
from litefront.objectives.power import (
    HOST_POWER,
    POWER_MODELS,
    AcceleratorPower,
    PowerInputs,
    PowerModel,
    power_model_of,
    utilisation,
)
from litefront.spaces.delegate import Delegate
from litefront.spaces.quantization import Quantization
from tests.objectives.made_profile import made_profile

MODEL = PowerModel("by-hand", core_w=2.0, wake_s=0.001, memory_pj_per_byte=100.0)
"""A wake-up of 2 W x 1 ms = 2 mJ."""

INPUTS = PowerInputs(
    quantization=Quantization.FLOAT32,
    batch_size=1,
    latency_ms=10.0,
    busy_cores=1.5,
    model_bytes=50_000_000,
    last_level_cache_bytes=60_000_000,
)
"""1.25 x 2 W x 1.5 cores x 10 ms = 37.5 mJ a call; the model fits the cache."""


def changed(**values: object) -> PowerInputs:
    return dataclasses.replace(INPUTS, **values)  # type: ignore[arg-type]


def test_energy_of_a_call_is_power_by_time() -> None:
    assert MODEL.call_energy_mj(INPUTS) == pytest.approx(37.5)


@pytest.mark.parametrize(
    ("quantization", "factor"),
    [
        (Quantization.FLOAT32, 1.25),
        (Quantization.FLOAT16, 1.25),
        (Quantization.WEIGHT_ONLY_INT8, 1.25),
        (Quantization.DYNAMIC_INT8, 1.05),
        (Quantization.INT8, 1.05),
        (Quantization.INT16X8, 1.05),
        (Quantization.DYNAMIC_INT4, 1.05),
    ],
)
def test_integer_kernels_draw_less_than_float_ones(quantization: Quantization, factor: float) -> None:
    assert MODEL.call_energy_mj(changed(quantization=quantization)) == pytest.approx(factor * 30)


def test_every_quantization_has_a_factor() -> None:
    for quantization in Quantization:
        assert MODEL.call_energy_mj(changed(quantization=quantization)) > 0


def test_a_model_larger_than_the_cache_pays_for_memory() -> None:
    # 50 MB x 100 pJ = 5 mJ
    assert MODEL.call_energy_mj(changed(last_level_cache_bytes=49_999_999)) == pytest.approx(42.5)
    assert MODEL.call_energy_mj(changed(last_level_cache_bytes=50_000_000)) == pytest.approx(37.5)


def test_an_unknown_cache_costs_nothing() -> None:
    assert MODEL.call_energy_mj(changed(last_level_cache_bytes=0)) == pytest.approx(37.5)


def test_energy_is_a_samples_share_of_the_call() -> None:
    figure = MODEL.energy(changed(batch_size=4))
    assert figure.value == pytest.approx(37.5 / 4)
    assert (figure.unit, figure.provenance) == ("mJ", Provenance.MODELLED)
    assert figure.source == "energy a sample above idle, model by-hand"


def test_power_is_calls_by_energy_and_wake_up() -> None:
    # 8 samples/s are 8 calls of 37.5 + 2 mJ, or 2 calls in batches of 4.
    assert MODEL.power(INPUTS, 8).value == pytest.approx(8 * 39.5)
    assert MODEL.power(changed(batch_size=4), 8).value == pytest.approx(2 * 39.5)
    assert MODEL.power(INPUTS, 8).unit == "mW"
    assert MODEL.power(INPUTS, 8).source == "average above idle at 8 samples/s, model by-hand"


def test_a_batch_earns_its_keep_by_waking_less() -> None:
    # The same energy a sample: 4 rows take 4 times as long, but wake the core once.
    alone, together = MODEL.power(INPUTS, 8), MODEL.power(changed(batch_size=4, latency_ms=40.0), 8)
    assert alone.value - together.value == pytest.approx(8 * 2 - 2 * 2)


def test_the_interval_of_energy_is_that_of_its_parameters() -> None:
    # sigma = sqrt(0.30^2 + 0.10^2) = 0.3162, and 1.645 of them hold 90 %: a factor of 1.682 either way.
    figure = MODEL.energy(INPUTS)
    assert figure.confidence == 0.9
    assert figure.interval == pytest.approx((37.5 / 1.682, 37.5 * 1.682), rel=0.03)


def test_the_interval_of_a_wake_up_is_a_factor_of_two() -> None:
    # Log-uniform between a half and twice: 90 % of it lie within 2 ** 0.9.
    figure = MODEL.power(changed(busy_cores=0.0), 1)
    assert figure.value == pytest.approx(2.0)
    assert figure.interval == pytest.approx((2 / 2**0.9, 2 * 2**0.9), rel=0.03)


def test_utilisation_is_calls_by_time() -> None:
    assert utilisation(INPUTS, 50) == pytest.approx(0.5)
    assert utilisation(changed(batch_size=4), 50) == pytest.approx(0.125)


def test_a_load_that_fills_all_the_time_is_just_sustained() -> None:
    assert utilisation(INPUTS, 100) == 1.0
    assert utilisation(INPUTS, 101) > 1.0


def test_power_of_a_load_that_cannot_be_sustained_is_that_of_several_devices() -> None:
    assert utilisation(INPUTS, 150) == pytest.approx(1.5)
    assert MODEL.power(INPUTS, 150).value == pytest.approx(150 * 39.5)


def test_the_same_inputs_give_the_same_figure() -> None:
    assert MODEL.power(INPUTS, 8) == MODEL.power(INPUTS, 8)


def test_the_hosts_parameters_are_those_of_the_docstring() -> None:
    assert (HOST_POWER.core_w, HOST_POWER.wake_s, HOST_POWER.memory_pj_per_byte) == (4.0, 133e-6, 160.0)


def test_each_thread_takes_a_core_of_its_own_power() -> None:
    # Two cores of 2 W and then little ones of 0.5 W; 1.5 cores' work is spread over all that are taken.
    phone = dataclasses.replace(MODEL, further_cores_w=(2.0, 0.5))
    assert [phone.mean_core_w(threads) for threads in (1, 2, 3, 4)] == [2.0, 2.0, 1.5, 1.25]
    assert phone.call_energy_mj(changed(num_threads=3)) == pytest.approx(37.5 * 1.5 / 2)


def test_the_hosts_threads_are_all_alike() -> None:
    assert HOST_POWER.mean_core_w(8) == 4.0


ACCELERATED = dataclasses.replace(MODEL, accelerators={Delegate.NPU: AcceleratorPower(watts=3.0, sigma=0.2)})


def test_an_accelerators_power_stands_beside_what_the_cores_do() -> None:
    # 3 W x 10 ms, and 1.25 x 2 W x 0.1 core x 10 ms.
    assert ACCELERATED.call_energy_mj(changed(delegate=Delegate.NPU, busy_cores=0.1)) == pytest.approx(32.5)
    assert ACCELERATED.call_energy_mj(INPUTS) == MODEL.call_energy_mj(INPUTS)


def test_a_gpu_takes_its_share_of_what_a_core_takes_where_that_is_known() -> None:
    gpu = {Delegate.GPU: AcceleratorPower(watts=3.0, sigma=0.17, cpu_energy_ratio=0.29)}
    model = dataclasses.replace(MODEL, accelerators=gpu)
    on_gpu = changed(delegate=Delegate.GPU, busy_cores=0.0)
    assert model.call_energy_mj(on_gpu) == pytest.approx(30.0)
    # 0.29 x 1.25 x 2 W x 40 ms, whatever the GPU's own time and the model's quantization
    known = dataclasses.replace(on_gpu, core_latency_ms=40.0, quantization=Quantization.INT8)
    assert model.call_energy_mj(known) == pytest.approx(29.0)


def test_each_part_has_its_own_band() -> None:
    # One core whose power was measured, 0.10, and a modelled time, 0.40, beside u's 0.10: 0.4243 in all.
    model = dataclasses.replace(MODEL, core_sigma=0.10)
    figure = model.energy(changed(latency_error=0.40))
    assert figure.interval == pytest.approx((37.5 / 2.0096, 37.5 * 2.0096), rel=0.04)
    narrow = ACCELERATED.energy(changed(delegate=Delegate.NPU, busy_cores=0.0))
    # sqrt(0.20^2 + 0.10^2)
    assert narrow.interval == pytest.approx((30 / 1.4446, 30 * 1.4446), rel=0.03)


def test_idle_power_is_in_no_figure() -> None:
    hungry = dataclasses.replace(MODEL, static_w=50.0)
    assert hungry.power(INPUTS, 8) == MODEL.power(INPUTS, 8)
    assert hungry.energy(INPUTS) == MODEL.energy(INPUTS)


def test_a_data_sheets_parameters_become_a_model() -> None:
    model = power_model_of(read_profile(made_profile()))
    assert (model.core_w, model.further_cores_w) == (1.0, (1.0, 0.2, 0.2))
    assert (model.wake_s, model.memory_pj_per_byte, model.static_w) == (pytest.approx(1e-4), 64.0, 2.0)
    assert model.accelerators[Delegate.GPU].cpu_energy_ratio == 0.29
    assert model.accelerators[Delegate.NPU] == AcceleratorPower(2.0, 0.30)
    assert model.memory_band_pj == (37.0, 160.0)


def test_parameter_sets_come_by_name() -> None:
    assert list(POWER_MODELS) == ["x86-host-1", *profile_names()]
    assert len(POWER_MODELS) == len(list(POWER_MODELS))
    assert POWER_MODELS["x86-host-1"] is HOST_POWER
    assert POWER_MODELS["raspberry-pi-4"].core_w == 0.85
    assert "toaster" not in POWER_MODELS
