"""A phone as a device: LiteRT's own `benchmark_model` runs there, and `adb` brings files and questions.

No phone and no emulator was to be had where this was written. The command lines follow the tools' sources and
documentation, and all that reads their answers is tested on outputs in the documented forms; the first phone may still
say something that nobody has read about.

What a figure means here, where that is not what it means elsewhere:

    rounds       each is a process of its own, which loads, warms up and then times calls on random input; the
                 reference's stand between the candidate's, in random order
    p50, p90     see `benchmark_output`: p95 stands for p90, or the longest call in builds that print no percentiles
    cold start   "Init" and "First inference" of processes that call the model twice
    memory       growth of the peak resident set in those processes; what a GPU's driver holds is not in it
    disturbed    more than a tenth of a core's time went to other processes; where a delegate's work is done by a driver
                 or a service those are its own, so it is asked for the CPU's delegates alone; or the thermal status
                 rose while the rounds went on
    answers      `none` and `xnnpack` answer on this machine, by the same kernels for another processor; what any other
                 delegate answers comes from the phone, one process a call
"""

from __future__ import annotations

import fcntl
import getpass
import json
import platform
import random
import re
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from litefront.objectives.devices.adb import Adb
from litefront.objectives.devices.benchmark_model import ONE_CALL, PHONE_FOLDER, BenchmarkModel, InstalledModel, ToolRun
from litefront.objectives.devices.device import Candidate, DelegateFacts, DeviceFacts
from litefront.objectives.devices.execution import DelegateOptions
from litefront.objectives.devices.host import HostDevice
from litefront.objectives.power import POWER_MODELS, PowerModel
from litefront.objectives.runner import has_enough
from litefront.objectives.timing import Timing
from litefront.spaces.delegate import Delegate
from litefront.spaces.errors import CandidateError, InputError
from litefront.spaces.rows import Rows, load_rows, pick_output, row_count

__all__ = ["AndroidDevice"]

# A process starts with cold caches and clocks: short rounds would time their ramp-up.
_MIN_ROUND_S = 0.3
_WARM_UP_S = 0.5
_THERMAL_POLL_S = 5.0

_ON_THE_CPU = frozenset({Delegate.NONE, Delegate.XNNPACK})
_NO_NPU = (
    "benchmark_model knows a vendor's NPU as an external delegate only: name its library in `delegates.external` and "
    "take the delegate `external`"
)
_NNAPI_DEPRECATED_SDK = 35

_THERMAL_STATUS = re.compile(r"Thermal Status: (\d+)")
_PROPERTIES = (
    "ro.product.manufacturer",
    "ro.product.model",
    "ro.soc.model",
    "ro.product.cpu.abi",
    "ro.build.version.sdk",
    "ro.build.fingerprint",
)


@dataclass(frozen=True)
class _Phone:
    """What a phone says of itself."""

    name: str
    soc: str
    abi: str
    sdk: int
    fingerprint: str
    cores: int


