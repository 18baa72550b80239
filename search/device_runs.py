"""The runs of a study: one a device, each in a folder of its own where the study has several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from litefront.search.run_directory import RunDirectory
from litefront.search.study_file import StudyFile, read_study_file
from litefront.search.study_results import StudyResults
from litefront.spaces.errors import InputError

__all__ = ["device_runs", "found_results", "run_of_tier"]

_STUDY = "study.json"


def device_runs(study: StudyFile, path: Path, device: str | None = None) -> list[tuple[StudyFile, RunDirectory]]:
    """What there is to run of a study: for each device the study as it is for that device, and where its run is kept.

    The run of an only device is kept in `path` itself, those of several in folders of the devices' names. These share
    their artifacts in `path`/store: what one device's search has built, the next one finds.

    Args:
        study: The study.
        path: Where its runs are kept.
        device: The device to run it for; None for each in turn.

    Raises:
        InputError: If the study has no such device.
    """
    names = list(study.spec.devices)
    if device is not None and device not in names:
        raise InputError(f"`--device` must be one of {', '.join(names)}, but got {device!r}.")
    if len(names) == 1:
        return [(study, RunDirectory(path))]
    chosen = names if device is None else [device]
    return [(replace(study, spec=study.spec.for_device(name)), RunDirectory(path / name)) for name in chosen]


def found_results(study: str | None, run_dir: Path | None, device: str | None = None) -> list[StudyResults]:
    """What the runs found that a command means.

    Args:
        study: A study, a run directory or the folder of a study's runs; None for what was run last under runs/.
        run_dir: Such a directory or folder, in place of the study.
        device: The device whose run is meant; None for all.

    Raises:
        InputError: If there is no such run.
    """
    path = run_dir or _run_path(study)
    return [StudyResults.read(directory) for directory in _found_runs(path, device)]


def run_of_tier(runs: Sequence[StudyResults], tier: str) -> StudyResults:
    """The run of the device that a tier stands for.

    Raises:
        InputError: If there is no such tier.
    """
    for results in runs:
        if tier in results.spec.tiers:
            return results
    tiers = [name for results in runs for name in results.spec.tiers]
    raise InputError(f"A tier must be one of {', '.join(tiers) or '(none)'}, but got {tier!r}.")


def _run_path(study: str | None) -> Path:
    """The run directory, or the folder of run directories, that a study's name means."""
    if study is None:
        return _newest_run(Path("runs"))
    for path in (Path(study), Path("runs") / study):
        if any(directory.study.is_file() for directory in _found_runs(path)):
            return path
    return Path("runs") / read_study_file(study).spec.study


def _found_runs(path: Path, device: str | None = None) -> list[RunDirectory]:
    """The runs that a path holds: one, or one a device."""
    found = {entry.parent.name: RunDirectory(entry.parent) for entry in sorted(path.glob(f"*/{_STUDY}"))}
    if (path / _STUDY).is_file() or not found:
        return [RunDirectory(path)]
    if device is not None and device not in found:
        raise InputError(f"`--device` must be one of {', '.join(found)}, but got {device!r}.")
    return list(found.values()) if device is None else [found[device]]


def _newest_run(path: Path) -> Path:
    """The folder in `path` of the study that was last run there, whatever its devices."""
    entries = [*path.glob(f"*/{_STUDY}"), *path.glob(f"*/*/{_STUDY}")]
    if not entries:
        raise InputError("There must be a run under runs/, or a STUDY or --run-dir; `litefront run` makes one.")
    newest = max(entries, key=lambda entry: entry.stat().st_mtime)
    return path / newest.relative_to(path).parts[0]
