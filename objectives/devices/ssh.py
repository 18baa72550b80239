"""A Linux board as a device: reached through the user's own OpenSSH client, it runs the runner by its own Python."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from litefront.objectives.devices.board import Board
from litefront.objectives.devices.board_agent import throttling
from litefront.objectives.devices.delegate_probe import probe_delegates
from litefront.objectives.devices.device import Candidate, DelegateFacts, DeviceFacts
from litefront.objectives.devices.execution import DelegateOptions, execution
from litefront.objectives.devices.probe_model import probe_model
from litefront.objectives.devices.ssh_connection import BoardRefusalError, SshConnection
from litefront.objectives.power import POWER_MODELS, PowerModel
from litefront.objectives.timing import Timing
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.errors import CandidateError, InputError

__all__ = ["SshDevice"]

# A small board takes several times as long as a desktop.
_PROBE_TIMEOUT_S = 120.0
_INFER_TIMEOUT_S = 3600.0
_MAX_TIMINGS = 3

_FLAGS = ("under-voltage", "capped frequency", "throttling", "the soft temperature limit")


class SshDevice:
    """A board that ssh reaches.

    Args:
        host: The board, as the user's ssh takes it.
        power: The name of the parameters that its power is modelled with, of `POWER_MODELS`.
        python: Its Python, which has numpy and ai-edge-litert.
        folder: Where it keeps files, relative to its home directory.
        delegates: Options of its delegates; paths in them are the board's.
        connect_timeout_s: How long it may take to answer, whole seconds.
        config: Another ssh configuration than the user's own.
        max_absence_s: How long a board that was lost during a study is waited for.
        cool_down_s: Pause before a measurement is taken again that throttling has spoilt.
    """

    def __init__(
        self,
        host: str,
        power: str,
        python: str = "python3",
        folder: str = ".cache/litefront",
        delegates: DelegateOptions | None = None,
        *,
        connect_timeout_s: int = 10,
        config: str | None = None,
        max_absence_s: float = 180.0,
        cool_down_s: float = 60.0,
    ) -> None:
        self._host = host
        self._power_model = POWER_MODELS[power]
        self._python = python
        self._delegates = delegates or {}
        self._cool_down_s = cool_down_s
        self._connection = SshConnection(host, python, config=config, connect_timeout_s=connect_timeout_s)
        self._board = Board(self._connection, folder, max_absence_s)

    @property
    def power_model(self) -> PowerModel:
        """How power is estimated there."""
        return self._power_model

    @property
    def shares_cores(self) -> bool:
        """A board does not train."""
        return False

    def probe(self, delegates: Collection[Delegate] = ()) -> DeviceFacts:
        """Asks the board what it is, and has it run a model of one operator.

        Args:
            delegates: Those that it is asked about, beside what is part of LiteRT's runtime.

        Raises:
            InputError: If it cannot be reached or used, or if the runner does not work with its LiteRT.
        """
        try:
            reply = self._board.run({"action": "probe"}, timeout_s=_PROBE_TIMEOUT_S, waits=False)
        except BoardRefusalError as error:
            raise InputError(str(error)) from error
        except CandidateError as error:
            raise InputError(
                f"{self._host} must have numpy and ai-edge-litert for {self._python} (`{self._python} -m pip install "
                f"ai-edge-litert`), but the runner {error}."
            ) from error
        self._try_model(reply["runtime"])
        return DeviceFacts(
            kind="ssh",
            processor=reply["processor"],
            machine=reply["machine"],
            cores=reply["cores"],
            runtime=reply["runtime"],
            delegates=self._probe_delegates(delegates),
        )

    def infer(self, candidate: Candidate, inputs: Path, outputs: Path) -> Mapping[str, Any]:
        """Runs all rows of `inputs` through a candidate; see `Device`."""
        request = {"action": "infer", "inputs": inputs} | self._execution(candidate)
        return self._run(request, timeout_s=_INFER_TIMEOUT_S, outputs=outputs)

    def benchmark(
        self, candidate: Candidate, inputs: Path, timing: Timing, reference: Candidate | None = None
    ) -> Mapping[str, Any]:
        """Times calls of a candidate; see `Device`.

        What was timed while the board was throttled is thrown away and taken again. The reply's `health` holds the
        board's clocks and temperatures before and after.
        """
        request = {
            "action": "benchmark",
            "inputs": inputs,
            "timing": timing.to_json(),
            "reference": reference and self._execution(reference),
        } | self._execution(candidate)
        for attempt in range(_MAX_TIMINGS):
            if attempt:
                time.sleep(self._cool_down_s)
            reply = self._run(request, timeout_s=timing.longest_s, alone=True)
            if not (flags := throttling(**reply["health"])):
                return reply
        raise CandidateError(f"throttled: {_in_words(flags, reply['health'])} at each of {_MAX_TIMINGS} measurements")

    def close(self) -> None:
        """Ends the connection; the next request opens another."""
        self._connection.close()

    def _execution(self, candidate: Candidate) -> dict[str, Any]:
        return execution(candidate, self._delegates) | {"model": candidate.model}

    def _run(self, request: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        try:
            return self._board.run(request, **options)
        except BoardRefusalError as error:
            raise CandidateError(str(error)) from error

    def _probe_delegates(self, delegates: Collection[Delegate]) -> dict[str, DelegateFacts]:
        def ask(request: Mapping[str, Any], *, timeout_s: float) -> Mapping[str, Any]:
            return self._run({**request, "model": Path(request["model"])}, timeout_s=timeout_s)

        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "probe.tflite"
            model.write_bytes(probe_model())
            return probe_delegates(delegates, self._delegates, ask, model=str(model))

    def _try_model(self, runtime: str) -> None:
        """Finds out now, and not at each candidate, whether the runner works with the board's LiteRT."""
        rows = np.arange(128, dtype=np.float32).reshape(2, 4, 4, 4)
        with tempfile.TemporaryDirectory() as folder:
            model, inputs, outputs = (Path(folder) / name for name in ("probe.tflite", "inputs.npy", "outputs.npy"))
            model.write_bytes(probe_model())
            np.save(inputs, rows)
            asked = Candidate(model, DeploymentConfig())
            request = {"action": "infer", "inputs": inputs} | self._execution(asked)
            try:
                self._board.run(request, timeout_s=_PROBE_TIMEOUT_S, outputs=outputs, waits=False)
                problem = "" if np.array_equal(np.load(outputs), 2 * rows) else "doubled numbers wrongly"
            except BoardRefusalError as error:
                raise InputError(str(error)) from error
            except CandidateError as error:
                problem = str(error)
        if problem:
            raise InputError(f"The runner must work with the {runtime} of {self._host}, but it {problem}.")


def _in_words(flags: int, health: Mapping[str, Any]) -> str:
    words = " and ".join(name for bit, name in enumerate(_FLAGS) if flags >> bit & 1)
    heat = max(health["after"]["temperatures_c"].values(), default=None)
    return words if heat is None else f"{words}, {heat:.0f} degrees Celsius"
