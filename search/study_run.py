"""Runs a study: opens what is there already, builds and measures cells until the budget is spent, keeps each one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from optuna.storages import BaseStorage

from litefront.objectives.devices import Device
from litefront.objectives.timing import Timing
from litefront.search.digests import digest_of_json
from litefront.search.ledger import Ledger
from litefront.search.run_directory import RunDirectory
from litefront.search.sampler import CellSampler, quiet_optuna
from litefront.search.scheduler import Scheduler
from litefront.search.search_loop import RunProgress, SearchLoop
from litefront.search.stop_signals import stop_signals
from litefront.search.store import ArtifactStore
from litefront.search.study_file import StudyFile
from litefront.search.study_opening import OpenStudy, open_study, write_study
from litefront.search.study_results import StudyResults, read_records
from litefront.search.task_loading import LoadedTask, load_task
from litefront.search.trial_storage import open_storage, run_id
from litefront.search.workers import SerialWorkers, Workers
from litefront.search.workplace import Workplace

__all__ = ["RunOptions", "run_study", "search"]

# For each core: measurements that are taken together where they share the cores, and cells that are under way, enough
# that a batch of measurements and the next builds are both there. A sampler learns from each cell, so few are under
# way; where all cells are finished anyway, many let the cores idle less.
_BATCH, _WIDTH = 4, 6
_EXHAUSTIVE_BATCH, _EXHAUSTIVE_WIDTH = 26, 100


@dataclass(frozen=True)
class RunOptions:
    """How a study is run.

    Attributes:
        serial: Run every stage in this process, without Ray.
        cores: Cores of each machine to build on; by default all that this process may use, or all of a cluster's.
        timing: How candidates are timed.
        address: A running Ray cluster (`auto`, `ray://host:port`, `host:port`); by default Ray is started here.
        stage_timeout_s: A stage that takes longer is ended, with that as its cell's reason; not held by `serial`.
        store: Where artifacts are kept: a folder that several runs may share, or an fsspec URL where they rest beside
            the run directory's own copies. By default the run directory alone.
        storage: The URL of a database for the trials, as Optuna takes it; by default a journal in the run directory.
    """

    serial: bool = False
    cores: int | None = None
    timing: Timing = field(default_factory=Timing)
    address: str | None = None
    stage_timeout_s: float = 4 * 3600.0
    store: str | None = None
    storage: str | None = None


def run_study(
    study: StudyFile, directory: RunDirectory, progress: RunProgress, options: RunOptions | None = None
) -> StudyResults:
    """Runs a study, or goes on with one: the same call does both.

    Args:
        study: The study.
        directory: Where everything is kept.
        progress: Told how it goes.
        options: How to run it.

    Returns:
        What is known at the end. A Ctrl-C or SIGTERM ends it early, after the stages that run; a second one at once.

    Raises:
        InputError: If the study, its task, model or data, or the directory cannot be used.
        StoreError: If the disk does not take what was found; finished cells stay.
    """
    options = options or RunOptions()
    directory.create()
    with directory.lock(), quiet_optuna():
        loaded = load_task(study)
        device = study.spec.device.open()
        store = _open_store(directory, options.store)
        storage = open_storage(options.storage, directory)
        workers = _make_workers(study, loaded, store, options, device)
        scheduler = Scheduler(
            workers, store, Ledger(directory), shares_cores=device.shares_cores, on_stage=progress.stage_started
        )
        try:
            with stop_signals(progress.stopped) as stop:
                facts = workers.probe()
                opened = open_study(
                    study.spec, loaded, device, facts, store=store, scheduler=scheduler, timing=options.timing
                )
                write_study(opened, directory)
                search(opened, directory, store, storage, scheduler, workers, progress).run(stop)
        finally:
            workers.close()
            scheduler.close()
    return StudyResults.read(directory)


def search(
    study: OpenStudy,
    directory: RunDirectory,
    store: ArtifactStore,
    storage: BaseStorage,
    scheduler: Scheduler,
    workers: Workers,
    progress: RunProgress,
) -> SearchLoop:
    """The search of an open study, ready to run.

    Args:
        study: The study.
        directory: Where its cells are kept.
        store: Where stages leave their results.
        storage: Where its trials are kept.
        scheduler: Carries the cells' plans out.
        workers: Run the stages.
        progress: Told how it goes.
    """
    sampler = _make_sampler(study, directory, storage)
    batch, width = (_EXHAUSTIVE_BATCH, _EXHAUSTIVE_WIDTH) if sampler.is_exhaustive else (_BATCH, _WIDTH)
    scheduler.batch = lambda: batch * workers.slots
    return SearchLoop(study, directory, store, scheduler, sampler, progress, width=lambda: width * workers.slots)


def _open_store(directory: RunDirectory, store: str | None) -> ArtifactStore:
    rest = None
    if store is not None and "://" in store:
        rest = store
    elif store is not None:
        directory.share_store(Path(store))
    opened = ArtifactStore(directory.store, rest)
    opened.check_rest()
    opened.remove_scratch()
    return opened


def _make_workers(
    study: StudyFile, loaded: LoadedTask, store: ArtifactStore, options: RunOptions, device: Device
) -> Workers:
    if options.serial:
        return SerialWorkers(Workplace(store, loaded.task, device), delegates=study.spec.space.delegate)
    from litefront.search.ray_workers import RayWorkers

    return RayWorkers(
        store,
        loaded.packed,
        study.spec.device_name,
        study.spec.device.settings(),
        delegates=study.spec.space.delegate,
        address=options.address,
        cores=options.cores,
        stage_timeout_s=options.stage_timeout_s,
    )


def _make_sampler(study: OpenStudy, directory: RunDirectory, storage: BaseStorage) -> CellSampler:
    spec = study.spec
    # Optuna refuses to change the choices of a study, so a changed space is a study of its own in the journal.
    shape = digest_of_json([study.context.digest, spec.space.model_dump(mode="json"), spec.objectives])
    return CellSampler(
        spec,
        storage,
        f"{spec.study}-{shape[:12]}",
        capabilities=study.capabilities,
        known=read_records(directory, study.context.digest).values(),
        baseline=study.baseline,
        owner=run_id(directory),
    )
