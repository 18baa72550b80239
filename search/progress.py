"""What a person sees of a run: one line a cell, and a bar with what is done, rejected, failed and left."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, TextColumn

from litefront.search.cell_record import CellRecord, CellState
from litefront.search.front import FrontArchive
from litefront.search.stage_calls import StageCall
from litefront.search.study_results import StudyContext
from litefront.search.study_spec import StudySpec
from litefront.search.tables import figure_text

__all__ = ["TerminalProgress"]

_log = logging.getLogger(__name__)


class TerminalProgress:
    """Shows a run on standard error: a bar where that is a terminal, and one line a cell anywhere.

    Args:
        spec: The study.
        console: Where to show it.
    """

    def __init__(self, spec: StudySpec, console: Console | None = None) -> None:
        self.stopped_by: int | None = None
        self._console = console or Console(stderr=True, highlight=False)
        self._objectives = spec.chosen_objectives()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[summary]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None, summary="")
        self._started = time.monotonic()
        self._known = 0
        self._states: dict[str, CellState] = {}
        self._counts: Counter[CellState] = Counter()
        self._front = FrontArchive(self._objectives)

    def __enter__(self) -> TerminalProgress:
        """Shows the bar, and sends warnings through it, so that they do not tear it."""
        handler = RichHandler(
            console=self._console, level=logging.WARNING, show_time=False, show_path=False, show_level=False
        )
        self._handler = handler
        logging.getLogger("litefront").addHandler(handler)
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the bar away."""
        self._bar.stop()
        logging.getLogger("litefront").removeHandler(self._handler)

    def opened(self, context: StudyContext, records: Iterable[CellRecord], known: int, target: int) -> None:
        """Says what the space holds, and what is there already."""
        for record in records:
            self._take(record)
        refused = sum(context.refusals.values())
        self._say(
            f"{context.configurations} configurations: {context.cells} distinct cells can work, {refused} cannot; "
            f"{known} of {target} are there already"
        )
        for reason, count in context.refusals.items():
            self._say(f"  {count} refused: {reason}")
        self._known = known
        self._started = time.monotonic()
        self._bar.update(self._task, total=target, completed=known, summary="")

    def stage_started(self, call: StageCall) -> None:
        """Shows what is at work."""
        params = " ".join(str(value) for value in call.params.values() if not isinstance(value, dict))
        self._bar.update(self._task, description=f"{call.stage} {params}"[:40].ljust(40))

    def cell_finished(self, record: CellRecord) -> None:
        """One line for the cell, and the bar moved on."""
        self._take(record)
        rejected, failed = self._counts[CellState.REJECTED], self._counts[CellState.FAILED]
        done = self._counts[CellState.MEASURED] + rejected
        self._say(f"{done:4d}  {self._line(record)}")
        summary = (
            f"{done} done, {rejected} rejected, {failed} failed, front {len(self._front)}, {self._time_left(done)}"
        )
        self._bar.update(self._task, completed=done, summary=summary)

    def noted(self, text: str) -> None:
        """Says it."""
        self._say(text)

    def stopped(self, signal_number: int) -> None:
        """Remembers what stopped the run."""
        self.stopped_by = signal_number

    def _take(self, record: CellRecord) -> None:
        """Counts a cell, or what has become of it now if it was counted before."""
        if record.cell in self._states:
            self._counts[self._states[record.cell]] -= 1
        self._states[record.cell] = record.state
        self._counts[record.state] += 1
        if record.state is CellState.MEASURED:
            self._front.add(record)
        else:
            self._front.discard(record.cell)

    def _line(self, record: CellRecord) -> str:
        label = record.label()
        if record.state is not CellState.MEASURED:
            return f"{label}: {record.state} - {record.reason}"
        pairs = [(objective, record.figures[objective.figure]) for objective in self._objectives]
        figures = ", ".join(f"{o.called(figure.unit)} {figure_text(o.figure, figure)}" for o, figure in pairs)
        noisy = f" (noisy: {record.noisy})" if record.noisy else ""
        return f"{label}: {figures}{noisy}"

    def _time_left(self, done: int) -> str:
        total = self._bar.tasks[0].total
        finished_here = done - self._known
        if total is None or finished_here < 2:
            return "time left unknown"
        seconds = (time.monotonic() - self._started) / finished_here * max(0.0, total - done)
        return f"about {seconds / 60:.0f} min left" if seconds >= 90 else f"about {seconds:.0f} s left"

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)
        _log.info("%s", line)