class AndroidDevice:
    """A phone.

    Args:
        power: The name of its power model in `POWER_MODELS`.
        benchmark_model: LiteRT's tool: a file on this machine, which is pushed, or on the phone under /data/local/tmp.
        serial: The phone's, as `adb devices` lists it; None for the only one.
        adb: The adb client.
        cpu_mask: Cores that candidates may use, hexadecimal as `taskset` takes it; None for all.
        max_thermal_status: Highest `Thermal Status` at which figures are taken; 0 is none.
        cool_down_s: How long a hotter phone is waited for.
        fixed_performance: Whether Android's fixed-performance mode is on during measurements.
        delegates: Options of its delegates. NNAPI is offered only if it is named here.
    """

    def __init__(
        self,
        *,
        power: str,
        benchmark_model: str = "/data/local/tmp/benchmark_model",
        serial: str | None = None,
        adb: str = "adb",
        cpu_mask: str | None = None,
        max_thermal_status: int = 0,
        cool_down_s: float = 300.0,
        fixed_performance: bool = False,
        delegates: DelegateOptions | None = None,
    ) -> None:
        self._power = POWER_MODELS[power]
        self._adb = Adb(adb, serial)
        self._tool = BenchmarkModel(self._adb, benchmark_model, cpu_mask, delegates or {})
        self._cpu_mask = cpu_mask
        self._max_thermal_status = max_thermal_status
        self._cool_down_s = cool_down_s
        self._fixed_performance = fixed_performance
        self._delegates = delegates or {}

    @property
    def power_model(self) -> PowerModel:
        """How power is estimated there."""
        return self._power

    @property
    def shares_cores(self) -> bool:
        """A phone's cores do nothing else."""
        return False

    def probe(self, delegates: Collection[Delegate] = ()) -> DeviceFacts:
        """Asks the phone what it is, and tries its delegates on a model of one operator.

        Args:
            delegates: All that it has are tried, whichever are asked about.

        Raises:
            InputError: If it is not attached or not ready, or if `benchmark_model` does not run there.
        """
        serial = self._adb.phone()
        try:
            with self._alone():
                phone = self._describe()
                runtime = f"benchmark_model {self._tool.version()}, {phone.fingerprint}"
                found = self._try_delegates(phone)
        except CandidateError as error:
            raise InputError(f"The phone {serial} must run `benchmark_model`, but it {error}") from error
        if self._cpu_mask is not None:
            runtime += f", cores {self._cpu_mask}"
        if self._fixed_performance:
            runtime += ", fixed performance"
        return DeviceFacts(
            kind="android",
            # Two phones of one model are two devices: their batteries, cases and chips differ.
            processor=f"{phone.soc} in {phone.name} {serial}",
            machine=phone.abi,
            cores=_allowed_cores(self._cpu_mask, phone.cores),
            runtime=runtime,
            delegates=found,
        )

    def infer(self, candidate: Candidate, inputs: Path, outputs: Path) -> Mapping[str, Any]:
        """Runs all rows of `inputs` through a candidate, on this machine or there; `answers` says where."""
        if candidate.config.delegate in _ON_THE_CPU:
            return {**HostDevice().infer(candidate, inputs, outputs), "answers": "this machine"}
        rows = load_rows(inputs)
        with self._alone(), tempfile.TemporaryDirectory() as folder:
            answers, delegation = self._answer(candidate, rows, Path(folder))
        np.save(outputs, answers)
        return {"rows": row_count(rows), "answers": "the phone"} | delegation

    def benchmark(
        self, candidate: Candidate, inputs: Path, timing: Timing, reference: Candidate | None = None
    ) -> Mapping[str, Any]:
        """Times calls of a candidate; see `Device`. The inputs are the tool's own random ones."""
        with self._alone(), self._steady_clocks():
            status = self._wait_until_cool()
            machine = self._adb.shell("cat /proc/loadavg; cat /sys/devices/system/cpu/cpu*/cache/index*/size")
            installed = self._install(candidate)
            cold = [self._tool.run(installed, ONE_CALL) for _ in range(timing.cold_starts)]
            beside = None if reference is None else self._install(reference)
            runs, rounds = self._rounds(installed, beside, timing)
            status_after = self._thermal_status()
        if status is not None and status_after is not None and status_after > status:
            rounds = [entry | {"disturbed": True} for entry in rounds]
        return {
            "rounds": rounds,
            "cold_starts": [_cold_start(run) for run in cold],
            "last_level_cache_bytes": _largest_cache_bytes(machine.text),
            "load_average": _load_average(machine.text),
            "steal_s": sum(run.steal_s for run in runs),
            "thermal_status": [status, status_after],
        } | _least_delegated(runs)

    # ------------------------------------------------------------------------------------------------ probing

    def _describe(self) -> _Phone:
        script = "\n".join(f"getprop {name}" for name in _PROPERTIES)
        reply = self._adb.shell(f"{script}\ncat /sys/devices/system/cpu/possible")
        lines = [line.strip() for line in reply.text.splitlines()]
        if len(lines) != len(_PROPERTIES) + 1 or reply.code:
            raise CandidateError(f"does not say what it is: {' / '.join(lines)[:300]}")
        maker, model, soc, abi, sdk, fingerprint, possible = lines
        cores = re.fullmatch(r"0(?:-(\d+))?", possible)
        if not sdk.isdigit() or cores is None:
            raise CandidateError(f"does not say what it is: {' / '.join(lines)[:300]}")
        return _Phone(f"{maker} {model}", soc or "unknown SoC", abi, int(sdk), fingerprint, int(cores[1] or 0) + 1)

    def _try_delegates(self, phone: _Phone) -> dict[str, DelegateFacts]:
        # The schema of `.tflite` files takes 0.1 s to import, which no command pays that asks no phone.
        from litefront.objectives.devices.probe_model import probe_model

        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "probe.tflite"
            model.write_bytes(probe_model())
            self._tool.run(self._tool.install(model, Delegate.NONE, 1), ONE_CALL)
            facts = {
                Delegate.NONE: DelegateFacts(implementation=_answers_here()),
                Delegate.XNNPACK: self._try_delegate(Delegate.XNNPACK, model, _answers_here()),
                Delegate.GPU: self._try_delegate(Delegate.GPU, model),
                Delegate.NPU: DelegateFacts(_NO_NPU),
                Delegate.NNAPI: self._nnapi_facts(phone, model),
                Delegate.EXTERNAL: self._external_facts(),
            }
        return {delegate.value: found for delegate, found in facts.items()}

    def _try_delegate(self, delegate: Delegate, model: Path, implementation: str = "") -> DelegateFacts:
        options = self._delegates.get(delegate.value)
        said = ", ".join(filter(None, (implementation, json.dumps(options, sort_keys=True) if options else "")))
        try:
            self._tool.run(self._tool.install(model, delegate, 1), ONE_CALL)
        except CandidateError as error:
            return DelegateFacts(f"a model of one addition {error}", said)
        return DelegateFacts(implementation=said)

    def _nnapi_facts(self, phone: _Phone, model: Path) -> DelegateFacts:
        if Delegate.NNAPI.value not in self._delegates:
            return DelegateFacts("it is deprecated since Android 15, and offered only where `delegates.nnapi` names it")
        deprecated = phone.sdk >= _NNAPI_DEPRECATED_SDK
        return self._try_delegate(Delegate.NNAPI, model, f"deprecated, SDK {phone.sdk}" if deprecated else "")

    def _external_facts(self) -> DelegateFacts:
        """Whether the library is there; it is not tried, for it may take integers only."""
        options = self._delegates.get(Delegate.EXTERNAL.value)
        if options is None:
            return DelegateFacts("`delegates.external` must name its library")
        reply = self._adb.shell(f"sha256sum {quote(options['library'])}")
        if reply.code:
            return DelegateFacts(f"the phone says: {reply.text.strip()[:300]}")
        return DelegateFacts(implementation=f"{reply.text.split()[0][:12]} {json.dumps(options, sort_keys=True)}")

    # ---------------------------------------------------------------------------------------------- measuring

    def _install(self, candidate: Candidate) -> InstalledModel:
        return self._tool.install(candidate.model, candidate.config.delegate, candidate.config.num_threads)

    def _rounds(
        self, candidate: InstalledModel, reference: InstalledModel | None, timing: Timing
    ) -> tuple[list[ToolRun], list[dict[str, Any]]]:
        """The candidate's runs and rounds, until the calm ones are as many as they must be, or `max_s` are over."""
        runs: list[ToolRun] = []
        rounds: list[dict[str, Any]] = []
        deadline, order = time.monotonic() + timing.max_s, random.Random(0)
        while True:
            run, beside = self._run_beside(candidate, reference, timing, reference_first=order.random() < 0.5)
            runs.append(run)
            rounds.append(_round(run, beside))
            is_over = time.monotonic() > deadline
            if len(rounds) >= timing.min_rounds and (is_over or has_enough(rounds, timing.to_json())):
                return runs, rounds

    def _run_beside(
        self, candidate: InstalledModel, reference: InstalledModel | None, timing: Timing, *, reference_first: bool
    ) -> tuple[ToolRun, ToolRun | None]:
        """A run of the candidate, and a shorter one of the reference before or after it."""
        beside, beside_flags = None, _round_flags(timing.reference_round_s, timing)
        if reference is not None and reference_first:
            beside = self._tool.run(reference, beside_flags)
        run = self._tool.run(candidate, _round_flags(timing.round_s, timing))
        if reference is not None and not reference_first:
            beside = self._tool.run(reference, beside_flags)
        return run, beside

    def _answer(self, candidate: Candidate, given_rows: Rows, folder: Path) -> tuple[np.ndarray, dict[str, int]]:
        """What the phone answers, call by call: the tool takes one input a process, and keeps its last output."""
        from litefront.spaces.tflite.graph import TfliteGraph

        graph = TfliteGraph(candidate.model.read_bytes())
        if len(graph.inputs) > 1 or len(graph.outputs) > 1:
            # The tool writes its outputs behind one another, without saying which is which.
            raise CandidateError(
                f"the phone answers for models of one input and one output, but this one has {len(graph.inputs)} and "
                f"{len(graph.outputs)}"
            )
        rows, taken, given = pick_output(given_rows), graph.inputs[0], graph.outputs[0]
        batch = taken.shape[0]
        if tuple(rows.shape[1:]) != taken.shape[1:]:
            raise CandidateError(f"the model takes {taken.shape}, but the data gives {rows.shape}")
        # The tool says nothing when it cannot write its output: one of an earlier call must not be taken for it.
        calls = f"{PHONE_FOLDER}/calls"
        self._adb.shell(f"rm -rf {calls}; mkdir -p {calls}")
        installed = self._install(candidate)
        runs, answers = [], []
        for start in range(0, len(rows), batch):
            group = rows[start : start + batch]
            filled = np.concatenate([group, np.repeat(group[-1:], batch - len(group), axis=0)])
            filled.astype(taken.dtype).tofile(folder / "in")
            self._adb.push(folder / "in", f"{calls}/in")
            flags = [
                "--input_layer=input",
                f"--input_layer_shape={','.join(map(str, taken.shape))}",
                f"--input_layer_value_files=input:{calls}/in",
                f"--output_filepath={calls}/{start}",
            ]
            runs.append(self._tool.run(installed, [*ONE_CALL, *flags]))
            self._adb.pull(f"{calls}/{start}", folder / "out")
            content = (folder / "out").read_bytes()
            if len(content) != given.elements * given.dtype.itemsize:
                raise CandidateError(f"the output must have {given.shape} values, but {len(content)} bytes came back")
            answers.append(np.frombuffer(content, given.dtype).reshape(given.shape)[: len(group)])
        self._adb.shell(f"rm -r {calls}")
        return np.concatenate(answers), _least_delegated(runs)

    def _wait_until_cool(self) -> int | None:
        """The thermal status at which the measurement begins; None where the phone tells none (before Android 10).

        Raises:
            CandidateError: If the phone is still too hot after `cool_down_s`.
        """
        deadline = time.monotonic() + self._cool_down_s
        while (status := self._thermal_status()) is not None and status > self._max_thermal_status:
            if (remaining_s := deadline - time.monotonic()) <= 0:
                raise CandidateError(
                    f"the phone is too hot: its thermal status must be at most {self._max_thermal_status}, but it is "
                    f"{status} after {self._cool_down_s:g} s of rest"
                )
            time.sleep(min(_THERMAL_POLL_S, remaining_s))
        return status

    def _thermal_status(self) -> int | None:
        found = _THERMAL_STATUS.search(self._adb.shell("dumpsys thermalservice").text)
        return None if found is None else int(found[1])

    @contextmanager
    def _steady_clocks(self) -> Iterator[None]:
        """Has the phone in fixed-performance mode, if the entry asks for it."""
        if not self._fixed_performance:
            yield
            return
        command = "cmd power set-fixed-performance-mode-enabled"
        if (reply := self._adb.shell(f"{command} true")).code:
            raise CandidateError(f"the phone must take fixed-performance mode, but it says: {reply.text.strip()[:300]}")
        try:
            yield
        finally:
            with suppress(CandidateError):  # a phone that is gone cannot be told
                self._adb.shell(f"{command} false")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Has the phone for this process alone: answers must not come from it while it is measured, nor two studies."""
        try:
            serial = self._adb.phone()
        except InputError as error:
            raise CandidateError(f"lost the phone: {error}") from error
        name = f"litefront-{getpass.getuser()}-{re.sub(r'[^A-Za-z0-9.-]', '_', serial)}.lock"
        with open(Path(tempfile.gettempdir()) / name, "w", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _answers_here() -> str:
    """What answers for the CPU's delegates."""
    from importlib.metadata import version

    return f"answers of ai-edge-litert {version('ai-edge-litert')} on {platform.machine()}"


