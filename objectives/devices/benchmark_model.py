"""LiteRT's `benchmark_model` on a phone: how it is put there, what its flags are, and one run with a clock beside it.

Nothing here was seen on a phone. It stands on the tool's source and on what Android's shell (mksh) and toybox document:
`times`, `timeout`, `taskset`, `sha256sum`, /proc/uptime and /proc/stat.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from litefront.objectives.devices.adb import Adb
from litefront.objectives.devices.benchmark_output import BenchmarkOutput, read_output
from litefront.spaces.delegate import Delegate
from litefront.spaces.errors import CandidateError, InputError

__all__ = ["ONE_CALL", "PHONE_FOLDER", "BenchmarkModel", "InstalledModel", "ToolRun", "delegate_flags"]

PHONE_FOLDER = "/data/local/tmp/litefront"
"""Where everything that is pushed stands, by its digest. Nothing there is ever removed."""

ONE_CALL = ("--warmup_runs=1", "--warmup_min_secs=0", "--num_runs=1", "--min_secs=0")
"""A fresh process that loads the model, calls it for the first time, and once more."""

_ON_THE_PHONE = "/data/local/tmp/"
_TIMEOUT_S = 120.0
_GRACE_S = 15.0
_CLOCK_TICKS_PER_S = 100  # USER_HZ, the same on every Android

_CLOCK = 'echo "[clock] $(cat /proc/uptime) $(head -n 1 /proc/stat)"'
_CLOCK_LINE = re.compile(r"^\[clock\] ([\d.]+) [\d.]+ cpu +([\d ]+)$", re.MULTILINE)
_MINUTES = re.compile(r"(\d+)m([\d.]+)s")

_BOOLEANS = {True: "true", False: "false"}
_FLAGS: Mapping[Delegate, Mapping[str, str]] = {
    Delegate.GPU: {
        "precision_loss_allowed": "gpu_precision_loss_allowed",
        "backend": "gpu_backend",
        "sustained_speed": "gpu_inference_for_sustained_speed",
    },
    Delegate.NNAPI: {
        "accelerator_name": "nnapi_accelerator_name",
        "execution_preference": "nnapi_execution_preference",
        "allow_fp16": "nnapi_allow_fp16",
    },
}


@dataclass(frozen=True)
class InstalledModel:
    """A model on the phone, and how it is run there.

    Attributes:
        command: The tool with all flags but those that say how long.
        delegate: What runs its graph.
        nodes: Operators of its main graph.
    """

    command: str
    delegate: Delegate
    nodes: int


@dataclass(frozen=True)
class ToolRun:
    """One run of the tool.

    Attributes:
        delegate: What ran the graph.
        output: What it said.
        wall_s: How long its process lived.
        cpu_s: What it computed on all cores.
        others_s: What all other processes of the phone computed meanwhile.
        steal_s: What a hypervisor took.
    """

    delegate: Delegate
    output: BenchmarkOutput
    wall_s: float
    cpu_s: float
    others_s: float
    steal_s: float


@dataclass(frozen=True)
class _Clock:
    uptime_s: float
    busy_s: float
    steal_s: float


def delegate_flags(delegate: Delegate, options: Mapping[str, Any]) -> list[str]:
    """The flags that have the tool run a graph on a delegate, and on the built-in kernels what that does not take.

    XNNPACK applies by default even where it is not asked for; only `--use_xnnpack=false` turns it off.

    Args:
        delegate: What is to run the graph.
        options: What the device's entry says of it.
    """
    if delegate is Delegate.XNNPACK:
        return ["--use_xnnpack=true"]
    flags = {name: options[key] for key, name in _FLAGS.get(delegate, {}).items() if key in options}
    chosen = [f"--{name}={_BOOLEANS[value] if isinstance(value, bool) else value}" for name, value in flags.items()]
    if delegate is Delegate.GPU:
        chosen.insert(0, "--use_gpu=true")
    if delegate is Delegate.NNAPI:
        # Without it NNAPI may run the graph on its own CPU kernels, the slowest of all.
        cpu = [] if "accelerator_name" in options else ["--disable_nnapi_cpu=true"]
        chosen = ["--use_nnapi=true", *cpu, *chosen]
    if delegate is Delegate.EXTERNAL:
        pairs = ";".join(f"{name}:{value}" for name, value in options.get("options", {}).items())
        chosen = [f"--external_delegate_path={options['library']}", f"--external_delegate_options={pairs}"]
    return [*chosen, "--use_xnnpack=false"]


class BenchmarkModel:
    """The tool on one phone.

    Args:
        adb: Speaks to the phone.
        path: The tool, on this machine or on the phone under /data/local/tmp.
        cpu_mask: Cores that it may use, hexadecimal as `taskset` takes it; None for all.
        delegates: Options of the phone's delegates, by name.
    """

    def __init__(self, adb: Adb, path: str, cpu_mask: str | None, delegates: Mapping[str, Mapping[str, Any]]) -> None:
        self._adb = adb
        self._path = path
        self._pinned = "" if cpu_mask is None else f"taskset {cpu_mask} "
        self._delegates = delegates

    def version(self) -> str:
        """The first digits of the tool's SHA-256, for it tells no version itself.

        Raises:
            InputError: If it is not where the study says.
        """
        if not self._path.startswith(_ON_THE_PHONE):
            try:
                return _digest(Path(self._path))[:12]
            except OSError as error:
                raise InputError(
                    f"`benchmark_model` must be a file on this machine or on the phone under {_ON_THE_PHONE}, but "
                    f"{self._path} cannot be read: {error.strerror}."
                ) from error
        reply = self._adb.shell(f"sha256sum {quote(self._path)}")
        if reply.code:
            raise InputError(
                f"`benchmark_model` must be a file on this machine or on the phone under {_ON_THE_PHONE}, but the "
                f"phone says: {reply.text.strip()}"
            )
        return reply.text.split()[0][:12]

    def install(self, model: Path, delegate: Delegate, num_threads: int) -> InstalledModel:
        """Has the tool and a model on the phone.

        Args:
            model: The `.tflite`, on this machine.
            delegate: What runs its graph.
            num_threads: Threads that it may use.

        Raises:
            CandidateError: If the phone is gone or has no space.
        """
        files = {_remote(model, ".tflite"): model}
        if self._path.startswith(_ON_THE_PHONE):
            tool = self._path
        else:
            tool = _remote(Path(self._path), ".benchmark_model")
            files[tool] = Path(self._path)
        self._put(files)
        options = self._delegates.get(delegate.value, {})
        arguments = [
            f"--graph={next(iter(files))}",
            f"--num_threads={num_threads}",
            *delegate_flags(delegate, options),
        ]
        # A delegate's own libraries stand beside it.
        library = f"LD_LIBRARY_PATH={quote(str(Path(options['library']).parent))} " if "library" in options else ""
        # Ended on the phone: ending the client leaves there what it started.
        command = f"{library}timeout -s KILL {_TIMEOUT_S:g} {self._pinned}{quote(tool)}"
        # Here, for the schema of `.tflite` files takes 0.1 s to import.
        from litefront.spaces.tflite.graph import TfliteGraph

        nodes = TfliteGraph(model.read_bytes()).nodes
        return InstalledModel(f"{command} {' '.join(map(quote, arguments))}", delegate, nodes)

    def run(self, model: InstalledModel, flags: Sequence[str]) -> ToolRun:
        """Runs the tool once, in a process of its own.

        Args:
            model: What `install` put there.
            flags: How long, and what else.

        Raises:
            CandidateError: If it refuses, crashes, hangs or gives no plausible figures, or if the phone is gone.
        """
        command = f"{model.command} {' '.join(map(quote, flags))}"
        script = f"{_CLOCK}\n{command}\ncode=$?\n{_CLOCK}\necho '[times]'; times; (exit $code)"
        reply = self._adb.shell(script, timeout_s=_TIMEOUT_S + _GRACE_S)
        text, _, times = reply.text.rpartition("[times]")
        before, after = _clocks(text)
        wall_s = max(after.uptime_s - before.uptime_s, 1 / _CLOCK_TICKS_PER_S)
        if reply.code and wall_s >= _TIMEOUT_S - 1 / _CLOCK_TICKS_PER_S:
            raise CandidateError(f"hung: benchmark_model did not end within {_TIMEOUT_S:g} s")
        output = read_output(_CLOCK_LINE.sub("", text), reply.code, model.delegate, model.nodes)
        cpu_s = sum(60 * int(minutes) + float(seconds) for minutes, seconds in _MINUTES.findall(times))
        busy_s = after.busy_s - before.busy_s
        return ToolRun(model.delegate, output, wall_s, cpu_s, max(0.0, busy_s - cpu_s), after.steal_s - before.steal_s)

    def _put(self, files: Mapping[str, Path]) -> None:
        """Has files on the phone, each by its path there, which holds its digest: what is there is not sent again."""
        remotes = list(files)
        looked = "\n".join(f"[ -f {remote} ] || echo {index}" for index, remote in enumerate(remotes))
        reply = self._adb.shell(f"mkdir -p {PHONE_FOLDER} && {{ {looked}\n}}")
        missing = reply.text.split()
        if not all(index.isdigit() for index in missing):
            raise CandidateError(f"{PHONE_FOLDER} must be there, but the phone says: {reply.text.strip()[:300]}")
        for remote in (remotes[int(index)] for index in missing):
            self._adb.push(files[remote], f"{remote}.part")
            if (reply := self._adb.shell(f"chmod 755 {remote}.part && mv {remote}.part {remote}")).code:
                raise CandidateError(f"{files[remote].name} could not be put on the phone: {reply.text.strip()}")


def _clocks(text: str) -> tuple[_Clock, _Clock]:
    """What /proc/uptime and /proc/stat held before and after."""
    found = _CLOCK_LINE.findall(text)
    if len(found) != 2:
        raise CandidateError("the phone must show /proc/uptime and /proc/stat, but its shell did not")
    before, after = (_clock(uptime, counters) for uptime, counters in found)
    return before, after


def _clock(uptime: str, counters: str) -> _Clock:
    user, nice, system, _idle, _iowait, irq, softirq, steal = (
        int(ticks) / _CLOCK_TICKS_PER_S for ticks in counters.split()[:8]
    )
    return _Clock(float(uptime), user + nice + system + irq + softirq + steal, steal)


def _remote(local: Path, suffix: str) -> str:
    return f"{PHONE_FOLDER}/{_digest(local)[:32]}{suffix}"


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
