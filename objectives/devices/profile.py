"""A device that is not at hand, only its data sheet: every figure of it is modelled, and says so.

Answers do not depend on a data sheet: they are computed on this machine, by the delegate itself where it is built into
LiteRT, and by XNNPACK in place of an accelerator.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from litefront.objectives import roofline, tflite_operators, xnnpack_operators
from litefront.objectives.device_profile import DeviceProfile, read_profile
from litefront.objectives.devices.device import BUILT_IN, Candidate, DelegateFacts, DeviceFacts
from litefront.objectives.devices.execution import execution
from litefront.objectives.modelled_timing import ModelledTiming
from litefront.objectives.power import PowerModel, power_model_of
from litefront.objectives.roofline import Roofline
from litefront.objectives.runner_server import runner_server
from litefront.objectives.tflite_operators import OperatorCounts, count_operators
from litefront.objectives.timing import Timing
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.errors import CandidateError
from litefront.spaces.tflite.graph import TfliteGraph

__all__ = ["ProfileDevice"]

_INFER_TIMEOUT_S = 900.0

# What loading a model costs on the cores, by MobileNetV1's cold start on x86 (assumed elsewhere): its constants are
# read, and packed for XNNPACK, and the first call finds no cache warm.
_PASSES_OVER_WEIGHTS = 3.0
_LOAD_CYCLES_PER_OPERATOR = 100_000.0
_FIRST_CALL = 1.5
_START_ERROR = 0.7


class ProfileDevice:
    """A data sheet as a device.

    Args:
        profile: The name of a profile that comes with litefront, a file, or what such a file holds.

    Raises:
        InputError: If there is no such profile, or it is not valid.
    """

    def __init__(self, profile: str | Mapping[str, Any]) -> None:
        self.profile: DeviceProfile = read_profile(profile)

    @property
    def power_model(self) -> PowerModel:
        """How power is estimated there."""
        return power_model_of(self.profile)

    @property
    def shares_cores(self) -> bool:
        """Reading a data sheet takes no core from those that train and convert."""
        return False

    def probe(self, delegates: Collection[Delegate] = ()) -> DeviceFacts:
        """What the data sheet says; its digest is part of every key, with that of what is made of it.

        Args:
            delegates: All that it has are told, whichever are asked about.
        """
        accelerators: dict[str, DelegateFacts] = {
            name: DelegateFacts(implementation=f"{sheet.implementation} (modelled; answers are XNNPACK's, of here)")
            for name, sheet in self.profile.accelerators.items()
        }
        refusals = {
            name.value: DelegateFacts(refusal=f"the profile {self.profile.name} has no {name}")
            for name in Delegate
            if name not in BUILT_IN and name.value not in accelerators
        }
        return DeviceFacts(
            kind="profile",
            processor=self.profile.summary,
            machine=self.profile.machine,
            cores=self.profile.cores,
            runtime=f"roofline {_model_digest()}, profile {self.profile.name} {self.profile.digest}",
            delegates=dict(BUILT_IN) | accelerators | refusals,
        )

    def infer(self, candidate: Candidate, inputs: Path, outputs: Path) -> Mapping[str, Any]:
        """Runs all rows of `inputs` through a candidate, on this machine; see `Device`.

        For an accelerator the reply's `answered_by` says what computed in its place, and the delegated nodes are those
        that the data sheet gives it.
        """
        asked = candidate.config.delegate
        here = asked if asked in BUILT_IN else Delegate.XNNPACK
        config = DeploymentConfig.from_params(candidate.config.params() | {"delegate": here, "num_threads": 1})
        request = {"action": "infer", "inputs": str(inputs), "outputs": str(outputs)}
        request |= execution(Candidate(candidate.model, config), {})
        reply = runner_server().ask(request, timeout_s=_INFER_TIMEOUT_S)
        if here is asked:
            return reply
        time = self.call_model(candidate.model).call(asked, 1)
        taken = {"delegated_nodes": time.delegated, "nodes": time.operators}
        return {**reply, **taken, "answered_by": f"{here} on this machine"}

    def benchmark(
        self, candidate: Candidate, inputs: Path, timing: Timing, reference: Candidate | None = None
    ) -> Mapping[str, Any]:
        """Models a call of a candidate; the reply holds a `ModelledTiming` in place of rounds. See `Device`.

        Raises:
            CandidateError: If the file is no `.tflite`, or the accelerator does not take its batch.
        """
        graph = _Graph(candidate.model)
        self._check_batch(graph, candidate.config.delegate)
        model = Roofline(self.profile, graph.operators)
        time = model.call(candidate.config.delegate, candidate.config.num_threads)
        modelled = ModelledTiming(
            source=f"roofline, profile {self.profile.name}",
            latency_ms=time.latency_ms,
            latency_error=time.error,
            cold_start_ms=self._load_ms(graph, candidate.config.delegate) + _FIRST_CALL * time.latency_ms,
            memory_bytes=graph.memory_bytes(packs=candidate.config.delegate is not Delegate.NONE),
            start_error=_START_ERROR,
            busy_cores=time.busy_cores,
            core_latency_ms=model.call(Delegate.XNNPACK, 1).latency_ms,
        )
        return {
            "modelled": modelled.to_json(),
            "last_level_cache_bytes": int(self.profile.memory.last_level_cache_bytes.value),
        }

    def call_model(self, model: Path) -> Roofline:
        """What the data sheet says of a file's calls."""
        return Roofline(self.profile, _Graph(model).operators)

    def _check_batch(self, graph: _Graph, delegate: Delegate) -> None:
        accelerator = self.profile.accelerator(delegate)
        if accelerator is None or accelerator.max_batch_size is None:
            return
        if graph.batch_size > accelerator.max_batch_size:
            raise CandidateError(
                f"{accelerator.implementation} takes at most {accelerator.max_batch_size} rows a call, but the model "
                f"has a batch of {graph.batch_size}"
            )

    def _load_ms(self, graph: _Graph, delegate: Delegate) -> float:
        """What comes before the first call: weights are read and packed, operators prepared, accelerators started."""
        accelerator = self.profile.accelerator(delegate)
        started_ms = accelerator.load_ms.value if accelerator else 0.0
        packed_ms = _PASSES_OVER_WEIGHTS * graph.weight_bytes / (self.profile.memory.gb_per_s.value * 1e6)
        prepared = len(graph.operators) * _LOAD_CYCLES_PER_OPERATOR
        return started_ms + packed_ms + prepared / (self.profile.clusters[0].ghz.value * 1e6)


class _Graph:
    """A file's operators, and what loading it takes."""

    def __init__(self, model: Path) -> None:
        try:
            graph = TfliteGraph(model.read_bytes())
            self.operators: list[OperatorCounts] = count_operators(graph)
            self.batch_size = graph.inputs[0].shape[0] if graph.inputs[0].shape else 1
        except Exception as error:
            # The flatbuffer's reader raises whatever a wrong offset leads it to.
            raise CandidateError(f"refused: {model.name} cannot be read as a .tflite ({error})") from error

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of all weights, as calls read them."""
        return sum(op.weight_bytes for op in self.operators)

    def memory_bytes(self, *, packs: bool) -> float:
        """The weights, twice where a delegate packs its own copy, and the largest values that are alive together."""
        values = max((op.input_bytes + op.output_bytes for op in self.operators), default=0)
        return float(self.weight_bytes * (2 if packs else 1) + values)


def _model_digest() -> str:
    """Of the code that makes times of a data sheet, so that a better model is not taken for the old one."""
    sources = (Path(module.__file__ or "").read_bytes() for module in (roofline, tflite_operators, xnnpack_operators))
    return hashlib.sha256(b"".join([*sources, Path(__file__).read_bytes()])).hexdigest()[:12]
