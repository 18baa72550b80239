"""What the report says, by hand-derived numbers, and what a real browser makes of the page."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from litefront.objectives.measurement import Measurement, Provenance
from litefront.search.cell_record import CellRecord, CellState
from litefront.search.report import report_data, write_report
from litefront.search.study_results import StageEntry, StudyResults
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.quantization import Quantization
from litefront.spaces.sparsity import Sparsity
from tests.search.records import make_record, make_results

HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
HOSTILE_TIER = "<b>edge</b> & <img src=x>"
INT8 = DeploymentConfig(quantization=Quantization.INT8)


def config(**parameters: Any) -> DeploymentConfig:
    return dataclasses.replace(INT8, **parameters)


def cells() -> list[CellRecord]:
    """A baseline, a cell that beats it, one that both beat, one rejected for its accuracy, one that failed.

    Powers are for 30 samples/s by the formula of `objectives/power.py`, one busy core, a model that fits the cache:
    30 * (1.25 * 4 W * 2 ms + 0.532 mJ) = 315.96 mW, 30 * (1.05 * 4 W * 0.5 ms + 0.532 mJ) = 78.96 mW.
    """
    float32 = make_record("float32", accuracy=0.96, size_bytes=564_000, latency_ms=2.0, power_mw=315.96)
    int8 = make_record("int8", config=INT8, accuracy=0.955, size_bytes=153_000, latency_ms=0.5, power_mw=78.96)
    batched = make_record(
        "batched", config=config(batch_size=4), accuracy=0.95, size_bytes=153_500, latency_ms=2.5, power_mw=90.0
    )
    sparse = make_record(
        "sparse", config=config(sparsity=Sparsity(0.5)), state=CellState.REJECTED, accuracy=0.9, size_bytes=120_000
    )
    failed = make_record("failed", config=config(num_threads=2), state=CellState.FAILED)
    return [
        float32,
        with_interval(int8, "accuracy", (0.945, 0.965)),
        dataclasses.replace(batched, noisy="other work ran beside the measurement"),
        dataclasses.replace(sparse, reason="accuracy 0.9000 is 0.0600 below the baseline's 0.9600"),
        dataclasses.replace(failed, reason=HOSTILE),
    ]


def with_interval(record: CellRecord, figure: str, interval: tuple[float, float]) -> CellRecord:
    changed = dataclasses.replace(record.figures[figure], interval=interval)
    return dataclasses.replace(record, figures={**record.figures, figure: changed})


LEDGER = (
    StageEntry("latency", "k1", "run", 4.0),
    StageEntry("base", "k2", "run", 31.2),
    StageEntry("base", "k2", "hit", 31.2),
    StageEntry("base", "k2", "hit", 31.2),
    StageEntry("latency", "k3", "failed", 7.0),
)
STUDY: dict[str, Any] = {
    "objectives": ["accuracy", "size", "latency", "power"],
    "load": {"samples_per_s": 30},
    "tiers": {
        HOSTILE_TIER: {"device": "host", "limits": {"latency_ms": 5}, "samples_per_s": 10, "prefer": "power"},
        "watch": {"device": "host", "limits": {"size_bytes": 1000}},
    },
}


def results_of(records: Sequence[CellRecord], **keys: Any) -> StudyResults:
    return dataclasses.replace(make_results(records, **(STUDY | keys)), ledger=LEDGER)


def data_of(records: Sequence[CellRecord], **keys: Any) -> dict[str, Any]:
    return report_data(results_of(records, **keys))


def cell_of(data: dict[str, Any], name: str) -> dict[str, Any]:
    (cell,) = (cell for cell in data["cells"] if cell["cell"] == name)
    return dict(cell)


def column_of(data: dict[str, Any], name: str) -> dict[str, Any]:
    (column,) = (column for column in data["figures"] if column["name"] == name)
    return dict(column)


# -------------------------------------------------------------------------------------------------- the data


def test_costs_are_ratios_to_the_baseline_and_accuracy_is_a_difference_in_points() -> None:
    figures = cell_of(data_of(cells()), "int8")["figures"]
    assert figures["latency_ms"]["relative"] == pytest.approx(0.25)
    assert figures["latency_ms"]["relative_text"] == "0.25x"
    assert figures["accuracy"]["relative"] == pytest.approx(-0.005)
    assert figures["accuracy"]["relative_text"] == "-0.50 points"


def test_an_accuracy_that_is_no_fraction_differs_in_its_own_unit() -> None:
    record = make_record(latency_ms=1)
    score = Measurement(-3.5, "score", Provenance.MEASURED, "by hand")
    record = dataclasses.replace(record, figures={**record.figures, "accuracy": score})
    figures = {**record.figures, "accuracy": dataclasses.replace(score, value=-3.0)}
    better = dataclasses.replace(record, cell="b", config=INT8, figures=figures)
    data = data_of([record, better], objectives=["accuracy"], tiers={})
    assert cell_of(data, "b")["figures"]["accuracy"]["relative_text"] == "+0.5000"


def test_nothing_is_relative_without_a_baseline() -> None:
    (cell,) = data_of([cells()[1]])["cells"]
    assert {figure["relative"] for figure in cell["figures"].values()} == {None}


def test_nothing_is_a_ratio_to_zero() -> None:
    data = data_of([make_record(accuracy=0.9, latency_ms=1, download_bytes=0)], objectives=["accuracy"], tiers={})
    assert cell_of(data, "a")["figures"]["download_bytes"]["relative"] is None


@pytest.mark.parametrize(
    ("figure", "value", "text"),
    [
        ("size_bytes", 999, "999 B"),
        ("size_bytes", 153_000, "153 kB"),
        ("size_bytes", 16_860_000, "16.9 MB"),
        ("size_bytes", 2_500_000_000, "2.50 GB"),
        ("latency_ms", 0.0642, "0.0642 ms"),
        ("latency_ms", 11.42, "11.4 ms"),
        ("throughput_per_s", 15_625, "15,625 /s"),
        ("energy_mj", 0, "0 mJ"),
        ("energy_mj", 2.5e-8, "2.50e-08 mJ"),
        ("accuracy", 0.95, "0.9500"),
    ],
)
def test_values_stay_raw_and_their_texts_are_for_reading(figure: str, value: float, text: str) -> None:
    values: dict[str, Any] = {"accuracy": 0.9, "latency_ms": 1, figure: value}
    record = make_record(**values)
    (cell,) = data_of([record], objectives=["accuracy"], tiers={})["cells"]
    assert (cell["figures"][figure]["value"], cell["figures"][figure]["text"]) == (value, text)


def test_an_interval_is_written_with_units_and_an_exact_figure_has_none() -> None:
    figures = cell_of(data_of(cells()), "int8")["figures"]
    assert figures["accuracy"]["interval_text"] == "0.9450 to 0.9650"
    assert figures["size_bytes"]["interval_text"] is None


def test_front_is_over_all_objectives_and_holds_measured_cells_only() -> None:
    data = data_of(cells())
    assert {cell["cell"] for cell in data["cells"] if cell["front"]} == {"float32", "int8"}
    assert {cell["cell"] for cell in data["cells"] if cell["choice"]} == {"float32", "int8", "batched"}


def test_a_baseline_outside_the_space_is_counted_apart_and_still_compared_with() -> None:
    data = data_of(cells()[:2], space={"quantization": ["int8"]})
    assert data["baseline"] == "float32"
    assert not cell_of(data, "float32")["choice"]
    assert (data["study"]["counts"]["measured"], data["study"]["counts"]["outside"]) == (1, 1)
    assert cell_of(data, "int8")["figures"]["latency_ms"]["relative_text"] == "0.25x"


def test_counts_are_by_state() -> None:
    study = data_of(cells())["study"]
    assert study["counts"] == {"measured": 3, "rejected": 1, "failed": 1, "outside": 0}
    assert (study["cells"], study["configurations"]) == (4, 6)


def test_hypervolume_of_a_tenth_of_the_size_is_two() -> None:
    # On the scale of the logarithm the cell lies at -1 and the reference point at 1.
    records = [make_record(size_bytes=1000, latency_ms=1), make_record("b", config=INT8, size_bytes=100, latency_ms=1)]
    assert data_of(records, objectives=["size"], tiers={})["study"]["hypervolume"] == pytest.approx(2.0)


def test_a_column_has_one_provenance_only_if_all_its_figures_do() -> None:
    float32, int8, *_ = cells()
    modelled = dataclasses.replace(int8.figures["power_mw"], provenance=Provenance.MODELLED)
    int8 = dataclasses.replace(int8, figures={**int8.figures, "power_mw": modelled})
    data = data_of([float32, int8])
    assert column_of(data, "latency_ms")["provenance"] == "measured"
    assert column_of(data, "power_mw")["provenance"] is None
    assert cell_of(data, "int8")["figures"]["power_mw"]["provenance"] == "modelled"


def test_objectives_come_first_and_a_figure_that_some_cell_lacks_is_no_axis() -> None:
    float32, int8, *_ = cells()
    energy = Measurement(5.0, "mJ", Provenance.MODELLED, "by hand")
    data = data_of([float32, dataclasses.replace(int8, figures={**int8.figures, "energy_mj": energy})])
    assert [column["name"] for column in data["figures"]] == [*data["objectives"], "energy_mj"]
    assert column_of(data, "latency_ms")["everywhere"]
    assert not column_of(data, "energy_mj")["everywhere"]


def test_values_of_a_parameter_are_in_order() -> None:
    parameters = {entry["name"]: entry["values"] for entry in data_of(cells())["parameters"]}
    assert parameters["quantization"] == ["float32", "int8"]
    assert parameters["batch_size"] == [1, 4]
    assert parameters["sparsity"] == [0.0, 0.5]


def test_a_pick_compares_power_for_the_tiers_own_load() -> None:
    pick = data_of(cells())["picks"][0]
    assert (pick["tier"], pick["cell"], pick["samples_per_s"]) == (HOSTILE_TIER, "int8", 10)
    # 10/s * (2.1 + 0.532) mJ against 10/s * (10 + 0.532) mJ, not against the 315.96 mW of the study's load.
    assert pick["figures"]["power_mw"]["value"] == pytest.approx(26.32)
    assert pick["figures"]["power_mw"]["relative"] == pytest.approx(26.32 / 105.32)
    assert pick["limits"] == {"latency_ms": "5.00 ms"}
    assert pick["runner_up"] == config(batch_size=4).label()
    assert pick["trade"].startswith("-0.0050 accuracy, 1.00x size, 5.00x latency")


def test_a_pick_shows_a_limited_figure_that_is_no_objective() -> None:
    tiers = {"t": {"device": "host", "limits": {"latency_ms": 1}}}
    (pick,) = data_of(cells(), objectives=["accuracy"], tiers=tiers)["picks"]
    assert list(pick["figures"]) == ["accuracy", "latency_ms"]


def test_a_tier_without_a_cell_says_why() -> None:
    pick = data_of(cells())["picks"][1]
    assert (pick["cell"], pick["figures"], pick["limits"]) == (None, {}, {})
    assert pick["reason"].endswith("size <= 1 kB rules out 3")


def test_stages_are_summed_up_and_failed_runs_took_their_time() -> None:
    base, latency = data_of(cells())["stages"]
    assert (base["stage"], base["runs"], base["hits"], base["failures"]) == ("base", 1, 2, 0)
    assert (base["spent_text"], base["saved_text"]) == ("31.2 s", "1 min 2 s")
    assert (latency["runs"], latency["failures"], latency["spent_s"], latency["saved_s"]) == (1, 1, 11.0, 0)


def test_hours_are_written_as_hours() -> None:
    results = dataclasses.replace(make_results([]), ledger=(StageEntry("base", "k", "run", 3900.0),))
    assert report_data(results)["stages"][0]["spent_text"] == "1 h 5 min"


def test_times_are_in_utc_and_the_last_cell_is_the_latest() -> None:
    first, second, *_ = cells()
    first = dataclasses.replace(first, finished_at="2025-01-02T03:00:00+00:00")
    second = dataclasses.replace(second, finished_at="2025-01-01T23:00:00+00:00")
    study = data_of([first, second])["study"]
    assert (study["started_text"], study["last_cell_text"]) == ("2025-01-01 00:00 UTC", "2025-01-02 03:00 UTC")


def with_a_tie() -> list[CellRecord]:
    """The cells above, and one that int8 beats by no more than the noise of its latency."""
    *others, failed = cells()
    close = make_record(
        "close",
        config=config(sparsity=Sparsity(0.5), num_threads=2),
        accuracy=0.955,
        size_bytes=153_000,
        latency_ms=0.502,
        power_mw=78.96,
    )
    return [*others, with_interval(close, "accuracy", (0.945, 0.965)), failed]


def test_the_standing_of_a_choice_is_its_probability_its_timings_and_its_ties() -> None:
    data = data_of(with_a_tie())
    standing = cell_of(data, "float32")["standing"]
    assert standing == {"probability": 1.0, "probability_text": "100%", "timings": 1, "ties": []}
    int8, close = cell_of(data, "int8"), cell_of(data, "close")
    assert (int8["front"], int8["standing"]["ties"]) == (True, [config(sparsity=Sparsity(0.5), num_threads=2).label()])
    assert (close["front"], close["standing"]["ties"]) == (False, [INT8.label()])
    assert int8["standing"]["probability"] > 0.5 > close["standing"]["probability"] > 0.1


def test_what_is_no_choice_has_no_standing() -> None:
    assert cell_of(data_of(cells()), "sparse")["standing"] is None
    assert cell_of(data_of(cells()[:2], space={"quantization": ["int8"]}), "float32")["standing"] is None


def test_the_convergence_is_a_curve_and_a_sentence() -> None:
    # On the logarithm's scale a tenth of the size doubles the volume; it comes 22nd of 23.
    first = make_record(size_bytes=1000, latency_ms=1)
    others = [make_record(str(i), config=INT8, size_bytes=1000, latency_ms=1) for i in range(20)]
    small = [make_record(str(i), config=INT8, size_bytes=100, latency_ms=1) for i in (20, 21)]
    data = data_of([first, *others, *small], objectives=["size"], tiers={})
    assert data["convergence"]["curve"] == pytest.approx([1.0] * 21 + [2.0] * 2)
    assert data["convergence"]["text"].startswith("The last 20 cells added 50.00% of the hypervolume; 20 more are not")


def test_a_few_cells_do_not_say_what_more_would_add() -> None:
    text = data_of(cells())["convergence"]["text"]
    assert text == "Too few cells are measured to say what more would add."


def test_a_run_without_cells_has_a_report() -> None:
    data = report_data(make_results([]))
    assert (data["cells"], data["stages"], data["baseline"], data["study"]["hypervolume"]) == ([], [], None, None)
    assert not any(column["everywhere"] for column in data["figures"])
    assert data["refusals"] == [{"reason": "too many threads", "count": 2}]


# -------------------------------------------------------------------------------------------------- the page


def page_of(path: Path, results: StudyResults) -> str:
    write_report(results, path)
    return path.read_text(encoding="utf-8")


def without_plotly(page: str) -> str:
    from plotly.offline import get_plotlyjs

    return page.replace(get_plotlyjs(), "")


def test_the_page_holds_the_data_whatever_is_written_in_it(tmp_path: Path) -> None:
    results = results_of(cells())
    page = page_of(tmp_path / "report.html", results)
    (content,) = re.findall(r'<script type="application/json" id="report-data">(.*?)</script>', page, re.DOTALL)
    assert json.loads(content) == json.loads(json.dumps(report_data(results)))
    assert HOSTILE not in page


def test_a_reason_that_looks_like_a_place_in_the_template_stays_as_it_is(tmp_path: Path) -> None:
    record = dataclasses.replace(make_record(state=CellState.FAILED), reason="{{plotly}} {{data}}")
    page = page_of(tmp_path / "report.html", make_results([record]))
    assert page.count("{{plotly}} {{data}}") == 1
    assert page.count("* plotly.js v") == 1


def test_the_page_refers_to_nothing_outside_itself(tmp_path: Path) -> None:
    page = without_plotly(page_of(tmp_path / "report.html", results_of(cells()[:2], tiers={})))
    assert "default-src 'none'" in page
    assert re.findall(r"<link|\s(?:src|href)\s*=|https?:|url\(|@import", page) == []


def test_nothing_but_the_page_is_left_behind(tmp_path: Path) -> None:
    write_report(make_results([]), tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


# -------------------------------------------------------------------------------------------------- in a browser

# Works the page as a reader would and writes down what is there; sleeps pass at once in the browser's virtual time.
PROBE = """<script>
(async () => {
  // Plotly draws each order of depth in a layer of its own, such as `scatterlayer-3`.
  const POINTS = "#front-chart [class*=scatterlayer] .point";
  const sleep = () => new Promise((done) => setTimeout(done, 200));
  const all = (query) => [...document.querySelectorAll(query)];
  const set = async (id, value) => {
    const control = document.getElementById(id);
    if (typeof value === "boolean") control.checked = value; else control.value = value;
    control.dispatchEvent(new Event("change"));
    await sleep();
  };
  const state = () => ({
    points: all(POINTS).length,
    bars: all("#front-chart .errorbar").length,
    labels: all("#front-chart .annotation-text").map((node) => node.textContent).sort(),
    axes: all("#front-chart .xtitle, #front-chart .ytitle").map((node) => node.textContent),
    legend: all("#front-chart .legendtext").map((node) => node.textContent),
    rows: all("#cell-table tbody tr").map((row) => row.cells[4].textContent + " " + row.cells[5].textContent),
    sorted: all("#cell-table th[aria-sort]").map((head) => head.textContent + head.ariaSort),
    note: document.getElementById("front-note")?.textContent,
  });
  await sleep();
  const seen = { first: state() };
  seen.noisy = all("#cell-table .tag.warn").map((tag) => tag.title);
  seen.missed = all("#missed tbody tr").map((row) => row.cells[2].textContent);
  seen.refusals = all("#refusals tbody tr").map((row) => row.textContent);
  seen.cards = all(".card h3").map((head) => head.textContent);
  seen.places = all("#cell-table tbody tr").map((row) => row.cells[9].textContent);
  seen.ties = all("#cell-table .tag.tie").map((tag) => tag.title);
  seen.kinds = all("#cell-table tbody tr").map((row) => row.className);
  seen.faint = all(POINTS).filter((point) => point.style.opacity < 1).length;
  seen.curves = all("#curve-chart .scatterlayer .trace").length;
  seen.gain = document.getElementById("gain").textContent;
  seen.stages = all("#stages tbody tr").length;
  seen.stageBars = all("#stage-chart .bars .point").length;
  seen.text = document.querySelector("header").textContent;
  seen.charts = all("#front-chart").length + all("#stage-chart").length;
  if (document.getElementById("x-figure")) {
    await set("x-figure", "size_bytes");
    await set("colour", "batch_size");
    await set("intervals", true);
    await set("rejected", true);
    await set("x-log", true);
    await set("show-front", true);
    all("#cell-table th button")[6].click();
    seen.changed = state();
    all("#cell-table th button")[6].click();
    seen.again = state();
  }
  seen.images = document.images.length;
  seen.hacked = "hacked" in window;
  const probe = document.createElement("pre");
  probe.id = "probe";
  probe.textContent = btoa(unescape(encodeURIComponent(JSON.stringify(seen))));
  document.body.append(probe);
})();
</script></body>"""


def browse(page: str, folder: Path) -> str:
    """The page's document after its scripts ran in headless Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None and os.environ.get("LITEFRONT_WITHOUT_BROWSER"):
        pytest.skip("LITEFRONT_WITHOUT_BROWSER is set, and there is no chromium")
    assert chromium, "these tests need chromium; install it, or set LITEFRONT_WITHOUT_BROWSER=1 to go without"
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    quiet = ("disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update")
    command = [chromium, "--headless", "--no-sandbox", "--disable-sync", *(f"--{option}" for option in quiet)]
    command += [f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1000", "--virtual-time-budget=4000"]
    done = subprocess.run([*command, "--dump-dom", file.as_uri()], capture_output=True, timeout=60, check=True)
    return done.stdout.decode()


def probe(results: StudyResults, folder: Path) -> dict[str, Any]:
    """What a reader sees on the page; fails if the page reports an error."""
    page = page_of(folder / "report.html", results)
    document = browse(page[: page.rindex("</body>")] + PROBE, folder)
    errors = re.findall(r'<p id="page-error"[^>]*>.*?</p>', document, re.DOTALL)
    assert errors == []
    (content,) = re.findall(r'<pre id="probe">(.*?)</pre>', document)
    return dict(json.loads(base64.b64decode(content)))


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is seen on the page of the study above."""
    return probe(results_of(cells()), tmp_path_factory.mktemp("report"))


def test_every_measured_cell_is_a_point_and_a_row(seen: dict[str, Any]) -> None:
    assert seen["first"]["points"] == 3
    assert seen["first"]["rows"] == ["1 0.9600baseline", "1 0.9550-0.50 points", "4 0.9500-1.00 points"]
    assert seen["first"]["sorted"] == ["accuracymeasureddescending"]


def test_axes_say_unit_provenance_and_direction(seen: dict[str, Any]) -> None:
    assert seen["first"]["axes"] == [
        "latency, ms a call (p50), measured (lower is better)",
        "accuracy, measured (higher is better)",
    ]


def test_baseline_and_picks_are_labelled(seen: dict[str, Any]) -> None:
    assert seen["first"]["labels"] == [HOSTILE_TIER, "baseline"]


def test_a_reader_can_change_what_the_chart_shows(seen: dict[str, Any]) -> None:
    changed = seen["changed"]
    assert changed["axes"][0] == "size, bytes, measured (lower is better)"
    assert changed["legend"] == ["batch size 1", "batch size 4", "rejected"]
    assert (seen["first"]["bars"], changed["points"]) == (0, 4)
    assert changed["bars"] > 0
    # In size and accuracy int8 and the baseline stay; the cell of batch 4 is larger and less accurate than int8.
    assert "joins the 2 cells" in changed["note"]
    assert "1 of 2 rejected or failed cells have both figures" in changed["note"]


def test_the_table_sorts_and_filters(seen: dict[str, Any]) -> None:
    assert seen["changed"]["rows"] == ["1 0.9550-0.50 points", "1 0.9600baseline"]
    assert seen["changed"]["sorted"] == ["sizebytesmeasuredascending"]
    assert seen["again"]["rows"] == ["1 0.9600baseline", "1 0.9550-0.50 points"]


def test_the_rest_of_the_run_is_there(seen: dict[str, Any]) -> None:
    assert seen["noisy"] == ["other work ran beside the measurement"]
    assert seen["refusals"] == ["2too many threads"]
    assert (seen["stages"], seen["stageBars"]) == (2, 4)
    assert "3 measured, 1 rejected, 1 failed, of 4 cells in the space" in seen["text"]


def test_the_table_says_how_sure_each_place_is(seen: dict[str, Any]) -> None:
    assert seen["places"] == ["100%", "100%", "0%"]
    assert seen["ties"] == []


def test_the_hypervolume_is_drawn_cell_by_cell(seen: dict[str, Any]) -> None:
    assert seen["curves"] == 1
    assert seen["gain"] == "Too few cells are measured to say what more would add."


def test_a_tie_is_marked_drawn_faintly_and_kept_beside_the_front(tmp_path: Path) -> None:
    seen = probe(results_of(with_a_tie()), tmp_path)
    tied = (INT8, config(sparsity=Sparsity(0.5), num_threads=2))
    assert set(seen["ties"]) == {f"not to be told apart from\n≈ {one.label()}" for one in tied}
    assert sorted(seen["kinds"]) == ["", "front", "front", "tie"]
    # The tie and the dominated cell.
    assert seen["faint"] == 2
    assert "Large faint points cannot be told apart from a cell on the front." in seen["first"]["note"]
    assert len(seen["changed"]["rows"]) == 3


def test_what_users_and_tools_wrote_is_shown_and_never_run(seen: dict[str, Any]) -> None:
    assert seen["missed"][1] == HOSTILE
    assert seen["cards"] == [HOSTILE_TIER, "watch"]
    assert (seen["hacked"], seen["images"]) == (False, 0)


def test_an_empty_run_has_a_page_that_says_so(tmp_path: Path) -> None:
    seen = probe(make_results([]), tmp_path)
    assert (seen["charts"], seen["first"]["points"], seen["first"]["rows"]) == (0, 0, [])
    assert seen["curves"] == 0
    assert "0 measured, 0 rejected, 0 failed" in seen["text"]


def test_a_baseline_that_is_no_choice_is_drawn_and_labelled(tmp_path: Path) -> None:
    float32, int8, *_ = cells()
    overloaded = dataclasses.replace(float32, state=CellState.REJECTED, reason="too slow for the load")
    seen = probe(results_of([overloaded, int8], tiers={}), tmp_path)
    assert seen["first"]["labels"] == ["baseline"]
    assert (seen["first"]["points"], len(seen["first"]["rows"])) == (2, 2)
    assert seen["missed"] == ["too slow for the load"]


def test_a_page_that_breaks_says_so(tmp_path: Path) -> None:
    page = without_plotly(page_of(tmp_path / "report.html", results_of(cells())))
    document = browse(page, tmp_path)
    assert re.search(r'<p id="page-error"[^>]*>This page is incomplete: .*Plotly is not defined', document)
