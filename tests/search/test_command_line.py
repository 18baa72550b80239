"""The command as a person or a script meets it: the installed `litefront`, its streams and its exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litefront.objectives.devices import HostDevice
from litefront.search.run_directory import RunDirectory
from litefront.search.store import ArtifactStore
from litefront.spaces.quantization import Quantization
from tests.search.made_run import BATCHED, FLOAT32, INT8, TIERS, make_run
from tests.search.tiny_study import write_study

LITEFRONT = str(Path(sys.executable).with_name("litefront"))
COMMANDS = ("run", "status", "front", "pick", "measure", "export", "check", "report", "devices", "dashboard")
SLOW = ("tensorflow", "tf_keras", "keras", "ray", "ai_edge_litert.interpreter", "ai_edge_quantizer")

STUDY = """\
study: by-hand
task: task.py:task
space:
  quantization: [float32, int7]
  threads: [1, 2]
objectives: [accuracy, beauty]
seed: -1
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, candidate_files: dict[tuple[Quantization, int], Path]) -> Path:
    """A folder with a finished run under `runs/`, as `litefront run` leaves it; the tests only read it."""
    folder = tmp_path_factory.mktemp("made")
    make_run(folder / "runs" / "by-hand", candidate_files)
    return folder


def litefront(*arguments: str, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs the command; whatever happens, nobody is shown a traceback."""
    result = subprocess.run([LITEFRONT, *arguments], cwd=cwd, capture_output=True, text=True)
    assert "Traceback" not in result.stderr + result.stdout, result.stderr
    assert result.returncode == code, result.stderr
    return result


def json_of(*arguments: str, cwd: Path, code: int = 0) -> Any:
    return json.loads(litefront(*arguments, "--format", "json", cwd=cwd, code=code).stdout)


def csv_of(*arguments: str, cwd: Path, code: int = 0) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(litefront(*arguments, "--format", "csv", cwd=cwd, code=code).stdout)))


def refused(*arguments: str, cwd: Path) -> str:
    """What is said on standard error of input that is wrong; standard output stays empty."""
    result = litefront(*arguments, cwd=cwd, code=2)
    assert result.stdout == ""
    return result.stderr


# ------------------------------------------------------------------------------------------ help and imports


def test_help_names_every_command(tmp_path: Path) -> None:
    shown = litefront("--help", cwd=tmp_path).stdout
    assert all(f" {command} " in shown for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(tmp_path: Path, command: str) -> None:
    assert "Usage: litefront " + command in litefront(command, "-h", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("run", "--help"),
        ("front",),
        ("front", "--format", "json"),
        ("status",),
        ("pick", "--tier", "entry"),
    ],
)
def test_what_only_reads_imports_nothing_slow(made: Path, arguments: tuple[str, ...]) -> None:
    code = f"""
import sys
from litefront.search.command_line import main
sys.argv = ["litefront", *{arguments!r}]
try:
    main()
except SystemExit as end:
    print("code", end.code, "slow", [name for name in {SLOW!r} if name in sys.modules], file=sys.stderr)
"""
    result = subprocess.run([sys.executable, "-P", "-c", code], cwd=made, capture_output=True, text=True)
    assert result.stderr == "code 0 slow []\n"


@pytest.mark.parametrize(
    "arguments", [("fly",), ("front", "--fast"), ("export",), ("run",), ("run", "x", "--cores", "0")]
)
def test_a_command_that_does_not_exist_is_wrong_input(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert "Usage: litefront" in refused(*arguments, cwd=tmp_path)


@pytest.mark.parametrize("command", ["run", "status", "front", "pick", "devices"])
def test_a_format_that_does_not_exist_is_told_with_the_known_ones(made: Path, command: str) -> None:
    arguments = (command, "by-hand") if command == "run" else (command,)
    told = refused(*arguments, "--format", "xml", cwd=made)
    assert told == "`--format` must be one of table, json, csv, but got 'xml'.\n"


# ------------------------------------------------------------------------------------------ reading a run


def test_front_is_a_table_that_a_person_reads(made: Path) -> None:
    result = litefront("front", cwd=made)
    heading = result.stdout.splitlines()[0]
    assert "accuracy (measured)" in heading and "latency (measured)" in heading
    assert "1 kB" in result.stdout and "0.25x" in result.stdout and "-10.0 pt" in result.stdout
    assert result.stderr == ""


def test_front_is_json_and_csv_for_other_tools(made: Path) -> None:
    rows = json_of("front", cwd=made)
    assert [row["quantization"] for row in rows] == ["float32", "dynamic_int8", "int8"]
    assert [row["figures"]["size_bytes"]["value"] for row in rows] == [4000, 2000, 1000]
    assert [row["quantization"] for row in csv_of("front", cwd=made)] == ["float32", "dynamic_int8", "int8"]


@pytest.mark.parametrize(
    "arguments",
    [(), ("by-hand",), ("runs/by-hand",), ("--run-dir", "runs/by-hand"), ("ignored", "--run-dir", "runs/by-hand")],
)
def test_a_run_is_found_by_its_name_its_folder_or_as_the_newest(made: Path, arguments: tuple[str, ...]) -> None:
    assert len(json_of("front", *arguments, cwd=made)) == 3


def test_a_run_is_found_by_its_study_file(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "runs", tmp_path / "runs")
    (tmp_path / "study.yaml").write_text("study: by-hand\ntask: task.py:task\nspace: {}\n")
    assert len(json_of("front", "study.yaml", cwd=tmp_path)) == 3


def test_the_newest_of_two_runs_is_taken(made: Path, tmp_path: Path) -> None:
    for name in ("older", "newer"):
        shutil.copytree(made / "runs" / "by-hand", tmp_path / "runs" / name)
    os.utime(tmp_path / "runs" / "older" / "study.json", (1_000_000_000, 1_000_000_000))
    (tmp_path / "runs" / "older" / "cells.jsonl").unlink()
    assert len(json_of("front", cwd=tmp_path)) == 3


def test_front_before_the_first_cell_says_so(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "runs", tmp_path / "runs")
    (tmp_path / "runs" / "by-hand" / "cells.jsonl").unlink()
    assert litefront("front", cwd=tmp_path).stdout == "no cell is measured yet\n"
    assert json_of("front", cwd=tmp_path) == []


@pytest.mark.parametrize(
    "command", [("front",), ("status",), ("pick",), ("report",), ("export", "--tier", "entry", "--out", "b")]
)
def test_without_a_run_every_command_says_how_to_make_one(tmp_path: Path, command: tuple[str, ...]) -> None:
    told = refused(*command, cwd=tmp_path)
    assert told == "There must be a run under runs/, or a STUDY or --run-dir; `litefront run` makes one.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [("--run-dir", "nowhere"), ("mnist",)])
def test_a_run_that_is_not_there_is_told(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert "There must be a run to read, but there is none in" in refused("front", *arguments, cwd=tmp_path)


def test_a_study_that_is_not_there_is_told_with_the_ready_made_ones(tmp_path: Path) -> None:
    told = refused("front", "nothing-of-that-name", cwd=tmp_path)
    assert "mnist" in told and "'nothing-of-that-name'" in told


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"spec": {}, "context": {}}', "\xff"])
def test_a_run_that_cannot_be_read_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "study.json").write_text(content, encoding="latin-1")
    assert "cannot be read by this version of litefront" in refused("front", "--run-dir", ".", cwd=tmp_path)


def test_status_counts_the_cells_and_stages(made: Path) -> None:
    shown = litefront("status", cwd=made).stdout
    assert "measured     3" in shown and "running      False" in shown
    (row,) = json_of("status", cwd=made)
    assert (row["measured"], row["rejected"], row["failed"], row["front"], row["target"]) == (3, 1, 1, 3, 4)
    assert row["stages"] == [
        {
            "stage": "base",
            "runs": 1,
            "hits": 1,
            "failures": 0,
            "seconds_spent": 2.0,
            "seconds_saved": 2.0,
            "repeated": 0,
        }
    ]
    assert csv_of("status", cwd=made)[0]["rejected"] == "1"


def test_pick_says_what_why_and_what_the_runner_up_would_give(made: Path) -> None:
    shown = litefront("pick", "--tier", "entry", cwd=made).stdout
    assert f"entry: {INT8.label()}\n" in shown
    assert "why: lowest size" in shown
    assert f"runner-up: {BATCHED.label()}, which would give +0.0500 accuracy, 2.00x size, 2.00x latency" in shown


def test_pick_of_a_tier_that_nothing_fits_does_not_hold(made: Path) -> None:
    result = litefront("pick", "--tier", "nobody", cwd=made, code=1)
    assert result.stdout.startswith("nobody: no pick - none of 3 measured cells holds what the tier asks")


def test_pick_of_all_tiers_is_json_and_csv_too(made: Path) -> None:
    picks = {entry["tier"]: entry for entry in json_of("pick", cwd=made, code=1)}
    assert picks.keys() == TIERS.keys()
    assert picks["entry"]["chosen"]["quantization"] == "int8"
    assert picks["flagship"]["chosen"]["quantization"] == FLOAT32.quantization
    assert picks["nobody"]["chosen"] is None
    rows = csv_of("pick", cwd=made, code=1)
    assert [row["tier"] for row in rows] == list(TIERS)
    assert rows[0]["chosen.figures.size_bytes.value"] == "1000"


def test_an_unknown_tier_is_told_with_the_known_ones(made: Path) -> None:
    assert refused("pick", "--tier", "other", cwd=made) == (
        "A tier must be one of entry, flagship, nobody, but got 'other'.\n"
    )


def test_report_is_written_where_it_is_asked_for(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    assert litefront("report", "--out", str(out), cwd=made).stdout == f"{out}\n"
    assert out.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")


def test_a_report_that_cannot_be_written_is_told(made: Path, tmp_path: Path) -> None:
    told = refused("report", "--out", str(tmp_path / "missing" / "report.html"), cwd=made)
    assert "report.html cannot be written" in told


def test_devices_says_what_this_machine_can_measure() -> None:
    rows = json_of("devices", cwd=Path("/"))
    assert rows[0]["what"] == "host" and rows[0]["can_measure"] == "yes"
    assert litefront("devices", cwd=Path("/")).stdout.count("\n") > len(rows)


# -------------------------------------------------------------------------------------------- bundles


def test_an_exported_bundle_is_checked(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    assert litefront("export", "--tier", "entry", "--out", str(out), cwd=made).stdout == f"{out}\n"
    assert "runs here as configured" in litefront("check", str(out), cwd=tmp_path).stdout
    with open(out / "model.tflite", "ab") as model:
        model.write(b"\0")
    assert "has the SHA-256" in litefront("check", str(out), cwd=tmp_path, code=1).stdout


def test_a_bundle_is_not_written_over_another(made: Path, tmp_path: Path) -> None:
    told = refused("export", "--tier", "entry", "--out", str(tmp_path), cwd=made)
    assert "exists already" in told and list(tmp_path.iterdir()) == []


def test_a_tier_without_a_pick_is_not_exported(made: Path, tmp_path: Path) -> None:
    told = refused("export", "--tier", "nobody", "--out", str(tmp_path / "bundle"), cwd=made)
    assert "The tier nobody has no cell to export" in told and list(tmp_path.iterdir()) == []


def test_what_is_no_bundle_is_wrong_input(tmp_path: Path) -> None:
    assert "A bundle must hold manifest.json" in refused("check", str(tmp_path), cwd=tmp_path)


# ----------------------------------------------------------------------------------------------- run


def test_every_mistake_of_a_study_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    lines = refused("run", "study.yaml", cwd=tmp_path).splitlines()
    assert len(lines) == 4
    for number, name in ((4, "int7"), (5, "threads"), (6, "beauty"), (7, "seed")):
        assert [line for line in lines if line.startswith(f"study.yaml:{number}:") and name in line], (number, lines)
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


def test_a_cluster_and_no_ray_at_all_are_not_both_to_be_had(tmp_path: Path) -> None:
    assert "runs without Ray" in refused("run", "mnist", "--serial", "--address", "auto", cwd=tmp_path)


@pytest.mark.parametrize("url", ["nonsense", "sqlite://", "oracle+none://host/db"])
def test_a_database_that_cannot_be_is_told(tmp_path: Path, url: str) -> None:
    write_study(tmp_path / "study")
    told = refused("run", str(tmp_path / "study"), "--serial", "--storage", url, cwd=tmp_path)
    assert "`storage` must be" in told or "database needs its driver" in told


def test_a_task_that_does_not_load_is_told(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("study: s\ntask: task.py:task\nspace: {}\n")
    (tmp_path / "task.py").write_text("\n1 / 0\n")
    told = refused("run", "study.yaml", "--serial", cwd=tmp_path)
    assert "The task task.py does not load: ZeroDivisionError: division by zero at task.py:2" in told


@pytest.mark.parametrize("command", ["run", "front"])
def test_a_file_that_is_no_study_is_told(tmp_path: Path, command: str) -> None:
    (tmp_path / "study.yaml").write_bytes(b"\xff\xfe\x00")
    assert "study.yaml" in refused(command, "study.yaml", cwd=tmp_path)


def test_a_run_directory_that_cannot_be_made_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    told = refused("run", "mnist", "--run-dir", "file/run", cwd=tmp_path)
    assert told == "The run directory must be writable: file/run: not a directory.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# ------------------------------------------------------------------------------------------- streams


@pytest.mark.parametrize("buffering", [{}, {"PYTHONUNBUFFERED": "1"}])
@pytest.mark.parametrize(
    "arguments", [("front",), ("front", "--format", "json"), ("status",), ("pick", "--tier", "entry"), ("devices",)]
)
def test_a_reader_that_has_seen_enough_is_no_error_to_talk_about(
    made: Path, arguments: tuple[str, ...], buffering: dict[str, str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as `litefront front | true` leaves it
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | buffering
    try:
        result = subprocess.run(
            [LITEFRONT, *arguments], cwd=made, stdout=writer, stderr=subprocess.PIPE, env=env, text=True
        )
    finally:
        os.close(writer)
    assert (result.stderr, result.returncode) == ("", 141)  # as a shell tells of SIGPIPE


def test_a_record_of_another_version_is_told(made: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "by-hand"
    shutil.copytree(made / "runs" / "by-hand", run)
    line = json.loads((run / "cells.jsonl").read_text().splitlines()[0])
    line["record"]["config"]["delegate"] = "abacus"
    with open(run / "cells.jsonl", "a") as file:
        file.write(json.dumps(line) + "\n")
    assert "cannot be read by this version of litefront" in refused("front", cwd=tmp_path)


# ------------------------------------------------------------------------------------------ measuring a pick again


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Either `--tier` or `--cell` must say what is measured"),
        (("--tier", "entry", "--cell", "a"), "Either `--tier` or `--cell` must say what is measured"),
        (("--tier", "entry", "--mode", "search"), "`--mode` must be one of quick, submit, but got 'search'"),
        (("--tier", "watch"), "A tier must be one of entry, flagship, nobody"),
        (("--tier", "nobody"), "The tier nobody has no cell to measure"),
        (("--cell", "zzz"), "`--cell` must be the beginning of one timed cell's id"),
    ],
)
def test_what_cannot_be_measured_again_is_told(made: Path, arguments: tuple[str, ...], words: str) -> None:
    assert words in refused("measure", *arguments, cwd=made)


def test_a_pick_is_measured_again_shown_everywhere_and_a_broken_limit_is_a_check_that_failed(
    made: Path, tmp_path: Path
) -> None:
    shutil.copytree(made / "runs", tmp_path / "runs")
    directory = RunDirectory(tmp_path / "runs" / "by-hand")
    store = ArtifactStore(directory.store)
    with store.scratch() as scratch:
        np.save(scratch / "rows.npy", np.zeros((4, 8, 8, 1), np.float32))
        rows = store.add_object(scratch / "rows.npy")
    content = json.loads(directory.study.read_text())
    content["context"] |= {"device": HostDevice().probe().identity(), "model": {"evaluation_inputs": rows}}
    # The search is made to say a nanosecond, which no call takes.
    content["spec"]["tiers"] = {"strict": {"device": "host", "limits": {"latency_ms": 1e-6}}}
    directory.study.write_text(json.dumps(content))
    cells = directory.cells.read_text().replace('"latency_ms":{"value":4.0', '"latency_ms":{"value":0.000001')
    directory.cells.write_text(cells)

    result = litefront("measure", "--tier", "strict", "--mode", "quick", cwd=tmp_path, code=1)
    assert "in the search" in result.stdout and "quick: " in result.stdout
    assert "WARNING: the pick of strict breaks latency <= 1e-06 ms by its confirmed figures" in result.stderr
    assert "this pick breaks latency <= 1e-06 ms" in litefront("pick", cwd=tmp_path).stdout
    assert "(quick)" in litefront("front", cwd=tmp_path).stdout
    assert "breaks latency" in litefront("export", "--tier", "strict", "--out", "bundle", cwd=tmp_path).stderr