def _allowed_cores(cpu_mask: str | None, cores: int) -> int:
    if cpu_mask is None:
        return cores
    mask = int(cpu_mask, 16)
    if mask >> cores:
        raise InputError(f"`cpu_mask` must name cores of the phone's {cores}, but got {cpu_mask}.")
    return mask.bit_count()


def _round_flags(seconds: float, timing: Timing) -> list[str]:
    warm_up_s = min(_WARM_UP_S, timing.warm_up_max_s)
    return [
        "--warmup_runs=1",
        f"--warmup_min_secs={warm_up_s:g}",
        "--num_runs=3",
        f"--min_secs={max(seconds, _MIN_ROUND_S):g}",
    ]


def _round(run: ToolRun, beside: ToolRun | None) -> dict[str, Any]:
    """A round as `latency` takes it."""
    times = run.output.times
    entry = {
        "median_ms": times.median_ms,
        "median_is": times.median_is,
        "p90_ms": times.p90_ms,
        "p90_is": times.p90_is,
        "calls": times.calls,
        "wall_s": run.wall_s,
        "cpu_s": run.cpu_s,
        "others_s": run.others_s,
        "disturbed": _is_disturbed(run),
    }
    if beside is None:
        return entry
    disturbed = entry["disturbed"] or _is_disturbed(beside)
    return entry | {"reference_ms": beside.output.times.median_ms, "disturbed": disturbed}


