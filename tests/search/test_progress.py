"""What a person sees of a run, on a terminal and where there is none."""

from __future__ import annotations

import dataclasses
import io
import logging
import signal

import pytest
from rich.console import Console

from litefront.search.cell_record import CellState
from litefront.search.progress import TerminalProgress
from litefront.search.stage_calls import StageCall
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.sparsity import Sparsity
from tests.search.records import CONTEXT, make_record, make_spec

BASELINE = make_record("a", accuracy=0.95, size_bytes=4000, latency_ms=2.0)
WORSE = make_record("b", config=DeploymentConfig(num_threads=2), accuracy=0.9, size_bytes=4000, latency_ms=3.0)
REJECTED = make_record("c", config=DeploymentConfig(batch_size=4), state=CellState.REJECTED)
FAILED = make_record("d", config=DeploymentConfig(sparsity=Sparsity(0.5)), state=CellState.FAILED)


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


def progress_on(screen: io.StringIO, *, terminal: bool = False) -> TerminalProgress:
    console = Console(file=screen, force_terminal=terminal, width=160, highlight=False, color_system=None)
    return TerminalProgress(make_spec(), console)


def test_opening_says_what_the_space_holds_and_why_the_rest_cannot_work(screen: io.StringIO) -> None:
    with progress_on(screen) as progress:
        progress.opened(CONTEXT, [], known=1, target=4)
    first, second = screen.getvalue().splitlines()
    assert first == "6 configurations: 4 distinct cells can work, 2 cannot; 1 of 4 are there already"
    assert second == "  2 refused: too many threads"


def test_each_cell_has_one_line_with_its_figures(screen: io.StringIO) -> None:
    with progress_on(screen) as progress:
        progress.opened(CONTEXT, [], known=0, target=4)
        before = len(screen.getvalue())
        progress.cell_finished(BASELINE)
    line = screen.getvalue()[before:]
    assert line == f"   1  {BASELINE.config.label()}: accuracy 0.9500, size 4 kB, latency 2 ms\n"


@pytest.mark.parametrize("record", [REJECTED, FAILED])
def test_a_cell_without_figures_has_its_reason(screen: io.StringIO, record: object) -> None:
    with progress_on(screen) as progress:
        progress.cell_finished(record)  # type: ignore[arg-type]
    assert screen.getvalue().rstrip().endswith(f"{record.state} - made to fail")  # type: ignore[attr-defined]


def test_a_noisy_figure_is_said_to_be_one(screen: io.StringIO) -> None:
    record = dataclasses.replace(BASELINE, noisy="other work ran beside the measurement")
    with progress_on(screen) as progress:
        progress.cell_finished(record)
    assert screen.getvalue().rstrip().endswith("(noisy: other work ran beside the measurement)")


def test_failed_cells_do_not_count_as_done(screen: io.StringIO) -> None:
    with progress_on(screen) as progress:
        progress.opened(CONTEXT, [BASELINE, REJECTED, FAILED], known=2, target=4)
        progress.cell_finished(WORSE)
    assert screen.getvalue().splitlines()[-1].startswith("   3  ")


def test_the_bar_sums_up_what_is_done_rejected_failed_and_on_the_front(screen: io.StringIO) -> None:
    with progress_on(screen, terminal=True) as progress:
        progress.opened(CONTEXT, [BASELINE, REJECTED, FAILED], known=2, target=4)
        progress.stage_started(StageCall("quantized", {"quantization": "int8"}))
        progress.cell_finished(WORSE)
        progress._bar.refresh()
    shown = screen.getvalue()
    assert "quantized int8" in shown
    assert "3 done, 1 rejected, 1 failed, front 1, " in shown


def test_a_cell_that_failed_counts_once_it_is_there(screen: io.StringIO) -> None:
    tried_again = dataclasses.replace(BASELINE, cell=FAILED.cell, config=FAILED.config)
    with progress_on(screen, terminal=True) as progress:
        progress.opened(CONTEXT, [REJECTED, FAILED], known=1, target=4)
        for record in (WORSE, BASELINE, tried_again):
            progress.cell_finished(record)
        progress._bar.refresh()
    # The baseline beats the worse one, the cell that was tried again equals it.
    assert "4 done, 1 rejected, 0 failed, front 2, " in screen.getvalue()


def test_a_cell_that_is_measured_again_is_no_further_cell(screen: io.StringIO) -> None:
    again = dataclasses.replace(BASELINE, figures={**BASELINE.figures, "latency_ms": WORSE.figures["latency_ms"]})
    with progress_on(screen, terminal=True) as progress:
        progress.opened(CONTEXT, [], known=0, target=4)
        progress.cell_finished(BASELINE)
        progress.cell_finished(again)
        progress._bar.refresh()
    assert "1 done, 0 rejected, 0 failed, front 1, " in screen.getvalue()


def test_without_a_terminal_there_are_no_control_codes(screen: io.StringIO) -> None:
    with progress_on(screen) as progress:
        progress.opened(CONTEXT, [], known=0, target=4)
        progress.stage_started(StageCall("base"))
        progress.cell_finished(BASELINE)
    assert "\x1b" not in screen.getvalue() and "\r" not in screen.getvalue()


def test_a_reason_with_brackets_is_shown_as_it_is(screen: io.StringIO) -> None:
    record = dataclasses.replace(FAILED, reason="shape [1, 8] [bold] does not fit")
    with progress_on(screen) as progress:
        progress.cell_finished(record)
    assert "shape [1, 8] [bold] does not fit" in screen.getvalue()


def test_warnings_go_through_the_bar_and_no_handler_is_left(screen: io.StringIO) -> None:
    logger = logging.getLogger("litefront")
    before = list(logger.handlers)
    with progress_on(screen):
        logging.getLogger("litefront.search.store").warning("a record [of one] is damaged")
    assert "a record [of one] is damaged" in screen.getvalue()
    assert logger.handlers == before


def test_what_stopped_the_run_is_remembered(screen: io.StringIO) -> None:
    progress = progress_on(screen)
    assert progress.stopped_by is None
    progress.stopped(signal.SIGTERM)
    assert progress.stopped_by == signal.SIGTERM
