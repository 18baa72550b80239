"""Stages as Ray tasks; the only module that imports Ray.

Ray is started on this machine, or joined where it runs. Each stage is placed on a node by name: a build takes one of
its cores, a measurement the device as a custom resource and, where the device is the node itself, every core as well.
Ray is not fair between requests: one that asks for every core starves behind small ones, so the scheduler starts
measurements only when nothing else runs on the device's machine.

Measurements that are started together stand in line for the device with Ray itself, which starts the next one without
a word from this process; it sleeps until the last has ended.

It is longer than other modules because every call of Ray, and every way in which Ray fails, is translated here.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from litefront.objectives.devices import DeviceFacts, open_device
from litefront.search.cluster import Cluster, Node
from litefront.search.lifeline import Lifeline, answers
from litefront.search.node_stage import (
    PackedWorkplace,
    StageLeft,
    clear_copies,
    machine_of_this_process,
    oom_kills,
    run_here,
    survey,
    warm_up,
)
from litefront.search.stage_calls import StageCall
from litefront.search.stage_run import StageDone
from litefront.search.store import ArtifactStore
from litefront.search.workers import Place
from litefront.spaces.delegate import Delegate
from litefront.spaces.errors import CandidateError, InputError, LitefrontError, StoreError, WorkersError

__all__ = ["RayWorkers"]

_log = logging.getLogger(__name__)

_REFRESH_S = 1.0
# A delegate that hangs is given up after half a minute; there may be three.
_SURVEY_TIMEOUT_S = 150.0
_QUESTION_TIMEOUT_S = 20.0
# Objects that are kept for nodes that do not see the store: the rows and the models that the next stages read.
_KEPT_OBJECTS = 32

# What tells that a node is gone, and what tells that something on the way was.
_NODE_GONE = (ray.exceptions.NodeDiedError, ray.exceptions.TaskUnschedulableError)
_ON_THE_WAY = (ray.exceptions.ObjectLostError, ray.exceptions.OwnerDiedError, ray.exceptions.ObjectFetchTimedOutError)


@dataclass(eq=False)
class _Running:
    """A stage that was submitted; one that stands in line has no deadline yet."""

    call: StageCall
    node: Node
    deadline: float | None = None


class RayWorkers:
    """Runs stages as tasks of a Ray instance.

    Args:
        store: The artifact store; nodes that do not see its folder are sent copies.
        packed_task: The task, as `LoadedTask.packed`.
        device_name: The device's name in the study; nodes offer it as the resource `device:<name>`.
        device_settings: What it is made from; see `open_device`.
        delegates: Those that it is asked about.
        address: A running Ray cluster (`auto`, `ray://host:port`, `host:port`); by default Ray is started here.
        cores: Cores of each machine to use; by default all that this process may use, or all of a cluster's.
        stage_timeout_s: A stage that takes longer is ended, with that as its reason; standing in line does not count.
        node_wait_s: How long a stage waits for a node that can run it, once the last has left.

    Raises:
        InputError: If the cluster cannot be joined, or none of its nodes offers the device.
    """

    def __init__(
        self,
        store: ArtifactStore,
        packed_task: bytes,
        device_name: str,
        device_settings: Mapping[str, Any],
        *,
        delegates: Collection[Delegate] = (),
        address: str | None = None,
        cores: int | None = None,
        stage_timeout_s: float = 4 * 3600.0,
        node_wait_s: float = 600.0,
    ) -> None:
        self._store = store
        self._device = f"device:{device_name}"
        self._shares_cores = open_device(device_settings).shares_cores
        self._cores = cores
        self._stage_timeout_s = stage_timeout_s
        self._running: dict[ray.ObjectRef[Any], _Running] = {}
        self._surveys: dict[ray.ObjectRef[Any], dict[str, Any]] = {}
        self._left: set[str] = set()
        self._lost: list[StageDone] = []
        self._objects: OrderedDict[str, ray.ObjectRef[Any]] = OrderedDict()
        self._refresh_at = 0.0
        self._cluster = Cluster(self._device, machine_of_this_process(), node_wait_s)
        self._resources = contextlib.ExitStack()
        try:
            self._join(address)
            self._open(packed_task, device_settings, delegates)
            self._meet_the_first_nodes()
        except BaseException:
            self.close()
            raise

    @property
    def slots(self) -> int:
        """One stage a core of every node."""
        return self._cluster.slots

    def probe(self) -> DeviceFacts:
        """What the device's node says of itself."""
        return self._cluster.probe()

    def places(self, call: StageCall) -> frozenset[Place]:
        """Where the stage could start now."""
        self._refresh()
        return self._cluster.places(call)

    def start(self, call: StageCall, place: Place) -> None:
        """Submits the stage to a node."""
        node = self._cluster.choose(call, place)
        try:
            inputs = None if node.survey.shares_store else self._sent(call)
        except StoreError as error:
            self._lost.append(StageDone(call, error=CandidateError(f"{call.stage}: {error}")))
            return
        options: dict[str, Any] = {"num_cpus": 1, "name": f"litefront:{call.stage}"}
        if call.leases_device:
            options["resources"] = {self._device: 1}
            options["num_cpus"] = node.cpus if self._shares_cores else 0
        with _explained():
            reference = _task(_run, node.id, **options).remote(call, self._workplace, inputs)
        self._running[reference] = _Running(call, node)
        if not call.leases_device:
            node.builds += 1
            self._begin_time(reference)
        if call.stage == "base":
            self._warm_up_the_others()

    def wait(self, timeout_s: float) -> list[StageDone]:
        """The stages that have ended, those that were ended for taking too long, and those that were lost."""
        done = []
        with _explained():
            if self._running:
                self._wait_for_some(0 if self._lost else timeout_s)
                done = [self._collect(reference) for reference in self._ended()]
            elif not self._lost:
                time.sleep(timeout_s)
        self._refresh()
        lost, self._lost = self._lost, []
        return done + lost + [self._end(reference) for reference in self._overdue()]

    def recall(self) -> list[StageCall]:
        """Takes the measurements back that stand in line behind the one that runs."""
        return [self._cancel(reference).call for reference in self._in_line()[1:]]

    def close(self) -> None:
        """Cancels what still runs, and stops Ray if it was started here; a cluster is left as it was."""
        for reference in self._running:
            with contextlib.suppress(Exception):
                ray.cancel(reference, force=True)
        self._running.clear()
        self._resources.close()

    def _join(self, address: str | None) -> None:
        if ray.is_initialized():
            raise InputError("Ray must not run in this process yet, but `ray.init` was called before.")
        _silence_ray()
        if address is None:
            cores = self._cores or len(os.sched_getaffinity(0))
            _start_ray(cores, {self._device: 1})
        else:
            _join_ray(address)
        self._resources.callback(ray.shutdown)
        # Through Ray's client, the process that hangs on the cluster is at the other end, and its end is an error here.
        through_client = (address or "").startswith("ray://")
        self._lifeline = Lifeline(None, None) if through_client else Lifeline(_raylet_socket(), _head())
        self._resources.callback(self._lifeline.close)

    def _open(self, packed_task: bytes, device_settings: Mapping[str, Any], delegates: Collection[Delegate]) -> None:
        mark = self._resources.enter_context(self._store.scratch())
        root = self._store.root.resolve()
        settings = json.dumps(device_settings)
        self._packed = PackedWorkplace(str(root), mark.name, packed_task, settings, tuple(delegates))
        self._workplace = ray.put(self._packed)
        self._resources.callback(self._clear_copies)

    def _meet_the_first_nodes(self) -> None:
        self._refresh()
        offering = [node for node in self._surveys.values() if self._device in node["Resources"]]
        if not offering:
            raise InputError(
                f"A node of the Ray cluster must offer {self._device}, but none of {len(self._surveys)} does; on the "
                f"machine that measures: ray start --address=<head>:6379 --resources='{{\"{self._device}\": 1}}'"
            )
        ray.wait(list(self._surveys), num_returns=len(self._surveys), timeout=_SURVEY_TIMEOUT_S)
        self._take_surveys()
        self._cluster.probe()

    def _refresh(self) -> None:
        """Takes note of the nodes that have joined and left; looks at most once a second."""
        if time.monotonic() < self._refresh_at:
            return
        self._refresh_at = time.monotonic() + _REFRESH_S
        if not self._lifeline.check():
            return
        with _explained():
            alive = {node["NodeID"]: node for node in _nodes() if node["Alive"]}
        for node in list(self._cluster.nodes.values()):
            if node.id not in alive:
                self._dismiss(node, "it left the cluster")
        asked = {node["NodeID"] for node in self._surveys.values()}
        for node_id in alive.keys() - self._cluster.nodes.keys() - asked - self._left:
            self._ask(alive[node_id])
        self._take_surveys()

    def _ask(self, listed: dict[str, Any]) -> None:
        """Has a new node say what it is; it takes part once it has."""
        if listed["Resources"].get("CPU") or self._device in listed["Resources"]:
            reference = _task(survey, listed["NodeID"], num_cpus=0, name="litefront:survey").remote(self._workplace)
            self._surveys[reference] = listed
        else:
            self._left.add(listed["NodeID"])

    def _take_surveys(self) -> None:
        if not self._surveys:
            return
        answered, _ = ray.wait(list(self._surveys), num_returns=len(self._surveys), timeout=0)
        for reference in answered:
            listed = self._surveys.pop(reference)
            try:
                found = ray.get(reference)
            except ray.exceptions.RayError as error:
                self._left.add(listed["NodeID"])
                self._cluster.refused[listed["NodeManagerAddress"]] = _in_a_line(error)
                _log.warning("%s takes no part: %s", listed["NodeManagerAddress"], _in_a_line(error))
                continue
            cpus = int(listed["Resources"].get("CPU", 0))
            self._cluster.add(
                Node(
                    id=listed["NodeID"],
                    address=listed["NodeManagerAddress"],
                    cpus=cpus,
                    slots=min(cpus, self._cores or cpus),
                    offers_device=self._device in listed["Resources"],
                    survey=found,
                )
            )

    def _dismiss(self, node: Node, why: str) -> None:
        """Gives a node up, with the stages that it ran; those that had ended are still collected."""
        if node.id in self._left:
            return
        self._left.add(node.id)
        self._cluster.remove(node.id)
        _log.warning("%s takes no part any more: %s.", node.address, why)
        for reference in self._not_ended([ref for ref, running in self._running.items() if running.node is node]):
            running = self._cancel(reference)
            lost = f"{node.address}: {why}"
            self._lost.append(StageDone(running.call, lost=lost, began=running.deadline is not None))

    def _warm_up_the_others(self) -> None:
        """Has the cores that idle while the base model is built import what the builds after it need."""
        for node in self._cluster.nodes.values():
            for _ in range(node.slots - node.builds):
                _task(warm_up, node.id, num_cpus=1, name="litefront:warm-up").remote(self._workplace)

    def _cancel(self, reference: ray.ObjectRef[Any]) -> _Running:
        running = self._take(reference)
        with contextlib.suppress(Exception):
            ray.cancel(reference, force=True)
        return running

    def _take(self, reference: ray.ObjectRef[Any]) -> _Running:
        running = self._running.pop(reference)
        if not running.call.leases_device:
            running.node.builds -= 1
        return running

    def _wait_for_some(self, timeout_s: float) -> None:
        """Waits for any build, or for the last measurement in line."""
        builds = [reference for reference, running in self._running.items() if not running.call.leases_device]
        in_line = self._in_line()
        if in_line:
            self._begin_time(in_line[0])
        if in_line or len(builds) == len(self._running):
            ray.wait([*builds, *in_line[-1:]], num_returns=1, timeout=timeout_s)

    def _ended(self) -> list[ray.ObjectRef[Any]]:
        """What has ended; measurements once none stands in line any more."""
        ready, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        held = bool(self._in_line())
        return [reference for reference in ready if not (held and self._running[reference].call.leases_device)]

    def _in_line(self) -> list[ray.ObjectRef[Any]]:
        """The measurements that have not ended, in their order; the first one runs."""
        measuring = [reference for reference, running in self._running.items() if running.call.leases_device]
        return self._not_ended(measuring)

    def _not_ended(self, references: list[ray.ObjectRef[Any]]) -> list[ray.ObjectRef[Any]]:
        with _explained():
            return ray.wait(references, num_returns=len(references), timeout=0)[1] if references else []

    def _begin_time(self, reference: ray.ObjectRef[Any]) -> None:
        """From now on, or from before, the stage's time runs."""
        running = self._running[reference]
        if running.deadline is None:
            running.deadline = time.monotonic() + self._stage_timeout_s

    def _overdue(self) -> list[ray.ObjectRef[Any]]:
        now = time.monotonic()
        limits = ((reference, running.deadline) for reference, running in self._running.items())
        return [reference for reference, deadline in limits if deadline is not None and now > deadline]

    def _sent(self, call: StageCall) -> dict[str, ray.ObjectRef[Any]]:
        """A call's inputs in Ray's object store; each is put there once, and those that were not read longest go."""
        for digest in call.inputs.values():
            if digest not in self._objects:
                self._objects[digest] = ray.put(self._store.pack(digest))
            self._objects.move_to_end(digest)
        sent = {digest: self._objects[digest] for digest in call.inputs.values()}
        while len(self._objects) > _KEPT_OBJECTS:
            self._objects.popitem(last=False)
        return sent

    def _collect(self, reference: ray.ObjectRef[Any]) -> StageDone:
        running = self._take(reference)
        call, node = running.call, running.node
        try:
            left: StageLeft = ray.get(reference)
        except _NODE_GONE:
            # Of measurements that stood in line, the first that is lost was the one that ran.
            began = node.id not in self._left or not call.leases_device
            self._dismiss(node, "the node died")
            return StageDone(call, lost=f"the node {node.address} died", began=began)
        except _ON_THE_WAY as error:
            return StageDone(call, lost=f"{node.address}: {_in_a_line(error)}")
        except ray.exceptions.WorkerCrashedError:
            return self._explain_crash(call, node)
        except ray.exceptions.LocalRayletDiedError:
            self._lifeline.check()
            return StageDone(call, lost="the raylet of this machine died")
        except ray.exceptions.RayError as error:
            # The stage itself reports its errors as results; what Ray raises is the end of its process.
            return StageDone(call, error=_reason(call, error), details=str(error))
        return self._kept(left)

    def _kept(self, left: StageLeft) -> StageDone:
        """Takes what a stage left on a node that does not see the store."""
        done = left.done
        if done.record is None or not left.objects:
            return done
        try:
            for digest, data in left.objects.items():
                self._store.unpack(digest, data)
            self._store.add(done.record)
        except ValueError as error:
            return StageDone(done.call, lost=f"its result did not arrive: {error}")
        except StoreError as error:
            return StageDone(done.call, error=error)
        return done

    def _explain_crash(self, call: StageCall, node: Node) -> StageDone:
        """Asks the node whether its kernel ran out of memory; a node that does not answer is gone itself."""
        try:
            kills = ray.get(_task(oom_kills, node.id, num_cpus=0).remote(), timeout=_QUESTION_TIMEOUT_S)
        except ray.exceptions.RayError:
            self._dismiss(node, "the node died")
            return StageDone(call, lost=f"the node {node.address} died")
        if kills > node.survey.oom_kills:
            node.survey = replace(node.survey, oom_kills=kills)
            return StageDone(call, error=CandidateError(f"{call.stage}: the kernel killed it for want of memory"))
        return StageDone(call, error=CandidateError(f"{call.stage}: its process died"))

    def _end(self, reference: ray.ObjectRef[Any]) -> StageDone:
        call = self._cancel(reference).call
        return StageDone(call, error=CandidateError(f"{call.stage}: hung for {self._stage_timeout_s:g} s"))

    def _clear_copies(self) -> None:
        """Leaves nothing behind on the nodes that were sent copies, as far as they still answer."""
        nodes = [node for node in self._cluster.nodes.values() if not node.survey.shares_store]
        with contextlib.suppress(Exception):
            asked = [_task(clear_copies, node.id, num_cpus=0).remote(self._workplace) for node in nodes]
            if asked:
                ray.wait(asked, num_returns=len(asked), timeout=_QUESTION_TIMEOUT_S)


