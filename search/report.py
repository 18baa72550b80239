"""Writes the report: one self-contained page that shows a run as it stands.

Everything that the page shows is worked out here, as plain JSON, where it can be tested without a browser; the page
(`report_page.html`, `.css`, `.js`) only lays it out. It loads nothing from anywhere, so it can be mailed or archived.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import Any

from litefront.objectives.catalogue import FIGURES
from litefront.objectives.measurement import FIDELITY, Measurement
from litefront.search.cell_record import CellRecord, CellState
from litefront.search.choice_effects import choice_effects
from litefront.search.confirmation import Confirmation, confirmed_text, soaked_text
from litefront.search.convergence import hypervolume_curve, latest_gain
from litefront.search.front import pareto_front
from litefront.search.ledger import StageTotals, totals_by_stage
from litefront.search.membership import Standing, standings
from litefront.search.run_directory import write_atomically
from litefront.search.run_status import gain_text, gate_texts, seconds_per_cell
from litefront.search.study_results import StudyResults
from litefront.search.study_spec import TierSpec
from litefront.search.tables import shown_parameters
from litefront.search.tiers import Pick, at_load, pick_all
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.search_space import DIMENSIONS

__all__ = ["report_data", "write_report"]


def write_report(results: StudyResults, path: Path) -> None:
    """Writes the report of a run as one html file that needs no network.

    Args:
        results: The run; it may be unfinished or empty.
        path: The file to write; a reader finds the old one or the new one, never a part.

    Raises:
        StoreError: If the disk does not take it.
    """
    from plotly.offline import get_plotlyjs

    # `<` is the only character that could end the script element that holds the data.
    data = json.dumps(report_data(results), allow_nan=False).replace("<", "\\u003c")
    parts = {
        "title": html.escape(results.spec.study),
        "style": _page_part("css"),
        "script": _page_part("js"),
        "plotly": get_plotlyjs(),
        "data": data,
    }
    # One pass: what is put in is never searched for a place to put something in.
    write_atomically(path, re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _page_part("html")))


def report_data(results: StudyResults) -> dict[str, Any]:
    """Everything that the page shows, as plain JSON values.

    Values are raw, in the figures' own units; what ends in `text` is the same for reading.
    """
    baseline = results.baseline
    choices = {record.cell for record in results.measured}
    front = {record.cell for record in pareto_front(results.measured, results.spec.chosen_objectives())}
    known = standings(results.measured, results.spec)
    labels = {record.cell: record.label() for record in results.measured}
    curve = hypervolume_curve(results)
    return {
        "study": _study(results) | {"hypervolume": curve[-1] if curve else None},
        "objectives": [objective.figure for objective in results.spec.chosen_objectives()],
        "figures": _figure_columns(results),
        "parameters": [
            {"name": name, "values": _values(name, results.records)} for name in shown_parameters(results.records)
        ],
        "baseline": baseline.cell if baseline else None,
        "cells": [
            _cell(record, baseline)
            | {"choice": record.cell in choices, "front": record.cell in front}
            | {"standing": _standing(known[record.cell], labels) if record.cell in known else None}
            for record in results.records
        ],
        "picks": [_pick(pick, results) for pick in pick_all(results)],
        "refusals": [{"reason": reason, "count": count} for reason, count in results.context.refusals.items()],
        "gates": gate_texts(results),
        "effects": [{"text": effect.text(), "pays": bool(effect.gains)} for effect in choice_effects(results)],
        "convergence": _convergence(curve, results),
        "stages": [_stage(name, totals) for name, totals in totals_by_stage(results.ledger).items()],
    }


def _page_part(kind: str) -> str:
    return resources.files(__package__).joinpath(f"report_page.{kind}").read_text(encoding="utf-8")


def _study(results: StudyResults) -> dict[str, Any]:
    context = results.context
    states = [record.state for record in results.records]
    counts = {
        "measured": len(results.measured),
        "rejected": states.count(CellState.REJECTED),
        "failed": states.count(CellState.FAILED),
        # A baseline that the space does not hold, or cells of a space that was larger in an earlier run.
        "outside": states.count(CellState.MEASURED) - len(results.measured),
    }
    load = results.spec.load
    return {
        "name": results.spec.study,
        "started_text": _time_text(context.started_at),
        "last_cell_text": _time_text(max((record.finished_at for record in results.records), default="")),
        "device": dict(context.device) | {"name": results.spec.device_name},
        "versions": dict(context.versions),
        "counts": counts,
        "cells": context.cells,
        "configurations": context.configurations,
        "baseline_text": DeploymentConfig.from_params(context.baseline).label(),
        "samples_per_s": load.samples_per_s if load else None,
    }


def _figure_columns(results: StudyResults) -> list[dict[str, Any]]:
    """What each figure is; the study's objectives come first."""
    obtained = {name for record in results.records for name in record.figures}
    chosen = [objective.figure for objective in results.spec.chosen_objectives()]
    further = [name for name in FIGURES if name in obtained and name not in chosen]
    return [_figure_column(name, results) for name in chosen + further]


