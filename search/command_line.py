"""The command line. Results go to standard output, everything else to standard error.

Exit codes: 0 all is well, 1 a check did not hold, 2 the input is wrong, 70 a fault of litefront itself, 128 and the
signal's number after a Ctrl-C or SIGTERM. Modules that take long to import are imported by the commands that need them.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from litefront.spaces.errors import InputError, LitefrontError

if TYPE_CHECKING:
    from litefront.search.cell_record import CellRecord
    from litefront.search.run_directory import RunDirectory
    from litefront.search.study_file import StudyFile
    from litefront.search.study_results import StudyResults
    from litefront.search.study_run import RunOptions
    from litefront.search.tables import OutputFormat
    from litefront.search.tiers import Pick

__all__ = ["app", "main"]

_log = logging.getLogger(__name__)

app = typer.Typer(
    help="Searches for the best way to ship one model to many devices.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StudyArgument = Annotated[
    str, typer.Argument(help="A study file, a folder with study.yaml, or a ready-made study's name.", metavar="STUDY")
]
RunArgument = Annotated[
    str | None,
    typer.Argument(
        help="A study (as for `run`) or a run directory; the newest one under runs/ if left out.", metavar="[STUDY]"
    ),
]
RunDirOption = Annotated[
    Path | None, typer.Option("--run-dir", help="Where the run is kept; runs/NAME by default.", show_default=False)
]
FormatOption = Annotated[str, typer.Option("--format", help="How results are printed: table, json or csv.")]
StorageOption = Annotated[
    str | None,
    typer.Option("--storage", help="A database's URL for the trials; the run directory's journal by default."),
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="One of the study's devices; all of them if left out.")
]
TierOption = Annotated[str, typer.Option("--tier", help="The tier's name in the study file.")]


def main() -> None:
    """Runs a command; turns what a user can mend into a message and exit code 2."""
    stdout = sys.stdout
    try:
        _run_app()
    except LitefrontError as error:
        for line in getattr(error, "problems", (str(error),)):
            print(line, file=sys.stderr)
        _log.debug("the command ended with an error", exc_info=True)
        sys.exit(2)
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
        sys.exit(141)
    except Exception as error:
        _log.exception("unexpected")
        files = (h for h in logging.getLogger("litefront").handlers if isinstance(h, logging.FileHandler))
        where = "".join(f"; the traceback is in {handler.baseFilename}" for handler in files)
        print(f"litefront failed, which is its own fault: {type(error).__name__}: {error}{where}", file=sys.stderr)
        sys.exit(70)


def _run_app() -> None:
    """Runs the command that was asked for; a reader that has gone away is an error here, not after the end."""
    stdout = sys.stdout
    try:
        app()
    except SystemExit:
        # Typer takes a broken pipe for exit code 1, which is ours for a check, and leaves another stream in its place.
        if sys.stdout is not stdout:
            raise BrokenPipeError from None
        stdout.flush()
        raise


@app.command()
def run(
    study: StudyArgument,
    run_dir: RunDirOption = None,
    device: DeviceOption = None,
    serial: Annotated[bool, typer.Option("--serial", help="Run every stage in this process, without Ray.")] = False,
    cores: Annotated[int | None, typer.Option("--cores", min=1, help="Cores to build on; all by default.")] = None,
    address: Annotated[
        str | None, typer.Option("--address", help="A running Ray cluster: auto, host:port or ray://host:port.")
    ] = None,
    store: Annotated[
        str | None, typer.Option("--store", help="Where artifacts are kept: a folder to share, or a URL as s3://...")
    ] = None,
    storage: StorageOption = None,
    stage_timeout_s: Annotated[
        float, typer.Option("--stage-timeout", min=1, help="Seconds after which a stage counts as hung.")
    ] = 4 * 3600.0,
    output: FormatOption = "table",
) -> None:
    """Search a study's space for each of its devices, or go on with a search: the same command does both."""
    chosen = _output_format(output)
    # The search's own algebra is small: threads for it would only take cores from the stages.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from litefront.search.device_runs import device_runs
    from litefront.search.study_file import read_study_file
    from litefront.search.study_run import RunOptions

    if serial and address is not None:
        raise InputError(f"`--serial` runs without Ray, but `--address {address}` names a cluster.")
    study_file = read_study_file(study)
    path = run_dir or Path("runs") / study_file.spec.study
    if len(study_file.spec.devices) > 1:
        store = store or str(path / "store")
    options = RunOptions(serial, cores, address=address, stage_timeout_s=stage_timeout_s, store=store, storage=storage)
    _run_each(device_runs(study_file, path, device), options, chosen)


