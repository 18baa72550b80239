"""Power and energy, modelled: power of the busy cores times the time that they are busy.

Average power is nearly a constant of board and engine, so energy is power times time: on the published results of
MLPerf Tiny that predicts a left-out model within 2.6 % in the median (10.3 % at the 90th percentile), where energy per
multiply-accumulate misses by 21.9 %. The form, for a call of `t_call` seconds:

    P_active = u(quantization) * P_core * busy_cores                 on the cores
    P_active = P_accelerator                                         on what computes beside them
    E_call   = P_active * t_call + E_memory
    energy   = E_call / batch                                        a sample, without idle power
    power    = load / batch * (E_call + E_wake)                      above idle, to serve `load` samples a second

`busy_cores` is measured (processor seconds a second during the timed calls), so spinning threads count as they should;
`P_core` is the mean of the cores that the threads take. An accelerator whose power nobody published takes a share of
the energy that one core takes for the same call, where that core's time is known: 0.29 on a GPU (median of eight
families of networks on phones, DeepEn2023; 0.21 to 0.37). Static power is no part of these figures: it is drawn anyway.

Parameters, each with its band (one sigma of a log-normal, except where said). Those of other devices than the host are
in the profiles, each with its source:

    P_core    4 W a busy x86 thread, sigma 0.30: codecarbon's constant for a processor without counters; the band is
              the scatter between vendor profiles and measurements of the same core, and 0.10 where the very core was
              measured
    u         1.25 float32, 1.05 integer kernels, relative to scalar integer code, sigma 0.10: measured on a
              Raspberry Pi 4 (DeepEdgeBench: the ratio holds on four boards within 0.79-0.90)
    E_wake    P_core * 133 us, the time Linux's `intel_idle` gives for leaving C6 on server cores; factor 2 either way
    E_memory  160 pJ for each byte of a model larger than the last-level cache (DDR4; 37-325 log-uniform: LPDDR4
              with its interface at the low end, Horowitz, ISSCC 2014, at the high one); 37-160 for LPDDR

The absolute value is good to about a factor of two; ratios within a device are far better, since P_core cancels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache

import numpy as np

from litefront.objectives.device_profile import AcceleratorSheet, DeviceProfile, profile_names, read_profile
from litefront.objectives.measurement import Measurement, Provenance
from litefront.spaces.delegate import Delegate
from litefront.spaces.quantization import Quantization

__all__ = [
    "HOST_POWER",
    "POWER_MODELS",
    "AcceleratorPower",
    "PowerInputs",
    "PowerModel",
    "power_model_of",
    "utilisation",
]

_DRAWS = 4000
_CONFIDENCE = 0.9

_FLOAT_KERNELS, _INTEGER_KERNELS = 1.25, 1.05

_COMPUTED_IN_FLOAT = frozenset(
    {
        Quantization.FLOAT32,
        Quantization.FLOAT16,  # widened to float32 when loaded
        Quantization.WEIGHT_ONLY_INT8,  # dequantized when loaded
        Quantization.WEIGHT_ONLY_INT4,
    }
)


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
        delegate: What executes the graph.
        num_threads: Threads, which decide which cores are busy.
        latency_error: Standard deviation of the logarithm of a modelled latency; 0 for a measured one.
        core_latency_ms: What one core takes for the same call; None if nobody knows.
    """

    quantization: Quantization
    batch_size: int
    latency_ms: float
    busy_cores: float
    model_bytes: int
    last_level_cache_bytes: int
    delegate: Delegate = Delegate.NONE
    num_threads: int = 1
    latency_error: float = 0.0
    core_latency_ms: float | None = None


@dataclass(frozen=True)
class AcceleratorPower:
    """Power of what computes beside the cores.

    Attributes:
        watts: Power above idle while it computes, W.
        sigma: Standard deviation of its logarithm.
        cpu_energy_ratio: Energy of a call as a share of one core's; None to go by watts alone.
    """

    watts: float
    sigma: float
    cpu_energy_ratio: float | None = None