def _is_disturbed(run: ToolRun) -> bool:
    return run.delegate in _ON_THE_CPU and run.others_s > 0.1 * run.wall_s


def _cold_start(run: ToolRun) -> dict[str, float]:
    if run.output.peak_memory_bytes is None:
        raise CandidateError("benchmark_model does not say what memory the model took")
    return {
        "load_ms": run.output.init_ms,
        "first_call_ms": run.output.first_call_ms,
        "peak_memory_bytes": run.output.peak_memory_bytes,
    }


def _least_delegated(runs: Sequence[ToolRun]) -> dict[str, int]:
    """What ran on the delegate, in the run that it took least of."""
    least = min((run.output.delegation for run in runs), key=lambda found: found.delegated_nodes)
    return {"delegated_nodes": least.delegated_nodes, "nodes": least.nodes}


def _load_average(text: str) -> float:
    """The first figure of /proc/loadavg; 0 where the phone does not show it."""
    found = re.search(r"^([\d.]+) [\d.]+ [\d.]+ \d+/\d+", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _largest_cache_bytes(text: str) -> int:
    """The largest of the caches' sizes; 0 where the phone does not show them."""
    units = {"K": 1024, "M": 1024**2}
    sizes = re.findall(r"^(\d+)([KM])$", text, re.MULTILINE)
    return max((int(number) * units[unit] for number, unit in sizes), default=0)
