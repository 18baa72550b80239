"""Stages as Ray tasks; the only module that imports Ray.

Each stage takes one core. A measurement takes its device as a custom resource, and where the device is this very
machine, every core as well. Ray is not fair between requests: one that asks for every core starves behind small ones,
so the scheduler starts a measurement only when nothing else runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import ray

from litefront.search.stage_calls import StageCall
from litefront.search.stage_functions import StageDone, Workplace, device_of_kind, run_stage
from litefront.search.store import ArtifactStore
from litefront.search.task_loading import unpack_task
from litefront.spaces.errors import CandidateError, LitefrontError

__all__ = ["RayWorkers"]

_log = logging.getLogger(__name__)


class RayWorkers:
    """Runs stages as tasks of a Ray instance that it starts on this machine.

    Args:
        store: The artifact store's folder.
        packed_task: The task, as `LoadedTask.packed`.
        device_name: The device's name in the study.
        device_kind: Its kind.
        cores: Cores to use; those that this process may run on by default.
        stage_timeout_s: A stage that takes longer is ended, with that as its reason.
    """

    def __init__(
        self,
        store: Path,
        packed_task: bytes,
        device_name: str,
        device_kind: str,
        *,
        cores: int | None = None,
        stage_timeout_s: float = 4 * 3600.0,
    ) -> None:
        self._cores = cores or len(os.sched_getaffinity(0))
        self._device = f"device:{device_name}"
        self._stage_timeout_s = stage_timeout_s
        self._running: dict[ray.ObjectRef[Any], tuple[StageCall, float]] = {}
        self._shares_cores = device_of_kind(device_kind).shares_cores
        _start_ray(self._cores, {self._device: 1})
        self._workplace = ray.put((str(store.resolve()), packed_task, device_kind))
        self._task = ray.remote(max_retries=0)(_run_in_worker)

    @property
    def slots(self) -> int:
        """One stage a core."""
        return self._cores

    def start(self, call: StageCall) -> None:
        """Submits the stage."""
        options: dict[str, Any] = {"num_cpus": 1, "name": f"litefront:{call.stage}"}
        if call.leases_device:
            options["resources"] = {self._device: 1}
            options["num_cpus"] = self._cores if self._shares_cores else 0
        reference = self._task.options(**options).remote(call, self._workplace)
        self._running[reference] = (call, time.monotonic() + self._stage_timeout_s)

    def wait(self, timeout_s: float) -> list[StageDone]:
        """The stages that have ended, and those that were ended for taking too long."""
        if not self._running:
            return []
        ready, _ = ray.wait(list(self._running), num_returns=1, timeout=timeout_s)
        more, _ = ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
        done = [self._collect(reference) for reference in dict.fromkeys([*ready, *more])]
        overdue = [reference for reference, (_, deadline) in self._running.items() if time.monotonic() > deadline]
        return done + [self._end(reference) for reference in overdue]

    def close(self) -> None:
        """Cancels what still runs and stops Ray."""
        for reference in self._running:
            with contextlib.suppress(Exception):
                ray.cancel(reference, force=True)
        self._running.clear()
        ray.shutdown()

    def _collect(self, reference: ray.ObjectRef[Any]) -> StageDone:
        call, _ = self._running.pop(reference)
        try:
            return ray.get(reference)  # type: ignore[no-any-return]
        except ray.exceptions.RayError as error:
            # The stage itself reports its errors as results; what Ray raises is the end of its process.
            return StageDone(call, error=_reason(call, error), details=str(error))

    def _end(self, reference: ray.ObjectRef[Any]) -> StageDone:
        call, _ = self._running.pop(reference)
        ray.cancel(reference, force=True)
        return StageDone(call, error=CandidateError(f"{call.stage}: hung for {self._stage_timeout_s:g} s"))


def _run_in_worker(call: StageCall, workplace: tuple[str, bytes, str]) -> StageDone:
    return run_stage(call, _workplace(*workplace))


@lru_cache(maxsize=1)
def _workplace(store: str, packed_task: bytes, device_kind: str) -> Workplace:
    """Unpacked once a worker process: the data in a task may be large."""
    return Workplace(ArtifactStore(Path(store)), unpack_task(packed_task), device_of_kind(device_kind))


def _start_ray(cores: int, resources: dict[str, float]) -> None:
    # Ray's own telemetry and its warning about accelerators that this project does not use.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Ray's notices, such as that its default of a token is on, go to its own log files.
    logging.getLogger("ray").setLevel(logging.ERROR)
    with _quiet_children():
        ray.init(
            num_cpus=cores,
            resources=resources,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
        )


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
        return CandidateError(f"{call.stage}: the machine ran out of memory")
    if isinstance(error, ray.exceptions.WorkerCrashedError):
        return CandidateError(f"{call.stage}: its process died")
    return CandidateError(f"{call.stage}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