@dataclass(frozen=True)
class PowerModel:
    """Parameters of a device; see the module's docstring for the formula and their sources.

    Attributes:
        name: Identity of this parameter set, stored with every figure.
        core_w: Power of one busy core above idle, W; of the first one that threads take.
        wake_s: Time to leave the deep idle state, s.
        memory_pj_per_byte: Energy of reading a byte from memory, pJ.
        further_cores_w: Power of each further core, in the order in which threads take them, W; where there are more
            threads, the last one's, or the first core's.
        core_sigma: Standard deviation of the logarithm of the cores' power.
        memory_band_pj: Lowest and highest plausible energy of a byte, pJ.
        accelerators: What computes beside the cores, by delegate.
        static_w: Power when idle, W; no part of any figure above idle.
    """

    name: str
    core_w: float
    wake_s: float
    memory_pj_per_byte: float
    further_cores_w: tuple[float, ...] = ()
    core_sigma: float = 0.30
    memory_band_pj: tuple[float, float] = (37.0, 325.0)
    accelerators: Mapping[Delegate, AcceleratorPower] = field(default_factory=dict)
    static_w: float = 0.0

    def call_energy_mj(self, inputs: PowerInputs) -> float:
        """Energy of one call above idle, mJ."""
        return self._compute_mj(inputs) + self._memory_mj(inputs)

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
            calls_per_s * (self._draw_energy(inputs) + wake_mj * self._scatter(inputs).wake),
        )

    def mean_core_w(self, num_threads: int) -> float:
        """Mean power of the cores that so many threads take, W."""
        cores = (self.core_w, *self.further_cores_w)
        taken = [cores[min(index, len(cores) - 1)] for index in range(num_threads)]
        return sum(taken) / num_threads

    def _compute_mj(self, inputs: PowerInputs) -> float:
        """Energy of what a call computes, mJ; time on cores and on an accelerator add up."""
        cores_w = _kernel_factor(inputs.quantization) * self.mean_core_w(inputs.num_threads)
        on_cores_mj = cores_w * inputs.busy_cores * inputs.latency_ms
        accelerator = self.accelerators.get(inputs.delegate)
        if accelerator is None:
            return on_cores_mj
        if accelerator.cpu_energy_ratio is not None and inputs.core_latency_ms is not None:
            one_core_w = _FLOAT_KERNELS * self.core_w
            return on_cores_mj + accelerator.cpu_energy_ratio * one_core_w * inputs.core_latency_ms
        return on_cores_mj + accelerator.watts * inputs.latency_ms

    def _memory_mj(self, inputs: PowerInputs) -> float:
        if not 0 < inputs.last_level_cache_bytes < inputs.model_bytes:
            return 0.0
        return inputs.model_bytes * self.memory_pj_per_byte * 1e-9

    def _draw_energy(self, inputs: PowerInputs) -> np.ndarray:
        """Draws of a call's energy over the parameters' bands, mJ, shape `(draws,)`."""
        scatter = self._scatter(inputs)
        return np.asarray(self._compute_mj(inputs) * scatter.compute + self._memory_mj(inputs) * scatter.memory)

    def _scatter(self, inputs: PowerInputs) -> _Scatter:
        accelerator = self.accelerators.get(inputs.delegate)
        sigma = self.core_sigma if accelerator is None else accelerator.sigma
        low, high = (end / self.memory_pj_per_byte for end in self.memory_band_pj)
        return _scatter(sigma, inputs.latency_error, (low, high))

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


@lru_cache(maxsize=64)
def _scatter(power_sigma: float, latency_error: float, memory_band: tuple[float, float]) -> _Scatter:
    """The same draws for every candidate, so that two of them compare without the noise of drawing."""
    rng, wake_rng = np.random.default_rng(0), np.random.default_rng(1)
    power = rng.normal(0.0, power_sigma, _DRAWS) + rng.normal(0.0, 0.10, _DRAWS)
    memory = rng.uniform(math.log(memory_band[0]), math.log(memory_band[1]), _DRAWS)
    return _Scatter(
        compute=np.exp(power + rng.normal(0.0, latency_error, _DRAWS)),
        memory=np.exp(memory),
        wake=np.exp(wake_rng.uniform(math.log(0.5), math.log(2.0), _DRAWS)),
    )


def utilisation(inputs: PowerInputs, samples_per_s: float) -> float:
    """Share of the time that serving the load keeps the candidate running; above 1 it cannot be sustained."""
    return samples_per_s / inputs.batch_size * inputs.latency_ms / 1e3


HOST_POWER = PowerModel("x86-host-1", core_w=4.0, wake_s=133e-6, memory_pj_per_byte=160.0)
"""For a machine without readable energy counters."""


def power_model_of(profile: DeviceProfile) -> PowerModel:
    """The power parameters of a data sheet."""
    cores = profile.cores_in_order
    return PowerModel(
        profile.name,
        core_w=cores[0].core_w.value,
        wake_s=profile.wake_us.value * 1e-6,
        memory_pj_per_byte=profile.memory.pj_per_byte.value,
        further_cores_w=tuple(core.core_w.value for core in cores[1:]),
        core_sigma=_or_usual(cores[0].core_w.sigma),
        memory_band_pj=(37.0, 160.0),
        accelerators={Delegate(name): _accelerator_power(sheet) for name, sheet in profile.accelerators.items()},
        static_w=profile.static_w.value,
    )


def _accelerator_power(sheet: AcceleratorSheet) -> AcceleratorPower:
    ratio = sheet.cpu_energy_ratio
    if ratio is None:
        return AcceleratorPower(sheet.watts.value, _or_usual(sheet.watts.sigma))
    return AcceleratorPower(sheet.watts.value, _or_usual(ratio.sigma), ratio.value)


def _or_usual(sigma: float | None) -> float:
    return 0.30 if sigma is None else sigma


class _PowerModels(Mapping[str, PowerModel]):
    """The host's parameters and each profile's; a profile is read when it is asked for."""

    def __getitem__(self, name: str) -> PowerModel:
        if name == HOST_POWER.name:
            return HOST_POWER
        if name not in profile_names():
            raise KeyError(name)
        return _power_model(name)

    def __iter__(self) -> Iterator[str]:
        yield HOST_POWER.name
        yield from profile_names()

    def __len__(self) -> int:
        return 1 + len(profile_names())


@cache
def _power_model(name: str) -> PowerModel:
    return power_model_of(read_profile(name))


POWER_MODELS: Mapping[str, PowerModel] = _PowerModels()
"""Every parameter set by its name, for devices whose entry in the study names one."""


def _kernel_factor(quantization: Quantization) -> float:
    """What a core draws under such kernels, as a share of what it draws under float ones."""
    return _FLOAT_KERNELS if quantization in _COMPUTED_IN_FLOAT else _INTEGER_KERNELS
