"""Rows of data for a model: one array for a model of one input, an array an input by name for one of several.

What a model answers comes in the same two forms.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rows", "by_name", "load_rows", "pick_output", "row_count", "row_shapes", "save_rows", "take_rows"]

Rows = NDArray[Any] | Mapping[str, NDArray[Any]]
"""Shape `(rows, ...)`, or such an array for each input (or output) of the model by its name."""


def row_count(rows: Rows) -> int:
    """Number of rows."""
    return len(next(iter(rows.values()))) if isinstance(rows, Mapping) else len(rows)


def take_rows(rows: Rows, picked: NDArray[np.integer[Any]] | slice) -> Rows:
    """Some of the rows, by their numbers or as a slice."""
    if isinstance(rows, Mapping):
        return {name: array[picked] for name, array in rows.items()}
    return np.asarray(rows[picked])


def by_name(rows: Rows, names: Sequence[str]) -> Mapping[str, NDArray[Any]]:
    """The rows by name, where a plain array is that of the only name."""
    return rows if isinstance(rows, Mapping) else {names[0]: rows}


def row_shapes(rows: Rows) -> dict[str, tuple[int, ...]]:
    """The shape of one row of each input; a plain array's has an empty name."""
    return {name: tuple(array.shape[1:]) for name, array in by_name(rows, [""]).items()}


def pick_output(outputs: Rows, name: str | None = None) -> NDArray[Any]:
    """What one output answered.

    Args:
        outputs: What the model answered, shape `(rows, ...)`, or that of each output.
        name: The output; None for the only one.

    Raises:
        KeyError: If there is none of that name, or several and no name.
    """
    if not isinstance(outputs, Mapping):
        return outputs
    if name is None and len(outputs) == 1:
        return next(iter(outputs.values()))
    return outputs[name or ""]


def save_rows(rows: Rows, stem: Path) -> Path:
    """Writes rows beside `stem`: an array as `.npy`, several as `.npz`; equal rows give equal bytes."""
    if not isinstance(rows, Mapping):
        path = stem.with_name(stem.name + ".npy")
        np.save(path, rows)
        return path
    path = stem.with_name(stem.name + ".npz")
    with zipfile.ZipFile(path, "w") as archive:
        # Not by `np.savez`, which cannot take an array of the name `file`.
        for name in sorted(rows):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(rows[name]), allow_pickle=False)
    return path


def load_rows(path: Path) -> Rows:
    """Reads what `save_rows` or a device has written; a plain array is mapped, not read."""
    stored = np.load(path, mmap_mode="r", allow_pickle=False)
    if isinstance(stored, np.ndarray):
        return stored
    with stored:
        return {name: stored[name] for name in stored.files}