def _run(call: StageCall, workplace: PackedWorkplace, inputs: dict[str, ray.ObjectRef[Any]] | None) -> StageLeft:
    """The references stay references until this process asks for those that it lacks."""
    fetch = None if inputs is None else {digest: _getter(reference) for digest, reference in inputs.items()}
    return run_here(call, workplace, fetch)


def _getter(reference: ray.ObjectRef[Any]) -> Callable[[], bytes]:
    return lambda: bytes(ray.get(reference))


def _task(function: Callable[..., Any], node_id: str, **options: Any) -> Any:
    """A function as a task that runs on one node, once."""
    where = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return _remote(function).options(max_retries=0, scheduling_strategy=where, **options)


@cache
def _remote(function: Callable[..., Any]) -> Any:
    # Each new one would be sent to the cluster again, 2 ms a task.
    return ray.remote(function)


def _start_ray(cores: int, resources: dict[str, float]) -> None:
    # Ray's own telemetry and its warning about accelerators that this project does not use.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with _quiet_children():
        ray.init(
            # Without it, Ray would join a cluster that the environment or a file in /tmp names.
            address="local",
            num_cpus=cores,
            resources=resources,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
        )


def _join_ray(address: str) -> None:
    # Ray itself tries for minutes, and says so line by line.
    if ":" in address and not answers(address.removeprefix("ray://")):
        raise InputError(f"A Ray cluster must answer at {address!r}, but nothing does.")
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        hint = "a cluster that asks for a token needs Ray's own settings for it, such as RAY_AUTH_MODE=token"
        raise InputError(f"A Ray cluster must answer at {address!r}, but {_in_a_line(error)} ({hint}).") from error


