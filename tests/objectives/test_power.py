"""Power and energy, from the formula of the module's docstring."""

from __future__ import annotations

import dataclasses

import pytest

from litefront.objectives.measurement import Provenance
from litefront.objectives.power import HOST_POWER, PowerInputs, PowerModel, utilisation
from litefront.spaces.quantization import Quantization

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
