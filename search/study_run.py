"""Runs a study: opens what is there already, builds and measures cells until the budget is spent, keeps each one."""

from __future__ import annotations

import json
import logging
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np

from litefront.objectives.devices import Device, DeviceFacts
from litefront.objectives.latency import Timing
from litefront.search.cell_plan import CellPlans, Plan
from litefront.search.cell_record import CellRecord, CellState
from litefront.search.digests import digest_of_json
from litefront.search.ledger import Ledger
from litefront.search.run_directory import RunDirectory, append_json_line, write_atomically
from litefront.search.sampler import CellSampler, Proposal, open_journal, quiet_optuna
from litefront.search.scheduler import Scheduler
from litefront.search.stage_calls import StageCall, StageCalls
from litefront.search.stage_functions import Workplace, device_of_kind
from litefront.search.store import ArtifactStore, StageRecord
from litefront.search.study_file import StudyFile
from litefront.search.study_results import StudyContext, StudyResults, read_records
from litefront.search.task_loading import LoadedTask, load_task
from litefront.search.workers import SerialWorkers, Workers
from litefront.spaces.deployment_config import BASELINE, DeploymentConfig
from litefront.spaces.dimension import Capabilities
from litefront.spaces.errors import InputError

__all__ = ["RunOptions", "RunProgress", "run_study"]

_log = logging.getLogger(__name__)

_VERSIONED = (
    "litefront",
    "tensorflow",
    "tf-keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "optuna",
    "ray",
    "numpy",
)


class RunProgress(Protocol):
    """Told how a run goes; called from the run's own thread."""

    def opened(self, context: StudyContext, known: int, target: int) -> None:
        """The study is open: `known` cells of an intended `target` are there already."""
        ...

    def stage_started(self, call: StageCall) -> None:
        """A stage starts."""
        ...

    def cell_finished(self, record: CellRecord, records: Iterable[CellRecord]) -> None:
        """A cell is finished and kept; `records` are all of this study's."""
        ...

    def stopped(self, signal_number: int) -> None:
        """A signal ends the run; what runs is finished first."""
        ...


@dataclass(frozen=True)
class RunOptions:
    """How a study is run.

    Attributes:
        serial: Run every stage in this process, without Ray.
        cores: Cores to build on; all that this process may use by default.
        timing: How candidates are timed.
    """

    serial: bool = False
    cores: int | None = None
    timing: Timing = field(default_factory=Timing)


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
        device = device_of_kind(study.spec.devices[study.spec.device_name].kind)
        facts = device.probe()
        store = ArtifactStore(directory.store)
        store.remove_scratch()
        workers = _make_workers(study, loaded, store, options, device)
        try:
            run = _Run(study, directory, loaded, device, facts, store, workers, progress, options)
            run.search()
        finally:
            workers.close()
    return StudyResults.read(directory)


def _make_workers(
    study: StudyFile, loaded: LoadedTask, store: ArtifactStore, options: RunOptions, device: Device
) -> Workers:
    if options.serial:
        return SerialWorkers(Workplace(store, loaded.task, device))
    from litefront.search.ray_workers import RayWorkers

    name = study.spec.device_name
    return RayWorkers(store.root, loaded.packed, name, study.spec.devices[name].kind, cores=options.cores)


