"""The machine that the work runs on, as a device: candidates run on its own cores, in the runner's process."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from litefront.objectives.devices.delegate_probe import Ask, probe_delegates
from litefront.objectives.devices.device import Candidate, DelegateFacts, DeviceFacts
from litefront.objectives.devices.execution import DelegateOptions, execution
from litefront.objectives.devices.probe_model import probe_model
from litefront.objectives.power import HOST_POWER, PowerModel
from litefront.objectives.runner_server import runner_server
from litefront.objectives.timing import Timing
from litefront.spaces.delegate import Delegate
from litefront.spaces.errors import CandidateError, InputError

__all__ = ["HostDevice"]

_PROBE_TIMEOUT_S = 60.0
_INFER_TIMEOUT_S = 900.0


class HostDevice:
    """This machine.

    Args:
        delegates: Options of its delegates.
        ask: Asks a runner; by default this process's own server.
    """

    def __init__(self, delegates: DelegateOptions | None = None, *, ask: Ask | None = None) -> None:
        self._delegates = delegates or {}
        self._ask = ask or _ask_the_server

    @property
    def power_model(self) -> PowerModel:
        """How power is estimated there."""
        return HOST_POWER

    @property
    def shares_cores(self) -> bool:
        """The host's candidates run on the cores that train and convert."""
        return True

    def probe(self, delegates: Collection[Delegate] = ()) -> DeviceFacts:
        """Asks this machine what it is, through the runner.

        Args:
            delegates: Those that it is asked about, beside what is part of LiteRT's runtime.

        Raises:
            InputError: If LiteRT does not run here.
        """
        try:
            reply = self._ask({"action": "probe"}, timeout_s=_PROBE_TIMEOUT_S)
        except CandidateError as error:
            raise InputError(f"LiteRT must run on this machine, but its runner {error}") from error
        return DeviceFacts(
            kind="host",
            processor=reply["processor"],
            machine=reply["machine"],
            cores=reply["cores"],
            runtime=reply["runtime"],
            delegates=self._probe_delegates(delegates),
        )

    def _probe_delegates(self, delegates: Collection[Delegate]) -> dict[str, DelegateFacts]:
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "probe.tflite"
            model.write_bytes(probe_model())
            return probe_delegates(delegates, self._delegates, self._ask, model=str(model))

    def infer(self, candidate: Candidate, inputs: Path, outputs: Path) -> Mapping[str, Any]:
        """Runs all rows of `inputs` through a candidate; see `Device`."""
        request = {"action": "infer", "inputs": str(inputs), "outputs": str(outputs)} | execution(
            candidate, self._delegates
        )
        return self._ask(request, timeout_s=_INFER_TIMEOUT_S)

    def benchmark(
        self, candidate: Candidate, inputs: Path, timing: Timing, reference: Candidate | None = None
    ) -> Mapping[str, Any]:
        """Times calls of a candidate; see `Device`."""
        request = {
            "action": "benchmark",
            "inputs": str(inputs),
            "timing": timing.to_json(),
            "reference": reference and execution(reference, self._delegates),
        }
        return self._ask(request | execution(candidate, self._delegates), timeout_s=timing.longest_s)


def _ask_the_server(request: Mapping[str, Any], *, timeout_s: float) -> Mapping[str, Any]:
    return runner_server().ask(request, timeout_s=timeout_s)
