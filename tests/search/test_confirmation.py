"""Figures that a cell was confirmed by: how they are kept, and what is said of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from litefront.objectives.measurement import Measurement, Provenance
from litefront.objectives.timing import Mode
from litefront.search.confirmation import Confirmation, confirmed_text, read_confirmations, soaked_text
from litefront.search.outputs import front_rows, front_text
from litefront.search.printing import print_picks
from litefront.search.report import report_data
from litefront.search.run_directory import RunDirectory
from litefront.search.study_results import StudyResults
from litefront.search.tiers import pick, pick_row
from tests.search.records import append_json_line, make_record, make_results


def ms(value: float) -> Measurement:
    return Measurement(value, "ms", Provenance.MEASURED, "made by hand")


def confirmation(cell: str = "small", *, p50_ms: float = 2.0, **changes: Any) -> Confirmation:
    made = Confirmation(
        cell,
        Mode.SUBMIT,
        {"latency_ms": ms(p50_ms), "latency_p90_ms": ms(p50_ms + 0.5)},
        beside_ms=10.0,
        facts={"calls": 2048, "seconds": 61.2, "before_soak_ms": 2.0},
    )
    return replace(made, **changes)


SOAKED = {"soak_s": 300.0, "soaked": {"latency_ms": ms(2.5), "latency_p90_ms": ms(2.75)}}


def results(*confirmations: Confirmation, **tier: Any) -> StudyResults:
    """Two cells; the tier picks the small one."""
    records = [
        make_record("baseline", accuracy=0.9, size_bytes=1000, latency_ms=10),
        make_record("small", config=SMALL, accuracy=0.9, size_bytes=250, latency_ms=2),
    ]
    tiers = {"phone": {"device": "host", "prefer": "size"} | tier}
    known = {each.cell: each for each in confirmations}
    return replace(make_results(records, tiers=tiers, load={"samples_per_s": 30}), confirmations=known)


SMALL = replace(make_record().config, num_threads=2)


def test_a_confirmation_goes_through_json_whole() -> None:
    for made in (confirmation(), confirmation(noisy="wide", **SOAKED)):
        assert Confirmation.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_the_latest_confirmation_of_a_cell_counts_and_those_of_another_context_do_not(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    assert read_confirmations(directory, "now") == {}
    for context, p50_ms in (("now", 1.0), ("now", 3.0), ("before", 9.0)):
        line = {"context": context, "confirmation": confirmation(p50_ms=p50_ms).to_json()}
        append_json_line(directory.confirmations, line)
    with open(directory.confirmations, "a") as file:
        file.write('{"context": "now", "confirm')
    assert read_confirmations(directory, "now") == {"small": confirmation(p50_ms=3.0)}


def test_the_text_says_p50_p90_ratio_and_mode() -> None:
    text = confirmed_text(confirmation())
    assert text == "p50 2 ms, p90 2.5 ms, 0.20x the baseline (submit: 2,048 calls in 61 s)"
    assert confirmed_text(confirmation(noisy="wide")).endswith(", noisy: wide")
    # The baseline is compared with nothing.
    assert "baseline" not in confirmed_text(confirmation(beside_ms=None))
    assert soaked_text(confirmation(**SOAKED)) == "p50 2.5 ms, p90 2.75 ms, 1.25x, after 300 s of calls"


def test_front_shows_confirmed_figures_where_there_are_any() -> None:
    assert "confirmed" not in front_text(results())
    assert "p50 2 ms, p90 2.5 ms (submit)" in front_text(results(confirmation()))
    confirmed = {row["cell"]: row["confirmed"] for row in front_rows(results(confirmation()))}
    assert confirmed["small"] == {"mode": "submit", "latency_ms": 2.0, "latency_p90_ms": 2.5, "noisy": None}
    assert all(found == {} for cell, found in confirmed.items() if cell != "small")


@pytest.mark.parametrize(
    ("tier", "rule"),
    [
        ({"limits": {"latency_ms": 3}}, "latency <= 3 ms"),
        ({"limits": {"latency_p90_ms": 4.4}}, None),  # the search has no p90 of these cells, so none is eligible
        ({"limits": {"size_bytes": 300, "latency_ms": 3}}, "latency <= 3 ms"),
        ({"samples_per_s": 300}, "a load of 300 samples/s"),
        ({"limits": {"latency_ms": 4}}, None),
        ({}, None),
    ],
)
def test_a_pick_whose_confirmed_figures_break_its_tier_says_which_rule(tier: dict[str, Any], rule: str | None) -> None:
    held, broken = (pick(results(confirmation(p50_ms=p50), **tier), "phone") for p50 in (2.0, 4.0))
    assert (held.broken, broken.broken) == (None, rule)
    assert pick_row(broken, results(**tier))["confirmed_breaks"] == rule


def test_a_pick_that_breaks_its_limit_is_said_loudly(capsys: pytest.CaptureFixture[str]) -> None:
    found = results(confirmation(p50_ms=4.0, **SOAKED), limits={"latency_ms": 3})
    print_picks(found, [pick(found, "phone")])
    shown = capsys.readouterr().out
    assert "confirmed: p50 4 ms" in shown and "sustained: p50 2.5 ms" in shown
    assert "WARNING: by its confirmed figures this pick breaks latency <= 3 ms" in shown
    (card,) = report_data(found)["picks"]
    assert (card["broken"], card["confirmed"]["text"][:8]) == ("latency <= 3 ms", "p50 4 ms")


def test_nothing_is_said_of_a_pick_that_was_not_measured_again() -> None:
    (card,) = report_data(results())["picks"]
    assert (card["confirmed"], card["broken"]) == (None, None)
    assert pick_row(pick(results(), "phone"), results())["confirmed"] is None
