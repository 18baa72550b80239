"""What the commands print: every figure with unit and provenance, relative figures by hand, and formats that parse."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest

from litefront.objectives.catalogue import OBJECTIVES
from litefront.objectives.measurement import Measurement, Provenance
from litefront.search.cell_record import CellState
from litefront.search.membership import Standing
from litefront.search.tables import OutputFormat, figure_text, front_table, record_row, relative_text, render
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.quantization import Quantization
from tests.search.records import make_record

ROWS = [
    {"name": "first", "value": 1.5, "nested": {"a": 1, "deeper": {"b": None}}, "shape": [1, 8]},
    {"name": 'a, "quoted"\nline', "value": -2, "nested": {"a": 2, "deeper": {"b": True}}, "shape": []},
]
BASELINE = make_record("base", accuracy=0.9, size_bytes=2_000_000, latency_ms=4.0, power_mw=0.0)
SMALLER = make_record(
    "small",
    config=DeploymentConfig(quantization=Quantization.INT8, num_threads=2, batch_size=4),
    accuracy=0.875,
    size_bytes=500_000,
    latency_ms=1.0,
    power_mw=3.0,
)
STANDINGS = {"base": Standing(1.0, 1, ()), "small": Standing(0.384, 3, ("other", "another"))}
THREE = [OBJECTIVES[name] for name in ("accuracy", "size", "latency")]


def measurement(value: float, unit: str, **keys: Any) -> Measurement:
    return Measurement(value, unit, Provenance.MEASURED, "made by hand", **keys)


def lines_of(table: str) -> list[str]:
    return [line for line in table.splitlines() if line.strip("─ ")]


def test_json_parses_back_to_the_rows() -> None:
    assert json.loads(render(ROWS, OutputFormat.JSON)) == ROWS


def test_csv_parses_back_to_flat_rows() -> None:
    rows = list(csv.DictReader(io.StringIO(render(ROWS, OutputFormat.CSV))))
    assert rows == [
        {"name": "first", "value": "1.5", "nested.a": "1", "nested.deeper.b": "", "shape": "1; 8"},
        {"name": 'a, "quoted"\nline', "value": "-2", "nested.a": "2", "nested.deeper.b": "True", "shape": ""},
    ]


def test_csv_has_a_column_for_every_key_of_any_row() -> None:
    rows = list(csv.DictReader(io.StringIO(render([{"a": 1}, {"b": 2}], OutputFormat.CSV))))
    assert rows == [{"a": "1", "b": ""}, {"a": "", "b": "2"}]


def test_a_table_has_a_heading_and_a_line_a_row() -> None:
    heading, first, second = lines_of(
        render([{"stage": "base", "runs": 1}, {"stage": "x", "runs": None}], OutputFormat.TABLE)
    )
    assert (heading.split(), first.split(), second.split()) == (["stage", "runs"], ["base", "1"], ["x"])


def test_a_table_is_never_cut_to_the_width_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert "x" * 100 in render([{"column": "x" * 100}], OutputFormat.TABLE)


def test_a_table_shows_brackets_as_they_are() -> None:
    assert "[0, 1) [bold]" in render([{"column": "[0, 1) [bold]"}], OutputFormat.TABLE)


@pytest.mark.parametrize(
    ("output", "text"), [(OutputFormat.JSON, "[]"), (OutputFormat.CSV, ""), (OutputFormat.TABLE, "")]
)
def test_no_rows_are_rendered_too(output: OutputFormat, text: str) -> None:
    assert render([], output) == text


@pytest.mark.parametrize(
    ("name", "figure", "text"),
    [
        ("size_bytes", measurement(999, "bytes"), "999 B"),
        ("size_bytes", measurement(1000, "bytes"), "1 kB"),
        ("size_bytes", measurement(563_712, "bytes"), "563.7 kB"),
        ("size_bytes", measurement(16_860_000, "bytes"), "16.86 MB"),
        ("latency_ms", measurement(0.2234567, "ms"), "0.2235 ms"),
        ("latency_ms", measurement(1234.5678, "ms"), "1235 ms"),
        ("throughput_per_s", measurement(25_000.0, "1/s"), "2.5e+04 1/s"),
        ("power_mw", measurement(0.0, "mW"), "0 mW"),
        ("accuracy", measurement(0.95, "fraction"), "0.9500"),
        ("accuracy", measurement(0.95, "fraction", interval=(0.93, 0.97)), "0.9500 ±0.0200"),
        ("accuracy", measurement(-1.25, "score"), "-1.2500"),
    ],
)
def test_figures_are_shown_with_their_unit(name: str, figure: Measurement, text: str) -> None:
    assert figure_text(name, figure) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [("accuracy", "-2.5 pt"), ("size_bytes", "0.25x"), ("latency_ms", "0.25x"), ("energy_mj", "")],
)
def test_figures_relative_to_the_baseline(name: str, text: str) -> None:
    assert relative_text(name, SMALLER, BASELINE) == text


def test_nothing_is_relative_without_a_baseline_or_to_zero() -> None:
    assert relative_text("size_bytes", SMALLER, None) == ""
    assert relative_text("power_mw", SMALLER, BASELINE) == ""


def test_the_baseline_is_one_of_itself() -> None:
    assert relative_text("size_bytes", BASELINE, BASELINE) == "1.00x"
    assert relative_text("accuracy", BASELINE, BASELINE) == "+0.0 pt"


def test_a_row_holds_parameters_figures_and_what_was_counted() -> None:
    record = replace(SMALLER, facts={"sha256": "abc", "quantized_share": 0.75, "delegated_nodes": 3, "nodes": 5})
    row = record_row(record, BASELINE, ["accuracy", "size_bytes", "energy_mj"])
    assert (row["quantization"], row["num_threads"], row["batch_size"], row["state"]) == ("int8", 2, 4, "measured")
    assert row["figures"].keys() == {"accuracy", "size_bytes"}
    assert row["figures"]["size_bytes"] == {
        "value": 500_000,
        "unit": "bytes",
        "provenance": "measured",
        "source": "made by hand",
    }
    assert row["relative"] == {"accuracy": pytest.approx(-0.025), "size_bytes": 0.25}
    assert (row["sha256"], row["quantized_share"], row["delegated_nodes"], row["nodes"]) == ("abc", 0.75, 3, 5)


def test_a_row_of_a_failed_cell_has_its_reason() -> None:
    row = record_row(make_record(state=CellState.FAILED), None, ["accuracy"])
    assert (row["state"], row["reason"], row["figures"], row["relative"]) == ("failed", "made to fail", {}, {})


def test_rows_are_plain_json() -> None:
    row = record_row(SMALLER, BASELINE, sorted(SMALLER.figures))
    assert json.loads(render([row], OutputFormat.JSON)) == [row]


def test_the_front_says_for_each_figure_where_it_comes_from() -> None:
    modelled = replace(SMALLER.figures["latency_ms"], provenance=Provenance.MODELLED)
    record = replace(SMALLER, figures={**SMALLER.figures, "latency_ms": modelled})
    heading = lines_of(front_table([BASELINE, record], BASELINE, THREE, STANDINGS))[0]
    assert "accuracy (measured)" in heading and "latency (measured, modelled)" in heading


def test_the_front_shows_each_figure_beside_the_baseline() -> None:
    heading, first, second = lines_of(front_table([BASELINE, SMALLER], BASELINE, THREE, STANDINGS))
    assert "accuracy (measured)" in heading
    assert "2 MB" in first and "1.00x" in first
    assert "int8" in second and "500 kB" in second and second.count("0.25x") == 2 and "-2.5 pt" in second


def test_the_front_without_a_baseline_has_figures_only() -> None:
    table = front_table([SMALLER], None, THREE, STANDINGS)
    assert "vs base" not in table and "500 kB" in table


def test_the_columns_of_the_front_stand_below_their_headings() -> None:
    heading, *rows = lines_of(front_table([BASELINE, SMALLER], BASELINE, THREE, STANDINGS))
    end = heading.index("size (measured)") + len("size (measured)")
    assert [row[:end].rstrip()[-2:] for row in rows] == ["0x", "5x"]


def test_the_front_says_how_sure_each_place_is() -> None:
    heading, first, second = lines_of(front_table([BASELINE, SMALLER], BASELINE, THREE, STANDINGS))
    assert heading.split()[-3:] == ["p(front)", "timings", "ties"]
    assert first.split()[-2:] == ["100%", "1"]
    assert second.split()[-4:] == ["38%", "3", "≈", "2"]


def test_the_front_has_no_column_of_ties_where_there_are_none() -> None:
    heading, first = lines_of(front_table([BASELINE], BASELINE, THREE, STANDINGS))
    assert heading.split()[-2:] == ["p(front)", "timings"]
    assert first.split()[-2:] == ["100%", "1"]
