"""Data and models that studies take from other projects' packages: where they lie, and what is said if they do not.

They are fetched by a study's `fetch.py`, once, and never at the time of a run; nothing of them comes with litefront.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from litefront.spaces.errors import InputError

__all__ = ["VARIABLE", "fetched_folder", "find_folder"]

VARIABLE = "LITEFRONT_DATA"
"""Environment variable that names the folder in which each study's data has a folder of its own."""


def fetched_folder(name: str) -> Path:
    """Where the data of this name is fetched to: in `$LITEFRONT_DATA`, by default `~/.cache/litefront/data`."""
    return Path(os.environ.get(VARIABLE) or Path.home() / ".cache" / "litefront" / "data") / name


def find_folder(name: str, files: Sequence[str], *, study: str, installed: Path | None = None) -> Path:
    """The folder that holds packaged data.

    Args:
        name: What the data is called, also its folder under `$LITEFRONT_DATA`.
        files: The files that must be there.
        study: The study that needs them; its `fetch.py` gets them.
        installed: Where a system's own package puts them, if one does.

    Raises:
        InputError: If no folder holds them all.
    """
    folders = [fetched_folder(name), *([installed] if installed else [])]
    for folder in folders:
        if all((folder / file).is_file() for file in files):
            return folder
    places = " or ".join(str(folder) for folder in folders)
    missing = " and no ".join(file for file in files if not (folders[0] / file).is_file())
    raise InputError(
        f"The study {study} needs {' and '.join(files)} in {places}, but {folders[0]} has no {missing}. "
        f"`python -m litefront.studies.{study}.fetch` gets them; ${VARIABLE} names another folder for fetched data."
    )
