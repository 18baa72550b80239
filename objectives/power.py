"""Power and energy, modelled: power of the busy cores times the time that they are busy.

Average power is nearly a constant of board and engine, so energy is power times time: on the published results of
MLPerf Tiny that predicts a left-out model within 2.6 % in the median (10.3 % at the 90th percentile), where energy per
multiply-accumulate misses by 21.9 %. The form, for a call of `t_call` seconds:

    P_active = u(quantization) * P_core * busy_cores
    E_call   = P_active * t_call + E_memory
    energy   = E_call / batch                                        a sample, without idle power
    power    = load / batch * (E_call + E_wake)                      above idle, to serve `load` samples a second

`busy_cores` is measured (processor seconds a second during the timed calls), so spinning threads count as they should.
Parameters, each with its band (one sigma of a log-normal, except where said):

    P_core    4 W a busy x86 thread, sigma 0.30: codecarbon's constant for a processor without counters; the band is
              the scatter between vendor profiles and measurements of the same core
    u         1.25 float32, 1.05 integer kernels, relative to scalar integer code, sigma 0.10: measured on a
              Raspberry Pi 4 (DeepEdgeBench: the ratio holds on four boards within 0.79-0.90)
    E_wake    P_core * 133 us, the time Linux's `intel_idle` gives for leaving C6 on server cores; factor 2 either way
    E_memory  160 pJ for each byte of a model larger than the last-level cache (DDR4; 37-325 log-uniform: LPDDR4
              with its interface at the low end, Horowitz, ISSCC 2014, at the high one)

The absolute value is good to about a factor of two; ratios within a device are far better, since P_core cancels.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from litefront.objectives.measurement import Measurement, Provenance
from litefront.spaces.quantization import Quantization

__all__ = ["HOST_POWER", "POWER_MODELS", "PowerInputs", "PowerModel", "utilisation"]

_DRAWS = 4000
_CONFIDENCE = 0.9

_FLOAT_KERNELS, _INTEGER_KERNELS = 1.25, 1.05

_KERNEL_FACTORS: Mapping[Quantization, float] = {
    Quantization.FLOAT32: _FLOAT_KERNELS,
    Quantization.FLOAT16: _FLOAT_KERNELS,  # widened to float32 when loaded
    Quantization.WEIGHT_ONLY_INT8: _FLOAT_KERNELS,  # dequantized when loaded
    Quantization.DYNAMIC_INT8: _INTEGER_KERNELS,
    Quantization.INT8: _INTEGER_KERNELS,
    Quantization.INT16X8: _INTEGER_KERNELS,
    Quantization.DYNAMIC_INT4: _INTEGER_KERNELS,
}


@dataclass(frozen=True)
class PowerInputs:
    """What the model takes from one candidate's measurement.

    Attributes:
        quantization: Decides which kernels compute.
        batch_size: Rows a call.
        latency_ms: Time of a call.
        busy_cores: Processor seconds a second while it runs.
        model_bytes: Bytes of weights that each call reads.
        last_level_cache_bytes: The device's largest cache; 0 if unknown, and then memory costs nothing.
    """

    quantization: Quantization
    batch_size: int
    latency_ms: float
    busy_cores: float
    model_bytes: int
    last_level_cache_bytes: int


@dataclass(frozen=True)
class PowerModel:
    """Parameters of a device; see the module's docstring for the formula and their sources.

    Attributes:
        name: Identity of this parameter set, stored with every figure.
        core_w: Power of one busy core above idle, W.
        wake_s: Time to leave the deep idle state, s.
        memory_pj_per_byte: Energy of reading a byte from memory, pJ.
    """

    name: str
    core_w: float
    wake_s: float
    memory_pj_per_byte: float

    def call_energy_mj(self, inputs: PowerInputs) -> float:
        """Energy of one call above idle, mJ."""
        active_w = _KERNEL_FACTORS[inputs.quantization] * self.core_w * inputs.busy_cores
        return active_w * inputs.latency_ms + self._memory_mj(inputs)

    def energy(self, inputs: PowerInputs) -> Measurement:
        """Energy of one sample above idle, `energy_mj`."""
        value = self.call_energy_mj(inputs) / inputs.batch_size
        return self._figure(value, "mJ", "energy a sample above idle", self._draw_energy(inputs) / inputs.batch_size)

    def power(self, inputs: PowerInputs, samples_per_s: float) -> Measurement:
        """Average power above idle that serves `samples_per_s`, `power_mw`.

        For a candidate that cannot sustain the load (`utilisation` above 1) it is what several of them would take.
        """
        calls_per_s = samples_per_s / inputs.batch_size
        wake_mj = self.core_w * self.wake_s * 1e3
        return self._figure(
            calls_per_s * (self.call_energy_mj(inputs) + wake_mj),
            "mW",
            f"average above idle at {samples_per_s:g} samples/s",
            calls_per_s * (self._draw_energy(inputs) + wake_mj * _scatter().wake),
        )

    def _memory_mj(self, inputs: PowerInputs) -> float:
        if not 0 < inputs.last_level_cache_bytes < inputs.model_bytes:
            return 0.0
        return inputs.model_bytes * self.memory_pj_per_byte * 1e-9

    def _draw_energy(self, inputs: PowerInputs) -> np.ndarray:
        """Draws of a call's energy over the parameters' bands, mJ, shape `(draws,)`."""
        memory_mj = self._memory_mj(inputs)
        compute_mj = self.call_energy_mj(inputs) - memory_mj
        return np.asarray(compute_mj * _scatter().compute + memory_mj * _scatter().memory)

    def _figure(self, value: float, unit: str, what: str, draws: np.ndarray) -> Measurement:
        tail = (1 - _CONFIDENCE) / 2
        low, high = np.quantile(draws, (tail, 1 - tail))
        source = f"{what}, model {self.name}"
        return Measurement(value, unit, Provenance.MODELLED, source, (float(low), float(high)), _CONFIDENCE)


@dataclass(frozen=True)
class _Scatter:
    """Draws of the parameters' bands, as factors of shape `(draws,)`."""

    compute: np.ndarray
    memory: np.ndarray
    wake: np.ndarray


@functools.cache
def _scatter() -> _Scatter:
    """The same draws for every candidate, so that two of them compare without the noise of drawing."""
    rng, wake_rng = np.random.default_rng(0), np.random.default_rng(1)
    return _Scatter(
        compute=np.exp(rng.normal(0.0, 0.30, _DRAWS) + rng.normal(0.0, 0.10, _DRAWS)),
        memory=np.exp(rng.uniform(math.log(37 / 160), math.log(325 / 160), _DRAWS)),
        wake=np.exp(wake_rng.uniform(math.log(0.5), math.log(2.0), _DRAWS)),
    )


def utilisation(inputs: PowerInputs, samples_per_s: float) -> float:
    """Share of the time that serving the load keeps the candidate running; above 1 it cannot be sustained."""
    return samples_per_s / inputs.batch_size * inputs.latency_ms / 1e3


HOST_POWER = PowerModel("x86-host-1", core_w=4.0, wake_s=133e-6, memory_pj_per_byte=160.0)
"""For a machine without readable energy counters."""

POWER_MODELS: Mapping[str, PowerModel] = {model.name: model for model in (HOST_POWER,)}
"""Every parameter set by its name, for devices whose entry in the study names one."""
