"""Runs one `.tflite`: a script of its own process that needs numpy and ai-edge-litert only.

Delegates abort, hang and leak, so no candidate runs in the process that searches. The script reads one JSON request
from standard input and prints one JSON reply as its last line: `{"ok": true, ...}`, or `{"ok": false, "reason": ...}`
when LiteRT refuses. With `--serve` it reads a request a line and answers each in a child of its own, so that what all
of them import is imported once; behind the child's output stands a line `{"ended": ...}`: its exit code, minus the
signal that ended it, or `"overdue"`. What a child says on standard error is kept, since LiteRT tells only there what an
accelerator is and takes, and is passed on if the child fails. It imports nothing of litefront, and is longer than other
modules, so that this one file runs on any board.

Actions, where EXECUTION is {model, delegate, delegate_options, num_threads}:
    infer           {inputs, outputs, EXECUTION} -> writes the outputs of all rows
    benchmark       {inputs, timing, reference, EXECUTION}
                    -> rounds of calls and what all of their calls say together, the same after a soak if `timing` asks
                    for one, cold starts, delegated nodes, load and steal meanwhile. `reference` is None, or the
                    EXECUTION of a model whose rounds stand between the candidate's: what both lose is the machine's
                    doing
    probe           {}                           -> versions and processor
    probe_delegate  {EXECUTION}                  -> what the delegate is, once it has run the model for real

What is timed is a call: from an input that lies in the candidate's buffer to an output that can be read. Copying the
input is not timed. The output of an accelerator is read in the call, since that alone waits until it is there: without
it, a GPU's call seems to take as long as handing the work over (0.3 ms of 990 ms, measured on a software GPU).

Delegates and their `delegate_options`:
    none, xnnpack   built into LiteRT's interpreter
    external        {library, options}: a library of its own; what it leaves runs on the built-in kernels
    gpu             {precision}: `float32` forbids half precision; through LiteRT's CompiledModel
    npu             {vendor, backend, dispatch_library, compiler_plugin}: by a vendor's dispatch library, by default the
                    first that LiteRT brings; `backend` is what OpenVINO compiles for

All times are in ms unless the name says seconds. `inputs` is a `.npy` of shape `(rows, ...)`, or a `.npz` of such
arrays by the names of the model's inputs; `outputs` are written likewise, as a `.npz` where a model has several. A
model whose input has the shape of a row itself, without a batch dimension, is called row by row.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import random
import re
import signal
import sys
import tempfile
import time
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

__all__ = ["ACTIONS", "all_calls", "answer", "bootstrap_interval", "has_enough", "is_steady", "serve"]

_RESAMPLES = 400
# Long enough that a tenth of it is two ticks of the kernel's counters.
_LOOK_S = 0.2
_LOG_BYTES = 1 << 16
_REASON_LENGTH = 300
_CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def main() -> None:
    """Answers the request on standard input, or one a line."""
    if sys.argv[1:] == ["--serve"]:
        serve()
        return
    ended = _answered_in_child(json.load(sys.stdin), timeout_s=None, own_group=False)
    if isinstance(ended, int) and ended < 0:
        # As the child ended, so does this process.
        os.kill(os.getpid(), -ended)
    sys.exit(0 if ended == 0 else 1)


def answer(request: dict[str, Any]) -> None:
    """Prints the reply to a request."""
    # A runner whose parent died must not go on for ever.
    signal.alarm(int(request.get("timeout_s", 600)) + 5)
    try:
        reply = {"ok": True} | ACTIONS[request["action"]](request)
    except (RuntimeError, ValueError, OSError, MemoryError) as error:
        reply = {"ok": False, "reason": " ".join(str(error).split())[:500] or type(error).__name__}
    print(json.dumps(reply), flush=True)


def serve() -> None:
    """Answers one request a line, each in a child of its own, until standard input ends."""
    import ai_edge_litert.interpreter  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        ended = _answered_in_child(request, timeout_s=request["timeout_s"], own_group=True)
        print(json.dumps({"ended": ended}), flush=True)


def _answered_in_child(request: dict[str, Any], *, timeout_s: float | None, own_group: bool) -> int | str:
    """Answers in a forked child, whose standard error is a file: whatever ends the child, its words are there."""
    with tempfile.TemporaryFile() as log:
        child = os.fork()
        if child == 0:
            os.dup2(log.fileno(), 2)
            _answer_and_exit(request, own_group=own_group)
        ended = _end_of(child, timeout_s) if timeout_s is not None else _wait(child)
        if ended != 0:
            os.write(2, os.pread(log.fileno(), _LOG_BYTES, max(0, os.fstat(log.fileno()).st_size - _LOG_BYTES)))
    return ended


def _wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _answer_and_exit(request: dict[str, Any], *, own_group: bool) -> None:
    status = 1
    try:
        if own_group:
            # To be ended with whatever it has forked.
            os.setpgid(0, 0)
        answer(request)
        status = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(status)


def _end_of(child: int, timeout_s: float) -> int | str:
    """Waits for a child, no longer than its time, and ends what it leaves behind."""

    def overdue(_signal: int, _frame: Any) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        ended: int | str = _wait(child)
    except TimeoutError:
        ended = "overdue"
    signal.setitimer(signal.ITIMER_REAL, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if ended == "overdue":
        os.waitpid(child, 0)
    return ended


# ---------------------------------------------------------------------------------------------------- actions


def _infer(request: dict[str, Any]) -> dict[str, Any]:
    candidate = _load(request)
    rows = candidate.named(_load_rows(request["inputs"]))
    count, batch_size = _row_count(rows), candidate.batch_size(rows)
    answers: dict[str, list[np.ndarray]] = {name: [] for name in candidate.outputs}
    for start in range(0, count, batch_size):
        for name, answer in candidate.call(_take(rows, start, batch_size)).items():
            answers[name].append(answer[: count - start])
    _save_rows(request["outputs"], {name: np.concatenate(parts) for name, parts in answers.items()})
    return {"machine": platform.machine(), "has_avx": _has_avx(), "rows": count} | candidate.delegation()


def _benchmark(request: dict[str, Any]) -> dict[str, Any]:
    timing = request["timing"]
    rows = _load_rows(request["inputs"])
    # Forked after the import, before this process has loaded a model: each child loads it for the first time.
    import ai_edge_litert.interpreter  # noqa: F401

    load_average, steal_s = os.getloadavg()[0], _machine_steal_s()
    cold_starts = [_cold_start_in_child(request, rows) for _ in range(timing["cold_starts"])]
    candidate = _warm_candidate(request, rows)
    reference = request["reference"] and _warm_candidate(request | request["reference"], rows)
    start = time.perf_counter()
    timed = _timed(candidate, reference, timing)
    if timing["soak_s"]:
        _soak(candidate, timing["soak_s"])
        # Waiting would cool it.
        timed["soaked"] = _timed(candidate, reference, timing | {"calm_max_s": 0.0})
    return (
        timed
        | {
            "timed_s": time.perf_counter() - start,
            "cold_starts": cold_starts,
            "last_level_cache_bytes": _last_level_cache_bytes(),
            "load_average": load_average,
            "steal_s": _machine_steal_s() - steal_s,
        }
        | candidate.delegation()
    )


def _probe(_request: dict[str, Any]) -> dict[str, Any]:
    from importlib.metadata import version

    return {
        "runtime": f"ai-edge-litert {version('ai-edge-litert')}",
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
    }


def _probe_delegate(request: dict[str, Any]) -> dict[str, Any]:
    candidate = _load(request)
    ramps = {
        name: np.linspace(0, 1, int(np.prod(tensor.shape)), dtype=np.float32).reshape(tensor.shape)
        for name, tensor in candidate.inputs.items()
    }
    if not all(np.isfinite(answer).all() for answer in candidate.call(ramps).values()):
        raise ValueError("its answers are not finite")
    return candidate.implementation() | candidate.delegation()


ACTIONS = {"infer": _infer, "benchmark": _benchmark, "probe": _probe, "probe_delegate": _probe_delegate}
"""What a request may ask for."""


# ------------------------------------------------------------------------------------------------------- rows

_Rows = dict[str, np.ndarray]


def _load_rows(path: str) -> _Rows:
    """Reads rows by the name of their input; those of a `.npy` have an empty name."""
    stored = np.load(path, mmap_mode="r")
    if isinstance(stored, np.ndarray):
        return {"": stored}
    with stored:
        return {name: stored[name] for name in stored.files}


def _save_rows(path: str, rows: _Rows) -> None:
    if len(rows) == 1 and path.endswith(".npy"):
        np.save(path, next(iter(rows.values())))
        return
    if not path.endswith(".npz"):
        raise ValueError(f"the model has the outputs {', '.join(rows)}, which take a .npz")
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in rows.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _row_count(rows: _Rows) -> int:
    return len(next(iter(rows.values())))


def _take(rows: _Rows, start: int, count: int) -> _Rows:
    """So many rows of each input; what is missing at the end is filled up with the last row."""
    taken = {}
    for name, array in rows.items():
        part = array[start : start + count]
        missing = count - len(part)
        taken[name] = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
    return taken


# -------------------------------------------------------------------------------------------------- candidate


class _Tensor(NamedTuple):
    """An input or output: its shape, its type, and where it is."""

    shape: tuple[int, ...]
    dtype: Any
    place: int


class _Candidate(ABC):
    """A loaded model, ready to be called; see `_load`.

    Args:
        model: The file.
        inputs: By name.
        outputs: By name.
        invoke: Runs one call, from inputs that are written to outputs that can be read.
    """

    def __init__(
        self, model: str, inputs: dict[str, _Tensor], outputs: dict[str, _Tensor], invoke: Callable[[], None]
    ) -> None:
        self.model = model
        self.inputs = inputs
        self.outputs = outputs
        self.invoke = invoke

    def named(self, rows: _Rows) -> _Rows:
        """The rows by the names of the inputs; rows without a name are those of the only input."""
        if set(rows) == {""} and len(self.inputs) == 1:
            rows = dict.fromkeys(self.inputs, rows[""])
        if set(rows) != set(self.inputs):
            given = ", ".join(sorted(rows)) if any(rows) else "one array without a name"
            raise ValueError(f"the model takes {', '.join(sorted(self.inputs))}, but the data gives {given}")
        return rows

    def batch_size(self, rows: _Rows) -> int:
        """Rows a call: 1 where an input has no dimension for more."""
        return 1 if self._takes_whole(rows) else next(iter(self.inputs.values())).shape[0]

    def set_input(self, rows: _Rows) -> None:
        """Copies the first rows of each input into it, as many as a call takes."""
        taken = _take(self.named(rows), 0, self.batch_size(rows))
        for name, tensor in self.inputs.items():
            given = taken[name][0] if taken[name].ndim > len(tensor.shape) else taken[name]
            if given.shape != tensor.shape:
                raise ValueError(f"the model takes {tensor.shape}{self._as(name)}, but the data gives {given.shape}")
            self._write(tensor.place, self._exactly(given, tensor.dtype, name))

    def call(self, rows: _Rows) -> _Rows:
        """What is answered to the first rows, as many as a call takes: an entry a row of each output."""
        self.set_input(rows)
        self._forget()
        self.invoke()
        answers = {name: self._read(tensor.place) for name, tensor in self.outputs.items()}
        batch_size = self.batch_size(rows)
        if batch_size == 1:
            # Without a batch dimension all of an answer is the row's.
            whole = self._takes_whole(rows)
            return {n: a[None] if whole or a.ndim == 0 or len(a) != 1 else a for n, a in answers.items()}
        for name, answer in answers.items():
            if answer.ndim == 0 or len(answer) != batch_size:
                raise ValueError(f"the output {name} must have {batch_size} rows, but its shape is {answer.shape}")
        return answers

    def _takes_whole(self, rows: _Rows) -> bool:
        rows = self.named(rows)
        return any(rows[name].ndim > len(tensor.shape) for name, tensor in self.inputs.items())

    def _exactly(self, values: np.ndarray, dtype: Any, name: str) -> np.ndarray:
        """The values as this type; a whole number must stay what it is."""
        cast = values.astype(dtype, copy=False)
        if np.dtype(dtype).kind in "iub" and not np.array_equal(cast, values):
            kind, wrong = np.dtype(dtype), int(np.count_nonzero(cast != values))
            raise ValueError(f"the model takes {kind}{self._as(name)}, which {wrong} values of the data are not")
        return cast

    def _as(self, name: str) -> str:
        return f" as {name}" if len(self.inputs) > 1 else ""

    @abstractmethod
    def delegation(self) -> dict[str, int]:
        """How many nodes of the graph run inside the delegate, of how many."""

    @abstractmethod
    def implementation(self) -> dict[str, Any]:
        """What the delegate is: `implementation`, with its version as far as it tells, and `is_software`."""

    @abstractmethod
    def _write(self, index: int, values: np.ndarray) -> None: ...

    @abstractmethod
    def _read(self, index: int) -> np.ndarray: ...

    @abstractmethod
    def _forget(self) -> None:
        """Has the model forget earlier calls: a row's answer must not depend on the rows before it."""


