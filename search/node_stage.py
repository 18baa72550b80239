"""What happens on a node of a cluster: it says what it is, and runs stages on the store's folder or on copies."""

from __future__ import annotations

import getpass
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from litefront.objectives import runner
from litefront.objectives.devices import Device, open_device
from litefront.search.cluster import NodeSurvey
from litefront.search.digests import digest_of_path
from litefront.search.stage_calls import StageCall
from litefront.search.stage_run import StageDone, run_stage
from litefront.search.store import ArtifactStore
from litefront.search.task_loading import unpack_task
from litefront.search.workplace import Workplace
from litefront.spaces.delegate import Delegate
from litefront.spaces.errors import InputError, StoreError
from litefront.spaces.tensorflow_environment import import_keras

__all__ = [
    "PackedWorkplace",
    "StageLeft",
    "clear_copies",
    "machine_of_this_process",
    "oom_kills",
    "run_here",
    "survey",
    "warm_up",
]


@dataclass(frozen=True)
class PackedWorkplace:
    """What a process on any node needs to run a study's stages.

    Attributes:
        store: The artifact store's folder, as the driver names it.
        mark: A folder in it whose name no other store has.
        packed_task: The task, as `LoadedTask.packed`.
        device_settings: What the device is made from, as JSON; see `open_device`.
        delegates: Those that the device is asked about.
    """

    store: str
    mark: str
    packed_task: bytes
    device_settings: str
    delegates: tuple[Delegate, ...] = ()

    def device(self) -> Device:
        """The device that measures."""
        return open_device(json.loads(self.device_settings))

    @property
    def shares_store(self) -> bool:
        """Whether this process sees the store's folder; the same path may lead elsewhere on another machine."""
        return (Path(self.store) / self.mark).is_dir()

    @property
    def copies(self) -> Path:
        """Where a node that does not see the store keeps copies of what its stages read and leave."""
        return Path(tempfile.gettempdir()) / f"litefront-{getpass.getuser()}-{self.mark}"


@dataclass(frozen=True)
class StageLeft:
    """How a stage ended on a node, with what the driver's store lacks.

    Attributes:
        done: How it ended.
        objects: What it left, as bytes by digest; empty where the node shares the store.
    """

    done: StageDone
    objects: Mapping[str, bytes] = field(default_factory=dict)


def survey(workplace: PackedWorkplace) -> NodeSurvey:
    """What the node of this process is."""
    facts, problem = None, ""
    try:
        facts = workplace.device().probe(workplace.delegates)
    except InputError as error:
        problem = str(error)
    return NodeSurvey(
        machine=machine_of_this_process(),
        shares_store=workplace.shares_store,
        facts=facts,
        runner=digest_of_path(Path(runner.__file__)),
        problem=problem,
        oom_kills=oom_kills(),
    )


def machine_of_this_process() -> str:
    """The identity of the running kernel: the same in every container of a machine, another after a reboot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory since it started (`oom_kill` of proc_vmstat)."""
    lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def run_here(call: StageCall, workplace: PackedWorkplace, fetch: Mapping[str, Callable[[], bytes]] | None) -> StageLeft:
    """Runs a stage in this process.

    Args:
        call: The stage.
        workplace: Where.
        fetch: Gives the bytes of each input, by digest, to a node that does not see the store; None if it does.
    """
    if fetch is None:
        return StageLeft(run_stage(call, _workplace(workplace, workplace.store)))
    copies = ArtifactStore(workplace.copies)
    try:
        for digest, get in fetch.items():
            if not copies.path(digest).exists():
                copies.unpack(digest, get())
    except (StoreError, ValueError) as error:
        return StageLeft(StageDone(call, lost=f"its inputs did not arrive: {error}"))
    done = run_stage(call, _workplace(workplace, str(workplace.copies)))
    if isinstance(done.error, StoreError):
        # The disk of one node, not the store's: another node may have room.
        done = replace(done, error=None, lost=str(done.error))
    objects = done.record.objects.values() if done.record is not None else ()
    return StageLeft(done, {digest: copies.pack(digest) for digest in objects})


def warm_up(workplace: PackedWorkplace) -> None:
    """Unpacks the task and imports what its builds need, so that this process's first stage does not wait for it."""
    store = workplace.store if workplace.shares_store else str(workplace.copies)
    model = _workplace(workplace, store).task.model
    if callable(model) or Path(model).suffix != ".tflite":
        import_keras()
        import tensorflow_model_optimization  # noqa: F401


def clear_copies(workplace: PackedWorkplace) -> None:
    """Removes the copies that this node has kept."""
    shutil.rmtree(workplace.copies, ignore_errors=True)


@lru_cache(maxsize=1)
def _workplace(packed: PackedWorkplace, store: str) -> Workplace:
    """Unpacked once a process: the data in a task may be large."""
    return Workplace(ArtifactStore(Path(store)), unpack_task(packed.packed_task), packed.device())