def _figure_column(name: str, results: StudyResults) -> dict[str, Any]:
    figures = [record.figures[name] for record in results.records if name in record.figures]
    title, _, detail = FIGURES[name].title.partition(", ")
    if figures and FIGURES[name].called(figures[0].unit) != FIGURES[name].name:
        title, detail = FIGURES[name].called(figures[0].unit), "agreement with the float model"
    provenances = {figure.provenance.value for figure in figures}
    return {
        "name": name,
        "title": title,
        "detail": detail,
        "unit": figures[0].unit if figures else None,
        "direction": FIGURES[name].direction.value,
        # One tag at the column's head will do as long as all its figures were obtained alike.
        "provenance": provenances.pop() if len(provenances) == 1 else None,
        "everywhere": bool(results.measured) and all(name in record.figures for record in results.measured),
    }


def _values(parameter: str, records: Sequence[CellRecord]) -> list[Any]:
    """The values that a parameter takes, numbers in their order and names in that of their declaration."""
    taken = {getattr(record.config, parameter) for record in records}
    default = DIMENSIONS[parameter].default
    if isinstance(default, Enum):
        return [choice.value for choice in type(default) if choice in taken]
    return [getattr(choice, "value", choice) for choice in sorted(taken)]


def _cell(record: CellRecord, baseline: CellRecord | None) -> dict[str, Any]:
    references = baseline.figures if baseline else {}
    return {
        "cell": record.cell,
        "label": record.label(),
        "params": record.config.params(),
        "state": record.state.value,
        "figures": _figures(record.figures, record.figures, references),
        "facts": dict(record.facts),
        "reason": record.reason,
        "noisy": record.noisy,
    }


def _standing(standing: Standing, labels: Mapping[str, str]) -> dict[str, Any]:
    return {
        "probability": standing.probability,
        "probability_text": f"{standing.probability:.0%}",
        "timings": standing.timings,
        "ties": [labels[cell] for cell in standing.ties],
    }


def _convergence(curve: Sequence[float], results: StudyResults) -> dict[str, Any]:
    gain = latest_gain(curve)
    text = (
        gain_text(gain, seconds_per_cell(results)) if gain else "Too few cells are measured to say what more would add"
    )
    return {"curve": list(curve), "text": text[:1].upper() + text[1:] + "."}


def _pick(pick: Pick, results: StudyResults) -> dict[str, Any]:
    tier, chosen = results.spec.tiers[pick.tier], pick.chosen
    names = dict.fromkeys([objective.figure for objective in results.spec.chosen_objectives()] + list(tier.limits))
    references = _baseline_figures(tier, results)
    return {
        "tier": pick.tier,
        "samples_per_s": tier.samples_per_s,
        "cell": chosen.cell if chosen else None,
        "label": chosen.label() if chosen else None,
        "figures": _figures(names, chosen.figures, references) if chosen else {},
        "limits": {name: _text(tier.limits[name], chosen.figures[name].unit) for name in tier.limits} if chosen else {},
        "noisy": chosen.noisy if chosen else None,
        "reason": pick.reason,
        "runner_up": pick.runner_up.label() if pick.runner_up else None,
        "trade": pick.trade,
        "eligible": pick.eligible,
        "confirmed": pick.confirmed and _confirmed(pick.confirmed),
        "broken": pick.broken,
    }


