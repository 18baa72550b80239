"""What a device is to the search: something that runs a candidate alone and says what it saw."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from litefront.objectives.power import PowerModel
from litefront.objectives.timing import Timing
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import DeploymentConfig

__all__ = ["BUILT_IN", "Candidate", "DelegateFacts", "Device", "DeviceFacts"]


@dataclass(frozen=True)
class DelegateFacts:
    """What a probe found of one delegate.

    Attributes:
        refusal: Why it cannot be used; None if it can.
        implementation: What it is, with its version as far as it tells: part of the keys of what it runs.
        is_software: Whether a processor's code stands in for the accelerator, so that its times mean nothing.
    """

    refusal: str | None = None
    implementation: str = ""
    is_software: bool = False


BUILT_IN: Mapping[str, DelegateFacts] = {Delegate.NONE: DelegateFacts(), Delegate.XNNPACK: DelegateFacts()}
"""What every LiteRT brings with it."""

_NOT_KNOWN = DelegateFacts("this kind of device does not have it")


@dataclass(frozen=True)
class DeviceFacts:
    """What a device says of itself; part of every measurement's key.

    Attributes:
        kind: The device kind's name.
        processor: The processor's name.
        machine: Its architecture.
        cores: Cores that a candidate may use.
        runtime: LiteRT and its version.
        delegates: What it found of each delegate that it knows, by name; one that is not named is not there. By
            default those that are part of LiteRT's runtime.
    """

    kind: str
    processor: str
    machine: str
    cores: int
    runtime: str
    delegates: Mapping[str, DelegateFacts] = field(default_factory=lambda: dict(BUILT_IN))

    def identity(self) -> dict[str, Any]:
        """What every figure depends on, for keys; a delegate is in those of what it runs alone."""
        return {name: value for name, value in vars(self).items() if name != "delegates"}

    def refusals(self) -> dict[str, str]:
        """Why each delegate that cannot be used cannot, by its name."""
        found = {delegate: self.delegates.get(delegate, _NOT_KNOWN) for delegate in Delegate}
        return {
            delegate.value: f"{delegate} is not there: {facts.refusal}"
            for delegate, facts in found.items()
            if facts.refusal is not None
        }


@dataclass(frozen=True)
class Candidate:
    """A file and how it is run.

    Attributes:
        model: The `.tflite`.
        config: Gives delegate and threads.
    """

    model: Path
    config: DeploymentConfig


class Device(Protocol):
    """Where candidates are measured.

    A kind is made from its entry in the study: each key but `kind` is an argument of its constructor. `probe` is called
    once at the start of a study. `infer` may run beside other work; `benchmark` is called only while the caller holds
    the device's lease, that is with nothing else running there. A device holds no state between calls.
    """

    @property
    def power_model(self) -> PowerModel:
        """How power is estimated there."""
        ...

    @property
    def shares_cores(self) -> bool:
        """Whether candidates run on the cores that also train and convert."""
        ...

    def probe(self, delegates: Collection[Delegate] = ()) -> DeviceFacts:
        """Asks the device what it is.

        Args:
            delegates: Those that it is asked about, beside what is part of LiteRT's runtime.

        Raises:
            InputError: If it cannot be reached or lacks the runtime.
        """
        ...

    def infer(self, candidate: Candidate, inputs: Path, outputs: Path) -> Mapping[str, Any]:
        """Runs all rows of `inputs` (`.npy`) through a candidate and writes what it answers to `outputs`.

        Raises:
            CandidateError: If the model is refused, crashes or hangs there.
        """
        ...

    def benchmark(
        self, candidate: Candidate, inputs: Path, timing: Timing, reference: Candidate | None = None
    ) -> Mapping[str, Any]:
        """Times calls of a candidate, with rounds of the reference between its own; the reply is the runner's.

        Raises:
            CandidateError: If the model is refused, crashes or hangs there.
        """
        ...