def _load(request: dict[str, Any]) -> _Candidate:
    """Loads a request's model on its delegate."""
    return (_CompiledCandidate if request["delegate"] in ("gpu", "npu") else _InterpretedCandidate)(request)


class _InterpretedCandidate(_Candidate):
    """A model in LiteRT's interpreter."""

    def __init__(self, request: dict[str, Any]) -> None:
        from ai_edge_litert import interpreter as litert

        resolvers = litert.OpResolverType
        self._options = request.get("delegate_options", {})
        self._interpreter = litert.Interpreter(
            model_path=request["model"],
            num_threads=request["num_threads"],
            experimental_op_resolver_type={
                "xnnpack": resolvers.AUTO,
                "none": resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                # Without XNNPACK on what it leaves, so that what counts as delegated is its own.
                "external": resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            }[request["delegate"]],
            experimental_delegates=[_external(self._options)] if request["delegate"] == "external" else None,
        )
        self._interpreter.allocate_tensors()
        taken, given = self._details()
        super().__init__(request["model"], _tensors(taken), _tensors(given), self._interpreter.invoke)

    def _details(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What LiteRT says of inputs and outputs, by their names in the signature, or of their tensors without one."""
        if self._interpreter.get_signature_list():
            signature = next(iter(self._interpreter.get_signature_list()))
            runner = self._interpreter.get_signature_runner(signature)
            return runner.get_input_details(), runner.get_output_details()
        taken, given = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        return {tensor["name"]: tensor for tensor in taken}, {tensor["name"]: tensor for tensor in given}

    def _write(self, index: int, values: np.ndarray) -> None:
        self._interpreter.set_tensor(index, values)

    def _read(self, index: int) -> np.ndarray:
        return np.asarray(self._interpreter.get_tensor(index))

    def _forget(self) -> None:
        # The fused LSTM keeps its state in variables from call to call.
        self._interpreter.reset_all_variables()

    def delegation(self) -> dict[str, int]:
        """How many nodes of the graph run inside a delegate, of how many.

        A delegate's nodes stand behind the graph's own. Each lists its own inputs and outputs only; what it replaced is
        what lies between them.
        """
        ops, count = self._interpreter._get_ops_details(), _node_count(self.model)
        nodes = [op for op in ops if op["index"] < count]
        producer = {int(tensor): op for op in nodes for tensor in op["outputs"]}
        delegated: set[int] = set()
        for delegate in (op for op in ops if op["index"] >= count):
            inputs = {int(tensor) for tensor in delegate["inputs"]}
            pending = [int(tensor) for tensor in delegate["outputs"]]
            while pending:
                tensor = pending.pop()
                node = producer.get(tensor)
                if tensor in inputs or node is None or node["index"] in delegated:
                    continue
                delegated.add(node["index"])
                pending += [int(source) for source in node["inputs"]]
        return {"delegated_nodes": len(delegated), "nodes": count}

    def implementation(self) -> dict[str, Any]:
        """An external library's name, and the digest of what stands in it; empty for what is LiteRT's own."""
        library = self._options.get("library", "")
        implementation = os.path.basename(library)
        if os.path.isfile(library):
            with open(library, "rb") as file:
                implementation += f" {hashlib.file_digest(file, 'sha256').hexdigest()[:12]}"
        return {"implementation": implementation, "is_software": False}


def _tensors(details: dict[str, Any]) -> dict[str, _Tensor]:
    return {
        name: _Tensor(tuple(found["shape"].tolist()), found["dtype"], found["index"]) for name, found in details.items()
    }


def _external(options: dict[str, Any]) -> Any:
    """Loads a delegate's library."""
    from ai_edge_litert.interpreter import load_delegate

    given = {
        # As such libraries read them.
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in options.get("options", {}).items()
    }
    try:
        return load_delegate(options["library"], given)
    except AttributeError:
        raise ValueError(f"{options['library']} is no delegate: it has no tflite_plugin_create_delegate") from None


def _node_count(model: str) -> int:
    """How many nodes the graph of a file has."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = Interpreter(model, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    return len(plain._get_ops_details())


class _CompiledCandidate(_Candidate):
    """A model that LiteRT's CompiledModel has compiled for an accelerator.

    The accelerator is asked for alone: what loads then runs on it as a whole. (Asked for beside the processor, an NPU
    whose plugin did not even load is said to be "fully accelerated".) If it refuses for a part of the graph, it is
    asked for beside the processor, and LiteRT's own words tell how much it took; if they do not, or if it took nothing,
    the refusal stands.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        self._delegate = request["delegate"]
        self._options = request.get("delegate_options", {})
        self._part: tuple[int, int] | None = None
        said_before = _said_bytes()
        try:
            self._model = self._compiled(request["model"], alone=True)
        except RuntimeError as error:
            refusal = _refusal(error, _said_since(said_before))
            self._part = _part_taken(self._delegate, _said_since(said_before))
            if self._part is None:
                raise ValueError(refusal) from error
            self._model = self._compiled(request["model"], alone=False)
        self._said = _said_since(said_before)
        signature = next(iter(self._model.get_signature_list()))
        names = self._model.get_signature_list()[signature]
        taken = _compiled_tensors(names["inputs"], self._model.get_input_tensor_details(signature))
        given = _compiled_tensors(names["outputs"], self._model.get_output_tensor_details(signature))
        self._buffers = self._model.create_input_buffers(0), self._model.create_output_buffers(0)
        self._given = list(given.values())
        super().__init__(request["model"], taken, given, self._run)

    def _compiled(self, model: str, *, alone: bool) -> Any:
        from ai_edge_litert import compiled_model as litert

        accelerators = getattr(litert.HardwareAccelerator, self._delegate.upper())
        options = litert.Options(
            hardware_accelerators=accelerators if alone else accelerators | litert.HardwareAccelerator.CPU
        )
        if not alone:
            options.cpu_options.num_threads = 1
        if self._options.get("precision") == "float32":
            options.gpu_options.enforce_f32 = True
        if (backend := self._options.get("backend")) is not None:
            options.intel_openvino_options.graph_backend = litert.IntelOpenVinoOptions.GRAPH_BACKEND[backend]
        libraries = _npu_libraries(self._options) if self._delegate == "npu" else _NO_LIBRARIES
        environment = litert.Environment.create(options=litert.EnvironmentOptions(**libraries))
        return litert.CompiledModel.from_file(model, environment=environment, options=options)

    def _forget(self) -> None:
        """Nothing: accelerators take no graph that keeps a state."""

    def _run(self) -> None:
        self._model.run_by_index(0, *self._buffers)
        # Only reading waits for the accelerator.
        self._answers = [
            buffer.read(int(np.prod(tensor.shape)), tensor.dtype)
            for buffer, tensor in zip(self._buffers[1], self._given, strict=True)
        ]

    def _write(self, index: int, values: np.ndarray) -> None:
        self._buffers[0][index].write(np.ascontiguousarray(values))

    def _read(self, index: int) -> np.ndarray:
        return np.asarray(self._answers[index]).reshape(self._given[index].shape)

    def delegation(self) -> dict[str, int]:
        """How many nodes of the graph run on the accelerator, of how many, as far as it counts them."""
        count = _node_count(self.model)
        delegated, nodes = self._part or (count, count)
        return {"delegated_nodes": delegated, "nodes": nodes}

    def implementation(self) -> dict[str, Any]:
        """What LiteRT says of the accelerator."""
        return _gpu_said(self._said) if self._delegate == "gpu" else _npu_said(self._said)


def _compiled_tensors(names: list[str], details: dict[str, Any]) -> dict[str, _Tensor]:
    """Inputs or outputs by name; their buffers stand in the order of the signature's names."""
    return {
        name: _Tensor(tuple(details[name]["shape"]), np.dtype(details[name]["dtype"]), place)
        for place, name in enumerate(names)
    }


# What keeps LiteRT from looking for a vendor's libraries by itself.
_HERE = os.path.dirname(os.path.abspath(__file__))
_NO_LIBRARIES = {"dispatch_library_path": _HERE, "compiler_plugin_path": _HERE}


def _npu_libraries(options: dict[str, Any]) -> dict[str, str]:
    """The folders of a vendor's dispatch library and compiler plugin; by default the first vendor that has both."""
    import ai_edge_litert

    vendors = os.path.join(os.path.dirname(ai_edge_litert.__file__), "vendors")
    names = [options["vendor"]] if "vendor" in options else sorted(os.listdir(vendors))
    for name in names:
        dispatch = options.get("dispatch_library") or os.path.join(vendors, name, "dispatch")
        plugin = options.get("compiler_plugin") or os.path.join(vendors, name, "compiler")
        if os.path.isdir(dispatch) and os.path.isdir(plugin):
            return {"dispatch_library_path": dispatch, "compiler_plugin_path": plugin}
    raise ValueError(f"no dispatch library for {' or '.join(names)} is installed with LiteRT")


# ------------------------------------------------------------------------------------------- what LiteRT says

_GPU_PART = re.compile(r"(\d+) operations will run on the GPU, and the remaining (\d+) operations will run on the CPU")
_GPU_ADAPTER = re.compile(r"Selected adapter: (.+?), arch=.*?, backend=(\w+), adapterType=(.+)")
_NPU_PART = re.compile(r"selected (\d+) ops, from a total of (\d+) ops")
_NPU_PLUGIN = re.compile(r"[1-9]\d* compiler plugins were applied successfully: (.+)")
_NPU_DEVICE = re.compile(r"Dispatch: using device '(\w+)'")
_SOFTWARE_GPU = re.compile(r"swiftshader|llvmpipe|lavapipe|softpipe|software|\bcpu\b", re.IGNORECASE)

# What it says that is no complaint, and where in its sources it complains.
_NO_COMPLAINT = re.compile(r"(INFO|WARNING|VERBOSE|Warning|[IW]\d{4} )|.*Plugin errs: |\s+at |===|third_party/|\s*$")
_SOURCE = re.compile(r"^ERROR: |^E\d{4} \S+\s+\d+ \S+\] |\[[\w./]+:\d+\] ?|Exception from \S+:\d+:|\u2514 ")
_FOLDER = re.compile(r"(?:/[\w.@+-]+)*/(?=[\w.@+-]+\.so)")


def _said_bytes() -> int:
    """How much has been said on standard error, where that is a file."""
    return os.fstat(2).st_size


def _said_since(start: int) -> str:
    try:
        return os.pread(2, _LOG_BYTES, start).decode(errors="replace")
    except OSError:  # standard error is no file
        return ""


def _refusal(error: Exception, said: str) -> str:
    """Why an accelerator refuses: the complaints that LiteRT made, or its error if it made none."""
    lines = (_SOURCE.sub("", line).strip() for line in said.splitlines() if not _NO_COMPLAINT.match(line))
    told = "; ".join(dict.fromkeys(filter(None, lines))).replace(":;", ":") or " ".join(str(error).split())
    # The folders that libraries were looked for in would hide what is said of them.
    return _FOLDER.sub("", _SOURCE.sub("", told))[:_REASON_LENGTH]


def _part_taken(delegate: str, said: str) -> tuple[int, int] | None:
    """How many nodes an accelerator took of how many, where it took a part of them."""
    if delegate == "gpu":
        taken = [(int(part), int(part) + int(rest)) for part, rest in _GPU_PART.findall(said)]
    else:
        taken = [(int(part), int(nodes)) for part, nodes in _NPU_PART.findall(said)] if _NPU_PLUGIN.search(said) else []
    return taken[0] if taken and taken[0][0] else None


def _gpu_said(said: str) -> dict[str, Any]:
    adapter = _GPU_ADAPTER.search(said)
    if adapter is None:
        return {"implementation": "", "is_software": False}
    name, backend, kind = adapter.groups()
    return {"implementation": f"{name}, {backend}", "is_software": bool(_SOFTWARE_GPU.search(f"{name} {kind}"))}


def _npu_said(said: str) -> dict[str, Any]:
    plugin, device = _NPU_PLUGIN.search(said), _NPU_DEVICE.search(said)
    parts = [plugin[1].strip()] if plugin else []
    if plugin and "openvino" in plugin[1].lower():
        parts.append(f"openvino {_version('openvino')}")
    parts += [f"on {device[1]}"] if device else []
    return {"implementation": ", ".join(parts), "is_software": device is not None and device[1] == "CPU"}


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"


# ----------------------------------------------------------------------------------------------------- timing


def _warm_candidate(request: dict[str, Any], rows: _Rows) -> _Candidate:
    """Loads a model, and calls it until two windows agree within 5 %, or for `warm_up_max_s`."""
    candidate, timing = _load(request), request["timing"]
    candidate.set_input(rows)
    deadline = time.perf_counter() + timing["warm_up_max_s"]
    previous = float("inf")
    while time.perf_counter() < deadline:
        current = float(np.median(_calls(candidate, timing["round_s"] / 2)))
        if abs(current - previous) <= 0.05 * previous:
            break
        previous = current
    return candidate


def _timed(candidate: _Candidate, reference: _Candidate | None, timing: dict[str, Any]) -> dict[str, Any]:
    """Rounds until enough undisturbed ones give a narrow interval, or `max_s` are over.

    Where other work came beside a round, the next one waits for its end, as long as `calm_max_s` lasts.
    """
    rounds, calls = [], []
    order, watch, patience = random.Random(0), _Watch(), _Patience(timing["calm_max_s"])
    patience.wait_until_calm()
    while True:
        entry, times = _round_beside(candidate, reference, timing, reference_first=order.random() < 0.5)
        rounds.append(entry)
        calls.append(times)
        is_over = watch.wall_s() - patience.waited_s > timing["max_s"]
        if len(rounds) >= timing["min_rounds"] and (is_over or has_enough(rounds, timing)):
            break
        if entry["disturbed"]:
            patience.wait_until_calm()
    rounds = _with_what_no_round_saw(rounds, watch, patience)
    calm = [times for entry, times in zip(rounds, calls, strict=True) if not entry["disturbed"]]
    return {"rounds": rounds, "all_calls": all_calls(calm or calls), "waited_s": patience.waited_s}


def has_enough(rounds: list[dict[str, Any]], timing: dict[str, Any]) -> bool:
    """Whether the undisturbed rounds are as many, as long and as steady as they must be."""
    calm = [entry for entry in rounds if not entry["disturbed"]]
    return (
        len(calm) >= timing["min_rounds"]
        and sum(entry["calls"] for entry in calm) >= timing["min_calls"]
        and sum(entry["wall_s"] for entry in calm) >= timing["min_s"]
        and is_steady([entry["median_ms"] for entry in calm], timing["target_half_width"])
    )


def _with_what_no_round_saw(rounds: list[dict[str, Any]], watch: _Watch, patience: _Patience) -> list[dict[str, Any]]:
    """Marks all rounds where other work ran beside them that was too little to be seen in any of them."""
    known_s = sum(entry["others_s"] for entry in rounds if entry["disturbed"])
    disturbed = watch.seen(known_s + patience.others_s, apart_s=patience.waited_s)["disturbed"]
    return [entry | {"disturbed": entry["disturbed"] or disturbed} for entry in rounds]


def _round_beside(
    candidate: _Candidate, reference: _Candidate | None, timing: dict[str, Any], *, reference_first: bool
) -> tuple[dict[str, Any], np.ndarray]:
    """A round of the candidate, with `reference_ms` from a shorter one of the reference before or after it."""
    if reference is None:
        return _round(candidate, timing["round_s"])
    if reference_first:
        beside, _ = _round(reference, timing["reference_round_s"])
    entry, times = _round(candidate, timing["round_s"])
    if not reference_first:
        beside, _ = _round(reference, timing["reference_round_s"])
    disturbed = entry["disturbed"] or beside["disturbed"]
    return entry | {"reference_ms": beside["median_ms"], "disturbed": disturbed}, times


def _round(candidate: _Candidate, seconds: float) -> tuple[dict[str, Any], np.ndarray]:
    """What a round of calls gives, and their times in ms."""
    # What ran before has put its own data into the caches.
    candidate.invoke()
    watch = _Watch()
    times = _calls(candidate, seconds)
    seen = watch.seen()
    entry = {"median_ms": float(np.median(times)), "p90_ms": float(np.quantile(times, 0.9)), "calls": len(times)}
    return entry | seen, times


class _Watch:
    """Watches the machine from now on for what others do on it: other processes, and time that is stolen."""

    def __init__(self) -> None:
        self._busy_s, self._cpu_s, self._start = _machine_busy_s(), time.process_time(), time.perf_counter()

    def wall_s(self) -> float:
        """Seconds since then."""
        return time.perf_counter() - self._start

    def seen(self, known_s: float = 0.0, apart_s: float = 0.0) -> dict[str, Any]:
        """Seconds that went by, that this process computed, and that others did; `disturbed` if that is too much.

        More than a tenth of the time is, beyond what is known already; the kernel counts in ticks, and two of them
        alone say nothing.

        Args:
            known_s: What others did that has been seen elsewhere.
            apart_s: Time that does not count.
        """
        wall_s, cpu_s = self.wall_s() - apart_s, time.process_time() - self._cpu_s
        others_s = _machine_busy_s() - self._busy_s - cpu_s
        disturbed = others_s - known_s > max(2.0 / _CLOCK_TICKS_PER_S, 0.1 * wall_s)
        return {"wall_s": wall_s, "cpu_s": cpu_s, "others_s": others_s, "disturbed": disturbed}


class _Patience:
    """Waits for other work to end, no longer than so many seconds in all."""

    def __init__(self, max_s: float) -> None:
        self._max_s = max_s
        self.waited_s = 0.0
        self.others_s = 0.0
        """What others computed meanwhile."""

    def wait_until_calm(self) -> None:
        """Goes by in short looks at the machine, until one finds it calm."""
        while self.waited_s < self._max_s:
            watch = _Watch()
            time.sleep(_LOOK_S)
            seen = watch.seen()
            self.waited_s += seen["wall_s"]
            self.others_s += seen["others_s"]
            if not seen["disturbed"]:
                return


def _soak(candidate: _Candidate, seconds: float) -> None:
    """Calls without a pause, so that the device becomes as hot as this candidate makes it."""
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        candidate.invoke()


def all_calls(rounds: list[np.ndarray]) -> dict[str, Any]:
    """What the calls of several rounds say together, in ms: the form in which MLPerf asks for them.

    The 95 % interval of the 90th percentile is Woodruff's (Journal of the American Statistical Association 47, 1952):
    the standard error of the share of calls below it, with rounds as the clusters that vary, as quantiles.

    Args:
        rounds: Times of single calls, an array a round.
    """
    times = np.concatenate(rounds)
    p90_ms = float(np.quantile(times, 0.9))
    beyond = [float(np.sum(part <= p90_ms)) - 0.9 * len(part) for part in rounds]
    error = float(np.sqrt(np.sum(np.square(beyond)) * len(rounds) / max(1, len(rounds) - 1))) / len(times)
    low, high = np.quantile(times, np.clip((0.9 - 1.96 * error, 0.9 + 1.96 * error), 0, 1))
    return {
        "calls": len(times),
        "min_ms": float(times.min()),
        "p50_ms": float(np.median(times)),
        "p90_ms": p90_ms,
        "p90_interval_ms": [float(low), float(high)],
        "p95_ms": float(np.quantile(times, 0.95)),
        "p99_ms": float(np.quantile(times, 0.99)),
    }


def _calls(candidate: _Candidate, seconds: float) -> np.ndarray:
    """Times of single calls, ms: as many as `seconds` hold, and at least three."""
    invoke, clock = candidate.invoke, time.perf_counter_ns
    times: list[int] = []
    deadline = clock() + int(seconds * 1e9)
    while len(times) < 3 or clock() < deadline:
        start = clock()
        invoke()
        times.append(clock() - start)
    return np.array(times) / 1e6


def is_steady(medians: list[float], half_width: float) -> bool:
    """Whether the interval of the medians' median is at most `half_width` of it to either side."""
    low, high = bootstrap_interval(medians)
    return high - low <= 2 * half_width * float(np.median(medians))


def bootstrap_interval(values: list[float], confidence: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap of the median (Efron 1979): resamples the values with a fixed seed.

    Args:
        values: One figure a round; rounds, not calls, are what repeats independently.
        confidence: Share of resampled medians that the interval holds.
    """
    array = np.asarray(values)
    picks = np.random.default_rng(0).integers(0, len(array), size=(_RESAMPLES, len(array)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.median(array[picks], axis=1), (tail, 1 - tail))
    return float(low), float(high)


def _cold_start_in_child(request: dict[str, Any], rows: _Rows) -> dict[str, float]:
    """Load and first call in a forked child, and the memory that they took at their peak."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(writer, json.dumps(_cold_start(request, rows)).encode())
            status = 0
        except (RuntimeError, ValueError, OSError) as error:
            os.write(writer, json.dumps({"reason": str(error)}).encode())
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        reply = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        raise RuntimeError(f"crashed with {signal.Signals(os.WTERMSIG(status)).name} at the first call")
    answer: dict[str, Any] = json.loads(reply or b'{"reason": "the first call gave no answer"}')
    if "reason" in answer:
        raise RuntimeError(answer["reason"])
    return answer


def _cold_start(request: dict[str, Any], rows: _Rows) -> dict[str, float]:
    """Times of load and first call, and the memory that they add at their peak.

    A forked child maps the runtime's code anew, page by page: that is not the model's doing, and left out (it made
    5 MB of each peak).
    """
    code, before = _mapped_bytes(but=request["model"]), _status_bytes("VmRSS")
    start = time.perf_counter()
    candidate = _load(request)
    loaded = time.perf_counter()
    candidate.call(rows)
    called = time.perf_counter()
    added = _status_bytes("VmHWM") - before
    return {
        "load_ms": (loaded - start) * 1e3,
        "first_call_ms": (called - loaded) * 1e3,
        "peak_memory_bytes": max(0, added - (_mapped_bytes(but=request["model"]) - code)),
    }


# ---------------------------------------------------------------------------------------------------- machine


def _machine_busy_s() -> float:
    """Seconds that all processors were busy or stolen since boot; 0 where the kernel does not tell."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = _processor_times_s()
    return user + nice + system + irq + softirq + steal


def _machine_steal_s() -> float:
    """Seconds that a hypervisor gave to others since boot; 0 where the kernel does not tell."""
    return _processor_times_s()[7]


def _processor_times_s() -> list[float]:
    """The first eight counters of `/proc/stat`, all processors together, in seconds."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            return [int(ticks) / _CLOCK_TICKS_PER_S for ticks in file.readline().split()[1:9]]
    except (OSError, ValueError):
        return [0.0] * 8


def _status_bytes(field: str) -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return 0


def _mapped_bytes(but: str) -> int:
    """Resident memory of this process that shows files, such as libraries, but for one file."""
    total, counts = 0, False
    with open("/proc/self/smaps", encoding="utf-8", errors="replace") as file:
        for line in file:
            name, *values = line.split()
            if not name.endswith(":"):
                path = " ".join(values[4:])
                counts = path.startswith("/") and path != os.path.realpath(but)
            elif counts and name == "Rss:":
                total += int(values[0]) * 1024
    return total


def _has_avx() -> bool:
    """Whether the processor has AVX; False where the kernel does not tell."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return any(line.startswith("flags") and "avx" in line.split() for line in file)
    except OSError:
        return False


def _processor() -> str:
    try:
        # A board's own name: many an ARM kernel names no processor, and two boards must not be taken for one.
        with open("/proc/device-tree/model", encoding="utf-8") as file:
            return file.read().strip("\0\n")
    except OSError:
        pass
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith(("model name", "Model", "Hardware")):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _last_level_cache_bytes() -> int:
    """Size of the largest cache of processor 0; 0 where the kernel does not tell."""
    folder = "/sys/devices/system/cpu/cpu0/cache"
    sizes = [0]
    try:
        for index in os.listdir(folder):
            if index.startswith("index"):
                with open(f"{folder}/{index}/size", encoding="ascii") as file:
                    text = file.read().strip()
                sizes.append(int(text.rstrip("KM")) * (1024 if text.endswith("K") else 1024**2))
    except (OSError, ValueError):
        pass
    return max(sizes)


if __name__ == "__main__":
    main()
