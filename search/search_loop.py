"""The search of an open study: its baseline, its cells until more would not help, and those that noise leaves open."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from litefront.search.cell_cost import CellCosts
from litefront.search.cell_plan import CellPlans
from litefront.search.cell_record import CellRecord, CellState
from litefront.search.convergence import Convergence
from litefront.search.machine_pace import MachinePace
from litefront.search.membership import uncertain_cells
from litefront.search.run_directory import JsonLineAppender, RunDirectory
from litefront.search.sampler import CellSampler, Proposal
from litefront.search.scheduler import Plan, Scheduler
from litefront.search.screening import Screening, worthwhile_screening
from litefront.search.stage_calls import Reference, StageCall
from litefront.search.store import ArtifactStore, StageRecord
from litefront.search.study_opening import OpenStudy
from litefront.search.study_results import StudyContext, read_records
from litefront.spaces.errors import InputError

__all__ = ["RunProgress", "SearchLoop"]

_log = logging.getLogger(__name__)

# A cell whose place is not certain after this many further measurements is a tie for whoever picks.
_MAX_REMEASURED = 3

# Of a budget in hours, what is kept for measuring again.
_HOURS_FOR_REMEASURING = 0.1


class RunProgress(Protocol):
    """Told how a run goes; called from the run's own thread."""

    def opened(self, context: StudyContext, records: Iterable[CellRecord], known: int, target: int) -> None:
        """The study is open: of what earlier runs found, `known` cells of an intended `target` need no more work."""
        ...

    def stage_started(self, call: StageCall) -> None:
        """A stage starts."""
        ...

    def cell_finished(self, record: CellRecord) -> None:
        """A cell is finished, or measured once more, and kept."""
        ...

    def noted(self, text: str) -> None:
        """Something that a person wants to know happened to the search."""
        ...

    def stopped(self, signal_number: int) -> None:
        """A signal ends the run; what runs is finished first."""
        ...