@app.command()
def status(
    study: RunArgument = None,
    run_dir: RunDirOption = None,
    device: DeviceOption = None,
    output: FormatOption = "table",
) -> None:
    """Say how far a run is, live or not."""
    chosen = _output_format(output)
    from litefront.search.printing import with_headings
    from litefront.search.run_status import stage_rows, status_row, status_texts
    from litefront.search.tables import OutputFormat, render

    runs = _results(study, run_dir, device)
    if chosen == "json":
        rows = [status_row(results) | {"stages": stage_rows(results)} for results in runs]
        print(render(rows, OutputFormat.JSON))
    elif chosen == "csv":
        print(render([status_row(results) for results in runs], chosen))
    else:
        for results in with_headings(runs):
            for name, text in status_texts(status_row(results)).items():
                print(f"{name:12} {text}".rstrip())
            print()
            print(render(stage_rows(results), chosen))


@app.command()
def front(
    study: RunArgument = None,
    run_dir: RunDirOption = None,
    device: DeviceOption = None,
    output: FormatOption = "table",
) -> None:
    """Print the Pareto front of each device."""
    chosen = _output_format(output)
    from litefront.search.outputs import front_rows, front_text
    from litefront.search.printing import with_headings
    from litefront.search.tables import render

    runs = _results(study, run_dir, device)
    if chosen == "table":
        for results in with_headings(runs):
            print(front_text(results))
    else:
        rows = [{"device": results.spec.device_name} | row for results in runs for row in front_rows(results)]
        print(render(rows, chosen))


@app.command()
def pick(
    study: RunArgument = None,
    tier: Annotated[str | None, typer.Option("--tier", help="A tier's name; all tiers if left out.")] = None,
    run_dir: RunDirOption = None,
    output: FormatOption = "table",
) -> None:
    """Pick the best cell for a tier, and say why and what the runner-up would give."""
    chosen = _output_format(output)
    from litefront.search.device_runs import run_of_tier
    from litefront.search.printing import print_picks
    from litefront.search.tables import OutputFormat, render
    from litefront.search.tiers import pick as pick_tier
    from litefront.search.tiers import pick_all, pick_row

    runs = _results(study, run_dir)
    if tier is not None:
        results = run_of_tier(runs, tier)
        picks = [(results, [pick_tier(results, tier)])]
    else:
        picks = [(results, pick_all(results)) for results in runs]
    if chosen == "table":
        for results, entries in picks:
            print_picks(results, entries)
    else:
        rows = [pick_row(entry, results) for results, entries in picks for entry in entries]
        print(render(rows, OutputFormat(chosen)))
    if any(entry.chosen is None for _, entries in picks for entry in entries):
        raise typer.Exit(1)