def _confirmed(confirmation: Confirmation) -> dict[str, Any]:
    """What measuring a pick again gave, as texts."""
    return {
        "text": confirmed_text(confirmation),
        "soaked_text": soaked_text(confirmation) if confirmation.soaked else None,
        "measured_text": _time_text(confirmation.measured_at),
    }


def _baseline_figures(tier: TierSpec, results: StudyResults) -> Mapping[str, Measurement]:
    """The baseline's figures, with power for the tier's own load: powers for two loads do not compare."""
    baseline = results.baseline
    return at_load(baseline, tier.samples_per_s, results.spec).figures if baseline else {}


def _figures(
    names: Iterable[str], figures: Mapping[str, Measurement], references: Mapping[str, Measurement]
) -> dict[str, dict[str, Any]]:
    """Each figure with its texts and relative to the reference of the same name, if there is one."""
    return {name: _figure(name, figures[name], references.get(name)) for name in names}


def _figure(name: str, figure: Measurement, reference: Measurement | None) -> dict[str, Any]:
    ends = figure.interval
    interval_text = f"{_text(ends[0], figure.unit)} to {_text(ends[1], figure.unit)}" if ends else None
    relative, relative_text = _relative(name, figure, reference)
    return figure.to_json() | {
        "text": _text(figure.value, figure.unit),
        "interval_text": interval_text,
        "relative": relative,
        "relative_text": relative_text,
    }


def _relative(name: str, figure: Measurement, reference: Measurement | None) -> tuple[float | None, str | None]:
    """Accuracy as a difference, in percentage points if it is a fraction; any other figure as a ratio."""
    if reference is None:
        return None, None
    if name == "accuracy":
        difference = figure.value - reference.value
        in_points = f"{100 * difference:+.2f} points"
        return difference, in_points if figure.unit in ("fraction", FIDELITY) else f"{difference:+.4f}"
    if reference.value <= 0:
        return None, None
    ratio = figure.value / reference.value
    return ratio, f"{ratio:.2f}x" if ratio >= 0.1 else f"{ratio:.2g}x"


def _stage(name: str, totals: StageTotals) -> dict[str, Any]:
    return {
        "stage": name,
        "runs": totals.runs,
        "hits": totals.hits,
        "failures": totals.failures,
        "spent_s": totals.seconds_spent,
        "spent_text": _duration_text(totals.seconds_spent),
        "saved_s": totals.seconds_saved,
        "saved_text": _duration_text(totals.seconds_saved),
    }


def _text(value: float, unit: str) -> str:
    """A value with its unit, as one reads it."""
    if unit in ("fraction", "score", FIDELITY):
        return f"{value:.4f}"
    if unit == "bytes":
        for factor, prefixed in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
            if abs(value) >= factor:
                return f"{_three_digits(value / factor)} {prefixed}"
        return f"{value:.0f} B"
    return f"{_three_digits(value)} {'/s' if unit == '1/s' else unit}".rstrip()


def _three_digits(value: float) -> str:
    """Three significant digits, never in exponents unless the value is tiny."""
    if value == 0:
        return "0"
    decimals = 2 - math.floor(math.log10(abs(value)))
    return f"{value:,.{max(0, decimals)}f}" if decimals < 7 else f"{value:.2e}"


def _duration_text(seconds: float) -> str:
    if seconds < 60:
        return f"{_three_digits(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _time_text(iso_time: str) -> str:
    if not iso_time:
        return ""
    return f"{datetime.fromisoformat(iso_time).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