class SearchLoop:
    """The search of an open study, from its baseline to its last measurement.

    Args:
        study: The study.
        directory: Where its cells are kept.
        store: Where stages leave their results.
        scheduler: Carries the cells' plans out.
        sampler: Proposes cells; it knows those that are there already.
        progress: Told of each cell.
        width: Gives the number of cells that are under way at once; it may change as machines join and leave.
    """

    def __init__(
        self,
        study: OpenStudy,
        directory: RunDirectory,
        store: ArtifactStore,
        scheduler: Scheduler,
        sampler: CellSampler,
        progress: RunProgress,
        *,
        width: Callable[[], int],
    ) -> None:
        self._study = study
        self._lines = JsonLineAppender(directory.cells)
        self._store = store
        self._scheduler = scheduler
        self._sampler = sampler
        self._progress = progress
        self._width = width
        self._started = time.monotonic()
        self._records = read_records(directory, study.context.digest)
        self._cells = frozenset(sampler.cells)
        # Cells of the space that need no more work; a space that was narrowed leaves others behind.
        self._settled = sum(map(self._is_settled, self._records.values()))
        budget = study.spec.budget.cells
        self._target = len(self._cells) if budget is None else min(budget, len(self._cells))

    def run(self, stop: Callable[[], bool]) -> None:
        """Builds and measures cells until the budget is spent, more would not help, or `stop` says so.

        Raises:
            InputError: If the baseline cannot be built or run: without it no other figure can be judged.
        """
        self._progress.opened(self._study.context, self._records.values(), self._settled, self._target)
        try:
            plans = self._plans_after_baseline()
            self._search(plans, stop)
            self._sampler.abandon()
            self._measure_again(plans, stop)
        finally:
            self._sampler.abandon()
            self._lines.close()

    # ------------------------------------------------------------------------------------------------ baseline

    def _plans_after_baseline(self) -> CellPlans:
        """Has the baseline measured before anything else, and gives the plans of all other cells."""
        plans = CellPlans(self._study)
        known = self._records.get(plans.cell_digest(self._study.baseline))
        if known is None or known.state is CellState.FAILED:
            known = self._measure_baseline(plans)
        if known.state is CellState.FAILED:
            raise InputError(f"The float model itself must be built and measured, but {known.reason}")
        reference = self._reference(known)
        pace = MachinePace(known.facts["reference_ms"]) if reference is not None else None
        plans = CellPlans(self._study, known.value("accuracy"), reference, pace, self._screening(known))
        # A run that was killed while it judged anew goes on with it.
        self._judge_anew(plans)
        return plans

    def _measure_baseline(self, plans: CellPlans) -> CellRecord:
        proposal = self._sampler.propose()
        assert proposal is not None, "the baseline comes first"
        self._scheduler.add(plans.plan(proposal.config))
        while True:
            for _, record in self._scheduler.finished():
                self._keep(record)
                self._sampler.tell(proposal, record)
                return record

    def _reference(self, baseline: CellRecord) -> Reference | None:
        """The baseline as what every other cell is timed beside; None if its file has been lost, or no clock is."""
        if baseline.is_modelled:
            return None
        quantized = self._store.find("quantized", baseline.stages["quantized"])
        if quantized is None:
            return None
        return Reference(quantized.objects["tflite"], baseline.config)

    def _screening(self, baseline: CellRecord) -> Screening | None:
        accuracy = self._store.find("accuracy", baseline.stages["accuracy"])
        if accuracy is None:
            return None  # the store was emptied; the cells are still judged by all rows
        return worthwhile_screening(self._study.calls, self._store, accuracy, self._study.reference)

    # -------------------------------------------------------------------------------------------------- search

    def _search(self, plans: CellPlans, stop: Callable[[], bool]) -> None:
        costs = CellCosts(plans, self._store, self._scheduler.expected_s)
        convergence = self._convergence(plans)
        self._sampler.prefer_cheap(costs.seconds)
        under_way: dict[Plan, Proposal] = {}
        while True:
            if stop():
                for plan in self._scheduler.drop_what_waits():
                    under_way.pop(plan, None)
            while not stop() and self._may_add(len(under_way), convergence):
                proposal = self._sampler.propose()
                if proposal is None:
                    break
                costs.begin(proposal.config)
                plan = plans.plan(proposal.config)
                under_way[plan] = proposal
                self._scheduler.add(plan)
            if not under_way:
                break
            for plan, record in self._scheduler.finished(lambda: not stop()):
                self._keep(record)
                self._sampler.tell(under_way.pop(plan), record)
                convergence.add(record)
                if self._follow_pace(plans, record):
                    convergence = self._convergence(plans)
        if self._settled < self._target and convergence.more_would_not_help:
            self._progress.noted(f"the search ends before its budget, since more would not help: {convergence.gain}")

    def _convergence(self, plans: CellPlans) -> Convergence:
        """Follows what the search gains. A space that the budget covers is finished, whatever it gains."""
        min_gain = None if self._sampler.is_exhaustive else self._study.spec.budget.min_gain
        baseline = self._records[plans.cell_digest(self._study.baseline)]
        convergence = Convergence(self._study.spec, baseline, min_gain=min_gain)
        for record in self._records.values():
            convergence.add(record)
        return convergence

    def _may_add(self, under_way: int, convergence: Convergence) -> bool:
        kept_back = _HOURS_FOR_REMEASURING if self._study.spec.budget.remeasure else 0.0
        if convergence.more_would_not_help or self._hours_left(1 - kept_back) <= 0:
            return False
        return under_way < self._width() and self._settled + under_way < self._target

    def _hours_left(self, share: float = 1.0) -> float:
        """Hours until this share of the budget's hours is over."""
        hours = self._study.spec.budget.hours
        return float("inf") if hours is None else hours * share - (time.monotonic() - self._started) / 3600

    # ------------------------------------------------------------------------------------------- measuring again

    def _measure_again(self, plans: CellPlans, stop: Callable[[], bool]) -> None:
        """Spends the last part of the budget on the cells whose place on the front noise decides, in random order."""
        order = random.Random(self._study.spec.seed)
        for turn in range(_MAX_REMEASURED):
            chosen = self._to_measure_again(turn)
            if stop() or not chosen or self._hours_left() <= 0:
                return
            self._progress.noted(f"{len(chosen)} cells whose place on the front is not certain are measured again")
            order.shuffle(chosen)
            self._carry_out(plans, [plans.remeasure(record, quantized) for record, quantized in chosen], stop)

    def _to_measure_again(self, turn: int) -> list[tuple[CellRecord, StageRecord]]:
        """The uncertain cells with the stage that made their files, as many as the budget still has measurements."""
        measured = [record for record in self._records.values() if self._is_choice(record)]
        spent = sum(record.facts.get("remeasured", 0) for record in measured)
        left = round(self._study.spec.budget.remeasure * len(measured)) - spent
        uncertain = uncertain_cells(measured, self._study.spec)
        open_cells = [record for record in uncertain if record.facts.get("remeasured", 0) <= turn]
        found = ((record, self._store.find("quantized", record.stages["quantized"])) for record in open_cells)
        return [(record, quantized) for record, quantized in found if quantized is not None][: max(0, left)]

    def _carry_out(self, plans: CellPlans, wanted: Sequence[Plan], stop: Callable[[], bool]) -> None:
        """Has plans carried out in their order, as far as the budget goes."""
        under_way = set(wanted)
        for plan in wanted:
            self._scheduler.add(plan)
        while under_way:
            if stop() or self._hours_left() <= 0:
                under_way.difference_update(self._scheduler.drop_what_waits())
            if under_way:
                for plan, record in self._scheduler.finished(lambda: not stop()):
                    under_way.discard(plan)
                    self._keep(record)
                    self._follow_pace(plans, record)

    # ----------------------------------------------------------------------------------------------------- pace

    def _follow_pace(self, plans: CellPlans, record: CellRecord) -> bool:
        """Whether a cell's timings changed what is known of the machine's pace, so that cells are judged anew."""
        if plans.pace is None:
            return False
        if plans.pace.note(record):
            self._progress.noted(
                "the machine is faster than when the baseline was timed: it takes "
                f"{plans.pace.reference_ms:.4g} ms, and all cells are judged anew by that"
            )
        elif plans.pace.has_judged(record):
            return False
        # A cell of the same batch may have been judged just before the pace was renewed.
        self._judge_anew(plans)
        return True

    def _judge_anew(self, plans: CellPlans) -> None:
        """Tells the figures of all cells for the machine's pace, the baseline's first: the pace is kept with them."""
        stale = [record for record in self._records.values() if plans.pace and not plans.pace.has_judged(record)]
        for record in sorted(stale, key=lambda record: record.config != self._study.baseline):
            quantized = self._store.find("quantized", record.stages["quantized"])
            if quantized is None:
                continue
            judged = self._carry_out_from_store(plans.judge_anew(record, quantized))
            if judged is not None:
                self._keep(judged)
                self._sampler.correct(judged)

    def _carry_out_from_store(self, plan: Plan) -> CellRecord | None:
        """The end of a plan whose stages have all run; None if the results of one are gone."""
        try:
            call = next(plan)
            while (record := self._store.find(call.stage, call.key)) is not None:
                call = plan.send(record)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        return None

    # -------------------------------------------------------------------------------------------------- records

    def _keep(self, record: CellRecord) -> None:
        """The record goes to the disk before the sampler hears of it: what is lost in between is told again."""
        self._lines.append({"context": self._study.context.digest, "record": record.to_json()})
        before = self._records.get(record.cell)
        self._settled += self._is_settled(record) - (before is not None and self._is_settled(before))
        self._records[record.cell] = record
        self._progress.cell_finished(record)

    def _is_settled(self, record: CellRecord) -> bool:
        return record.config in self._cells and record.state is not CellState.FAILED

    def _is_choice(self, record: CellRecord) -> bool:
        return record.config in self._cells and record.state is CellState.MEASURED
