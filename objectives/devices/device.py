"""What a device is to the search: something that runs a candidate alone and says what it saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from litefront.objectives.latency import Timing
from litefront.objectives.power import PowerModel
from litefront.spaces.deployment_config import DeploymentConfig

__all__ = ["Candidate", "Device", "DeviceFacts"]


@dataclass(frozen=True)
class DeviceFacts:
    """What a device says of itself; part of every measurement's key.

    Attributes:
        kind: The device kind's name.
        processor: The processor's name.
        machine: Its architecture.
        cores: Cores that a candidate may use.
        runtime: LiteRT and its version.
    """

    kind: str
    processor: str
    machine: str
    cores: int
    runtime: str

    def identity(self) -> dict[str, Any]:
        """What a figure depends on, for keys."""
        return dict(vars(self))


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

    `probe` is called once at the start of a study. `infer` may run beside other work; `benchmark` is called only while
    the caller holds the device's lease, that is with nothing else running there. A device holds no state between calls.
    """

    @property
    def power_model(self) -> PowerModel:
        """How power is estimated there."""
        ...

    @property
    def shares_cores(self) -> bool:
        """Whether candidates run on the cores that also train and convert."""
        ...

    def probe(self) -> DeviceFacts:
        """Asks the device what it is.

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
