"""What the commands print: rows of plain values, as a table, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from litefront.objectives.catalogue import Objective
from litefront.objectives.measurement import Measurement
from litefront.search.cell_record import CellRecord
from litefront.spaces.deployment_config import BASELINE
from litefront.spaces.search_space import DIMENSIONS

if TYPE_CHECKING:
    from litefront.search.membership import Standing

__all__ = [
    "OutputFormat",
    "figure_text",
    "front_table",
    "record_row",
    "relative_text",
    "render",
    "shown_parameters",
    "value_text",
]

_PREFIXES = ((1e6, "M"), (1e3, "k"))


class OutputFormat(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def render(rows: Sequence[Mapping[str, Any]], output: OutputFormat, *, title: str = "") -> str:
    """Renders rows that share their keys.

    Args:
        rows: The rows; what a table shows is each value's text, a nested value is flattened for CSV.
        output: How.
        title: Stands above a table.
    """
    if output is OutputFormat.JSON:
        return json.dumps(list(rows), indent=1)
    flat = [_flattened(row) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    if output is OutputFormat.CSV:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
        return buffer.getvalue().rstrip("\n")
    return _table(rows, title)


def record_row(record: CellRecord, baseline: CellRecord | None, figures: Sequence[str]) -> dict[str, Any]:
    """A cell as a row of plain values: parameters, figures with provenance, and figures relative to the baseline."""
    return {
        "cell": record.cell,
        **record.config.params(),
        "state": record.state.value,
        "figures": {name: record.figures[name].to_json() for name in figures if name in record.figures},
        "relative": {name: relative for name in figures if (relative := _relative(name, record, baseline)) is not None},
        "prunable_sparsity": record.facts.get("prunable_sparsity"),
        "quantized_share": record.facts.get("quantized_share"),
        "delegated_nodes": record.facts.get("delegated_nodes"),
        "nodes": record.facts.get("nodes"),
        "noisy": record.noisy,
        "reason": record.reason,
        "sha256": record.facts.get("sha256"),
    }


_RARE_PARAMETERS = frozenset({"clusters", "calibration", "calibration_rows", "storage"})


def shown_parameters(records: Sequence[CellRecord]) -> list[str]:
    """The dimensions that are shown of these cells: a rare one only where a cell leaves the baseline's choice."""

    def is_chosen(name: str) -> bool:
        return any(getattr(record.config, name) != getattr(BASELINE, name) for record in records)

    return [name for name in DIMENSIONS if name not in _RARE_PARAMETERS or is_chosen(name)]


def front_table(
    records: Sequence[CellRecord],
    baseline: CellRecord | None,
    objectives: Sequence[Objective],
    standings: Mapping[str, Standing],
    confirmed: Mapping[str, str] | None = None,
) -> str:
    """The cells as a person reads them: each figure with its unit, and behind it how it compares with the baseline.

    Args:
        records: The cells, in the order of the lines.
        baseline: What they are compared with.
        objectives: The figures to show.
        standings: How sure each cell's place on the front is, by cell.
        confirmed: The latency of the cells that were measured again, as text, by cell.
    """
    rows = []
    parameters = shown_parameters(records)
    any_ties = any(standings[record.cell].ties for record in records)
    for record in records:
        row = {name: str(getattr(record.config, name)) for name in parameters} | {"delegate": record.delegate_text}
        for objective in objectives:
            text = figure_text(objective.figure, record.figures[objective.figure])
            row[objective.figure] = f"{text} {relative_text(objective.figure, record, baseline):>7}".rstrip()
            if objective.figure == "accuracy" and "churn" in record.figures:
                row["churn"] = figure_text("churn", record.figures["churn"])
        standing = standings[record.cell]
        row |= {"p(front)": f"{standing.probability:.0%}", "timings": str(standing.timings)}
        if any_ties:
            row["ties"] = f"≈ {len(standing.ties)}" if standing.ties else ""
        if confirmed:
            row["confirmed"] = confirmed.get(record.cell, "")
        rows.append(row)
    return _table(rows, "", headings=_headings(objectives, records))


def figure_text(name: str, figure: Measurement) -> str:
    """A figure as text, with its unit, and its interval's half-width where it has one."""
    half_width = _half_width_text(figure) if name == "accuracy" else ""
    return value_text(name, figure.value, figure.unit) + half_width


def value_text(name: str, value: float, unit: str) -> str:
    """A figure's value as text: four digits, bytes in kB or MB."""
    if name == "accuracy":
        return f"{value:.4f}"
    if name == "churn":
        return f"{value:.1%}"
    if unit != "bytes":
        return f"{value:.4g} {unit}"
    scale, prefix = next(((size, prefix) for size, prefix in _PREFIXES if value >= size), (1.0, ""))
    return f"{value / scale:.4g} {prefix}B"


def relative_text(name: str, record: CellRecord, baseline: CellRecord | None) -> str:
    """A figure relative to the baseline: points for accuracy, a ratio for the rest; empty without a baseline."""
    relative = _relative(name, record, baseline)
    if relative is None:
        return ""
    return f"{100 * relative:+.1f} pt" if name == "accuracy" else f"{relative:.2f}x"


def _relative(name: str, record: CellRecord, baseline: CellRecord | None) -> float | None:
    """Difference in accuracy, ratio in all else."""
    if baseline is None or name not in baseline.figures or name not in record.figures:
        return None
    ours, theirs = record.value(name), baseline.value(name)
    if name == "accuracy":
        return ours - theirs
    return ours / theirs if theirs else None


def _half_width_text(figure: Measurement) -> str:
    return f" ±{(figure.interval[1] - figure.interval[0]) / 2:.4f}" if figure.interval else ""


def _headings(objectives: Sequence[Objective], records: Sequence[CellRecord]) -> dict[str, str]:
    """Column headings that say where a figure comes from."""
    headings = {"num_threads": "threads", "batch_size": "batch"}
    for objective in objectives:
        figures = [record.figures[objective.figure] for record in records]
        provenances = sorted({figure.provenance.value for figure in figures})
        headings[objective.figure] = f"{objective.called(figures[0].unit)} ({', '.join(provenances)})"
    return headings


def _flattened(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            flat |= _flattened(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            flat[f"{prefix}{name}"] = "; ".join(map(str, value))
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _table(rows: Sequence[Mapping[str, Any]], title: str, headings: Mapping[str, str] | None = None) -> str:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    headings = headings or {}
    table = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in rows[0] if rows else ():
        right = all(_is_numeric_text(row.get(column)) for row in rows)
        table.add_column(headings.get(column, column), justify="right" if right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    buffer = io.StringIO()
    # As wide as it takes: a terminal may scroll, a cut figure is lost. Without markup, a reason may hold brackets.
    Console(file=buffer, width=400, force_terminal=False, markup=False, emoji=False).print(table)
    lines = [line.rstrip() for line in buffer.getvalue().splitlines()]
    return "\n".join(line for line in lines if line)


def _is_numeric_text(value: object) -> bool:
    return str(value or "0").lstrip("+-")[:1].isdigit()