@app.command()
def measure(
    study: RunArgument = None,
    tier: Annotated[str | None, typer.Option("--tier", help="The tier whose pick is measured.")] = None,
    cell: Annotated[str | None, typer.Option("--cell", help="A cell's id, or its beginning, instead.")] = None,
    mode: Annotated[
        str, typer.Option("--mode", help="quick: at least 128 calls and 10 s; submit: 1,024 calls and 60 s.")
    ] = "submit",
    sustained_s: Annotated[
        float, typer.Option("--sustained", min=0, help="Then call it for so many seconds, and measure once more.")
    ] = 0.0,
    run_dir: RunDirOption = None,
    device: DeviceOption = None,
    output: FormatOption = "table",
) -> None:
    """Measure a pick again, longer and with the baseline beside it; nothing else should run on its device meanwhile."""
    chosen = _output_format(output)
    if (tier is None) == (cell is None):
        raise InputError("Either `--tier` or `--cell` must say what is measured, but got both or neither.")
    if mode not in ("quick", "submit"):
        raise InputError(f"`--mode` must be one of quick, submit, but got {mode!r}.")
    from litefront.objectives.timing import Mode
    from litefront.search.confirming import cell_of, confirm
    from litefront.search.device_runs import run_of_tier
    from litefront.search.printing import print_confirmation, warn_of_broken
    from litefront.search.study_results import StudyResults
    from litefront.search.tables import OutputFormat, render
    from litefront.search.tiers import pick as pick_tier
    from litefront.search.tiers import pick_all

    runs = _results(study, run_dir, device)
    if cell is not None:
        results = _only(runs, "A cell is of one device")
        record: CellRecord | None = cell_of(results, cell)
    else:
        results = run_of_tier(runs, tier or "")
        record = pick_tier(results, tier or "").chosen
    if record is None:
        raise InputError(f"The tier {tier} has no cell to measure; `litefront pick` says why.")
    confirmation = confirm(results, record, Mode(mode), soak_s=sustained_s)
    if chosen is OutputFormat.TABLE:
        print_confirmation(record, confirmation)
    else:
        print(render([record.config.params() | confirmation.to_json()], chosen))
    picks = pick_all(StudyResults.read(results.directory))
    broken = [entry for entry in picks if _is_broken(entry, record)]
    for entry in broken:
        warn_of_broken(entry)
    if broken:
        raise typer.Exit(1)


@app.command()
def export(
    tier: TierOption,
    out: Annotated[Path, typer.Option("--out", help="The folder to make; it must not exist.")],
    study: RunArgument = None,
    run_dir: RunDirOption = None,
) -> None:
    """Write a tier's release bundle: the .tflite and a manifest of all that is known about it."""
    from litefront.search.device_runs import run_of_tier
    from litefront.search.printing import warn_of_broken
    from litefront.search.release import export_tier
    from litefront.search.tiers import pick as pick_tier

    results = run_of_tier(_results(study, run_dir), tier)
    print(export_tier(results, tier, out))
    if (picked := pick_tier(results, tier)).broken is not None:
        warn_of_broken(picked)


@app.command()
def check(
    bundle: Annotated[Path, typer.Argument(help="A folder that `export` wrote.", metavar="DIR")],
) -> None:
    """Check that a bundle is whole, and that its model runs on this machine as it was measured."""
    from litefront.search.release import check_bundle

    problems = check_bundle(bundle)
    for problem in problems:
        print(problem)
    if problems:
        raise typer.Exit(1)
    print(f"{bundle}: the model is the one that was measured, and runs here as configured")


@app.command()
def report(
    study: RunArgument = None,
    run_dir: RunDirOption = None,
    device: DeviceOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where to write it; the run directory by default.")] = None,
) -> None:
    """Write the report: one self-contained HTML file a device."""
    from litefront.search.report import write_report

    runs = _results(study, run_dir, device)
    if out is not None:
        runs = [_only(runs, "`--out` names the report of one device")]
    for results in runs:
        path = out or results.directory.report
        write_report(results, path)
        print(path)


@app.command()
def devices(
    study: Annotated[
        str | None, typer.Argument(help="A study, as for `run`: its devices; this machine if left out.")
    ] = None,
    output: FormatOption = "table",
) -> None:
    """Say what this machine, or each of a study's devices, can measure, and why not the rest."""
    chosen = _output_format(output)
    from litefront.search.device_listing import device_rows
    from litefront.search.study_file import read_study_file
    from litefront.search.tables import render

    print(render(device_rows(None if study is None else read_study_file(study).spec.devices), chosen))