class _Run:
    """One run of a study, from its first stage to its last cell."""

    def __init__(
        self,
        study: StudyFile,
        directory: RunDirectory,
        loaded: LoadedTask,
        device: Device,
        facts: DeviceFacts,
        store: ArtifactStore,
        workers: Workers,
        progress: RunProgress,
        options: RunOptions,
    ) -> None:
        self._spec = study.spec
        self._directory = directory
        self._loaded = loaded
        self._progress = progress
        self._scheduler = Scheduler(
            workers,
            store,
            Ledger(directory),
            shares_cores=device.shares_cores,
            batch=4 * workers.slots,
            on_stage=progress.stage_started,
        )
        # Enough cells under way that a batch of measurements and the next builds are both there.
        self._width = 6 * workers.slots
        self._device = device
        self._facts = facts
        self._calls = _stage_calls(study, loaded, facts, store, options.timing)
        self._started = time.monotonic()
        self._records: dict[str, CellRecord] = {}
        self._context_digest = ""

    def search(self) -> None:
        """Builds and measures cells until the budget is spent or the run is stopped."""
        with _stop_signals(self._progress.stopped) as stop:
            base = self._scheduler.run_stage(self._calls.base())
            capabilities = self._loaded.task.capabilities(
                cores=self._facts.cores,
                pruning_refusal=base.facts["pruning_refusal"],
                fixed_batch_size=base.facts["fixed_batch_size"],
            )
            baseline = replace(BASELINE, batch_size=base.facts["fixed_batch_size"] or 1)
            context = self._open(base, capabilities, baseline)
            self._context_digest = context.digest
            self._records = read_records(self._directory, context.digest)
            sampler = self._sampler(context, capabilities, baseline)
            self._progress.opened(context, self._settled(sampler), self._target(sampler))
            plans = CellPlans(
                self._spec, self._calls, self._device, context.digest, baseline, reference=self._reference(baseline)
            )
            try:
                plans = self._measure_baseline(sampler, plans)
                self._loop(sampler, plans, stop)
            finally:
                sampler.abandon()

    def _open(self, base: StageRecord, capabilities: Capabilities, baseline: DeploymentConfig) -> StudyContext:
        """Writes down what the study turned out to be, for every command that reads the run."""
        space = self._spec.space.search_space()
        identity = {
            "model": base.objects["model"],
            "calls": self._calls.identity(),
            "load": self._spec.load.samples_per_s if self._spec.load else None,
            "gates": self._spec.gates.model_dump(),
            "device": self._spec.device_name,
        }
        context = StudyContext(
            digest=digest_of_json(identity),
            device=self._facts.identity(),
            versions=_versions(),
            model={
                "format": base.facts["format"],
                "inputs": base.facts["inputs"],
                "metric": _metric_name(self._loaded),
                "fidelity": self._loaded.task.is_fidelity,
                "evaluation_rows": len(self._loaded.task.evaluation.inputs),
            },
            baseline=baseline.params(),
            cells=len(space.cells(capabilities)),
            configurations=space.size(),
            refusals=dict(space.refusals(capabilities)),
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        content = {"spec": self._spec.model_dump(mode="json"), "context": asdict(context)}
        write_atomically(self._directory.study, json.dumps(content, indent=1))
        return context

    def _sampler(self, context: StudyContext, capabilities: Capabilities, baseline: DeploymentConfig) -> CellSampler:
        # Optuna refuses to change the choices of a study, so a changed space is a study of its own in the journal.
        shape = digest_of_json([context.digest, self._spec.space.model_dump(mode="json"), self._spec.objectives])
        return CellSampler(
            self._spec,
            open_journal(self._directory.journal),
            f"{self._spec.study}-{shape[:12]}",
            capabilities=capabilities,
            known=self._records.values(),
            baseline=baseline,
        )

    def _reference(self, baseline: DeploymentConfig) -> StageRecord | None:
        """The float model's own answers, where they stand in for labels."""
        if not self._loaded.task.is_fidelity:
            return None
        base = self._scheduler.run_stage(self._calls.base())
        float_tflite = self._scheduler.run_stage(self._calls.float_tflite(base, baseline.batch_size))
        quantized = self._scheduler.run_stage(self._calls.quantized(float_tflite, baseline))
        return self._scheduler.run_stage(self._calls.reference(quantized, baseline))

    def _measure_baseline(self, sampler: CellSampler, plans: CellPlans) -> CellPlans:
        """Has the baseline measured before anything else; without it no other figure can be judged.

        Raises:
            InputError: If it cannot be built or run.
        """
        known = self._records.get(plans.cell_digest(plans.baseline))
        if known is None or known.state is CellState.FAILED:
            proposal = sampler.propose()
            assert proposal is not None and proposal.config == plans.baseline, "the baseline comes first"
            known = self._finish_alone(proposal, plans, sampler)
        if "accuracy" not in known.figures or known.state is CellState.FAILED:
            raise InputError(f"The float model itself must be built and measured, but {known.reason}")
        return replace(plans, baseline_accuracy=known.figures["accuracy"].value)

    def _finish_alone(self, proposal: Proposal, plans: CellPlans, sampler: CellSampler) -> CellRecord:
        self._scheduler.add(plans.plan(proposal.config))
        while True:
            for _, record in self._scheduler.finished():
                self._keep(record, proposal, sampler)
                return record

    def _loop(self, sampler: CellSampler, plans: CellPlans, stop: Callable[[], bool]) -> None:
        under_way: dict[Plan, Proposal] = {}
        target = self._target(sampler)
        while True:
            if stop():
                for plan in self._scheduler.drop_what_waits():
                    under_way.pop(plan, None)
            while not stop() and not self._out_of_time() and self._may_add(sampler, len(under_way), target):
                proposal = sampler.propose()
                if proposal is None:
                    break
                plan = plans.plan(proposal.config)
                under_way[plan] = proposal
                self._scheduler.add(plan)
            if not under_way:
                return
            for plan, record in self._scheduler.finished():
                self._keep(record, under_way.pop(plan), sampler)

    def _may_add(self, sampler: CellSampler, under_way: int, target: int) -> bool:
        return under_way < self._width and self._settled(sampler) + under_way < target

    def _keep(self, record: CellRecord, proposal: Proposal, sampler: CellSampler) -> None:
        """The record goes to the disk first, then to the sampler: what is lost in between is told again."""
        append_json_line(self._directory.cells, {"context": self._context_digest, "record": record.to_json()})
        self._records[record.cell] = record
        sampler.tell(proposal, record)
        self._progress.cell_finished(record, self._records.values())

    def _settled(self, sampler: CellSampler) -> int:
        """Cells of the space that need no more work; a space that was narrowed leaves others behind."""
        cells = set(sampler.cells)
        return sum(record.config in cells and record.state is not CellState.FAILED for record in self._records.values())

    def _target(self, sampler: CellSampler) -> int:
        budget = self._spec.budget.cells
        return len(sampler.cells) if budget is None else min(budget, len(sampler.cells))

    def _out_of_time(self) -> bool:
        hours = self._spec.budget.hours
        return hours is not None and time.monotonic() - self._started > hours * 3600


@contextmanager
def _stop_signals(on_stop: Callable[[int], None]) -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C or SIGTERM into a flag; the second one raises KeyboardInterrupt at once."""
    stopped = False

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        if stopped:
            raise KeyboardInterrupt
        stopped = True
        on_stop(number)
        _log.warning("%s: finishing what runs; once more ends it at once.", signal.Signals(number).name)

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: stopped
    finally:
        for watched, handler in previous.items():
            signal.signal(watched, handler)


def _stage_calls(
    study: StudyFile, loaded: LoadedTask, facts: DeviceFacts, store: ArtifactStore, timing: Timing
) -> StageCalls:
    evaluation = loaded.task.evaluation
    labels = None if loaded.task.is_fidelity else evaluation.labels
    return StageCalls(
        loaded,
        facts,
        evaluation_inputs=_keep_array(store, evaluation.inputs),
        evaluation_labels=None if labels is None else _keep_array(store, labels),
        seed=study.spec.seed,
        timing=timing,
    )


def _keep_array(store: ArtifactStore, array: Any) -> str:
    with store.scratch() as folder:
        path = Path(folder) / "array.npy"
        np.save(path, array)
        return store.add_object(path)


def _metric_name(loaded: LoadedTask) -> str:
    metric = loaded.task.scored_by
    return metric if isinstance(metric, str) else str(getattr(metric, "__name__", "metric"))


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in _VERSIONED}
