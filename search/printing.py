"""What the commands print for people; results on standard output, warnings on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from litefront.objectives.catalogue import FIGURES
from litefront.search.cell_record import CellRecord
from litefront.search.choice_effects import choice_effects
from litefront.search.confirmation import Confirmation, confirmed_text, soaked_text
from litefront.search.outputs import front_rows, front_text
from litefront.search.run_status import savings_text
from litefront.search.study_results import StudyResults
from litefront.search.tables import OutputFormat, figure_text, relative_text, render, value_text
from litefront.search.tiers import Pick, baseline_at_load, pick_all

__all__ = ["print_confirmation", "print_front", "print_picks", "print_summary", "warn_of_broken", "with_headings"]


def with_headings(runs: Sequence[StudyResults]) -> Iterator[StudyResults]:
    """Each run; above what is printed of it its device, where there are several."""
    for number, results in enumerate(runs):
        if len(runs) > 1:
            print("\n" * bool(number) + f"device {results.spec.device_name}")
        yield results


def print_front(results: StudyResults, chosen: OutputFormat) -> None:
    """The front, in the form that was asked for."""
    print(front_text(results) if chosen is OutputFormat.TABLE else render(front_rows(results), chosen))


def print_summary(results: StudyResults) -> None:
    """What stands below the front after a run: the picks, what the stages saved, and where the report is."""
    print()
    print_picks(results, pick_all(results))
    for effect in choice_effects(results):
        if not effect.gains:
            print(effect.text())
    print(savings_text(results))
    print(f"report: {results.directory.report}")


def print_picks(results: StudyResults, picks: Sequence[Pick]) -> None:
    """Each pick: what it is, what it gives, why, and what the runner-up would give."""
    for entry in picks:
        baseline = baseline_at_load(results, entry.tier)
        if entry.chosen is None:
            print(f"{entry.tier}: no pick - {entry.reason}\n")
            continue
        print(f"{entry.tier}: {entry.chosen.label()}")
        for objective in results.spec.chosen_objectives():
            figure = entry.chosen.figures[objective.figure]
            relative = relative_text(objective.figure, entry.chosen, baseline)
            value = figure_text(objective.figure, figure)
            print(f"    {objective.called(figure.unit):10} {value:>18}  {relative:>8}  {figure.provenance}")
        if entry.confirmed is not None:
            print(f"    confirmed: {confirmed_text(entry.confirmed)}")
            if entry.confirmed.soaked:
                print(f"    sustained: {soaked_text(entry.confirmed)}")
            if entry.broken is not None:
                print(f"    WARNING: by its confirmed figures this pick breaks {entry.broken}")
        print(f"    why: {entry.reason}")
        if entry.runner_up is not None:
            print(f"    runner-up: {entry.runner_up.label()}, which would give {entry.trade}")
        print()


def print_confirmation(record: CellRecord, confirmation: Confirmation) -> None:
    """What measuring a cell again gave, beside what the search had found."""
    print(record.label())
    for name, figure in confirmation.figures.items():
        before = record.figures.get(name)
        searched = f"  {value_text(name, before.value, before.unit)} in the search" if before else ""
        print(f"    {FIGURES[name].name:12} {value_text(name, figure.value, figure.unit):>18}{searched}")
    print(f"    in short     {confirmed_text(confirmation)}")
    if confirmation.soaked:
        print(f"    sustained    {soaked_text(confirmation)}")


def warn_of_broken(entry: Pick) -> None:
    """A pick that its confirmed figures do not bear out."""
    print(
        f"WARNING: the pick of {entry.tier} breaks {entry.broken} by its confirmed figures; `litefront pick` goes by "
        "those of the search: narrow the limit, or measure the runner-up.",
        file=sys.stderr,
    )