@app.command()
def dashboard(
    study: RunArgument = None,
    run_dir: RunDirOption = None,
    device: DeviceOption = None,
    port: Annotated[int, typer.Option("--port", help="Port on this machine.")] = 8080,
    storage: StorageOption = None,
) -> None:
    """Open Optuna's dashboard on a run (optional extra: pip install 'litefront[dashboard]')."""
    import importlib.util

    if importlib.util.find_spec("optuna_dashboard") is None:
        raise InputError("The dashboard needs the optional extra: pip install 'litefront[dashboard]'.")
    import optuna_dashboard

    from litefront.search.trial_storage import open_storage_to_read

    results = _only(_results(study, run_dir, device), "A dashboard is of one device")
    print(f"http://127.0.0.1:{port}", file=sys.stderr)
    optuna_dashboard.run_server(open_storage_to_read(storage, results.directory), host="127.0.0.1", port=port)


def _run_each(runs: Sequence[tuple[StudyFile, RunDirectory]], options: RunOptions, chosen: OutputFormat) -> None:
    """Runs a study for each device; one that cannot measure does not keep the others from it."""
    failed: list[LitefrontError] = []
    for study, directory in runs:
        if len(runs) > 1:
            print(f"device {study.spec.device_name}", file=sys.stderr)
        try:
            _run_one(study, directory, options, chosen)
        except LitefrontError as error:
            if len(runs) == 1:
                raise
            failed.append(error)
            print(f"device {study.spec.device_name}: {error}", file=sys.stderr)
    if failed:
        raise typer.Exit(2)


def _run_one(study: StudyFile, directory: RunDirectory, options: RunOptions, chosen: OutputFormat) -> None:
    from litefront.search.outputs import write_front
    from litefront.search.printing import print_front, print_summary
    from litefront.search.progress import TerminalProgress
    from litefront.search.report import write_report
    from litefront.search.study_run import run_study

    directory.create()
    _log_to_file(directory.log)
    with TerminalProgress(study.spec) as progress:
        try:
            results = run_study(study, directory, progress, options)
        except KeyboardInterrupt:
            _end_at_once()
    write_front(results)
    write_report(results, directory.report)
    print_front(results, chosen)
    if chosen == "table":
        print_summary(results)
    if progress.stopped_by is not None:
        print("stopped; the same command goes on from here", file=sys.stderr)
        raise typer.Exit(128 + progress.stopped_by)


def _end_at_once() -> NoReturn:
    """Ends this process as asked; the workers and runners end by themselves when they find nobody there."""
    print("\nstopped at once; the same command goes on from here", file=sys.stderr)
    sys.stderr.flush()
    os._exit(130)


def _output_format(name: str) -> OutputFormat:
    from litefront.search.tables import OutputFormat

    try:
        return OutputFormat(name)
    except ValueError:
        raise InputError(f"`--format` must be one of {', '.join(OutputFormat)}, but got {name!r}.") from None


def _results(study: str | None, run_dir: Path | None, device: str | None = None) -> list[StudyResults]:
    from litefront.search.device_runs import found_results

    return found_results(study, run_dir, device)


def _only(runs: Sequence[StudyResults], rule: str) -> StudyResults:
    if len(runs) > 1:
        raise InputError(f"{rule}, but there are {len(runs)}: choose one by `--device`.")
    return runs[0]


def _is_broken(entry: Pick, record: CellRecord) -> bool:
    """Whether this cell is a tier's pick, and breaks what the tier asks by its confirmed figures."""
    return entry.chosen is not None and entry.chosen.cell == record.cell and entry.broken is not None


def _log_to_file(path: Path) -> None:
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("litefront")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


if __name__ == "__main__":
    main()
