"""Rows of one input or several are handled alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from litefront.spaces.rows import Rows, by_name, load_rows, pick_output, row_count, row_shapes, save_rows, take_rows

ONE = np.arange(12.0).reshape(4, 3)
SEVERAL = {"file": ONE, "a/b": np.arange(4)}


@pytest.mark.parametrize(("rows", "suffix"), [(ONE, ".npy"), (SEVERAL, ".npz")])
def test_rows_come_back_as_they_were_kept_and_equal_rows_in_equal_bytes(
    rows: Rows, suffix: str, tmp_path: Path
) -> None:
    path, again = save_rows(rows, tmp_path / "rows"), save_rows(rows, tmp_path / "again")
    assert path.suffix == suffix and path.read_bytes() == again.read_bytes()
    loaded = load_rows(path)
    assert type(loaded) is dict or not isinstance(rows, dict)
    for name, array in by_name(rows, [""]).items():
        np.testing.assert_array_equal(by_name(loaded, [""])[name], array)


def test_rows_are_counted_taken_and_told_by_shape() -> None:
    assert (row_count(ONE), row_count(SEVERAL)) == (4, 4)
    taken = take_rows(SEVERAL, np.array([3, 0]))
    assert isinstance(taken, dict) and taken["a/b"].tolist() == [3, 0]
    assert np.asarray(take_rows(ONE, slice(1, 2))).tolist() == [[3.0, 4.0, 5.0]]
    assert row_shapes(ONE) == {"": (3,)}
    assert row_shapes(SEVERAL) == {"file": (3,), "a/b": ()}


def test_an_output_is_picked_by_its_name_or_as_the_only_one() -> None:
    assert pick_output(ONE) is ONE
    assert pick_output({"y": ONE}) is ONE
    assert pick_output(SEVERAL, "file") is ONE
    for name in (None, "c"):
        with pytest.raises(KeyError):
            pick_output(SEVERAL, name)