def _silence_ray() -> None:
    """Ray's notices go to its own log files: standard output holds results, and errors are told in our words."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    # No option turns off what the driver prints about processes that have died.
    ray._private.worker.print_to_stdstream = lambda data, **_: _log.debug("%s", data["lines"])


def _nodes() -> list[dict[str, Any]]:
    return list(ray.nodes())  # type: ignore[no-untyped-call]


def _raylet_socket() -> str | None:
    here = ray.get_runtime_context().get_node_id()
    return next((node["RayletSocketName"] for node in _nodes() if node["NodeID"] == here), None)


def _head() -> str:
    return str(ray.get_runtime_context().gcs_address)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """What Ray raises when it is gone itself, in a user's words."""
    try:
        yield
    except (ConnectionError, ray.exceptions.RaySystemError, ray.exceptions.RpcError) as error:
        raise WorkersError(
            f"Ray must live as long as the run, but {_in_a_line(error)}; finished cells are kept, and the same command "
            "goes on from there."
        ) from error


@contextlib.contextmanager
def _quiet_children() -> Iterator[None]:
    """Lets Ray's processes start without the terminal's Ctrl-C: only the driver decides what ends when."""
    if threading.current_thread() is threading.main_thread():
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)
    else:
        yield


def _reason(call: StageCall, error: Exception) -> LitefrontError:
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return CandidateError(f"{call.stage}: Ray ended it, since its machine ran out of memory")
    return CandidateError(f"{call.stage}: {_in_a_line(error)}")


def _in_a_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
