"""Digests: equal for what is equal, another one for every difference that can change a result."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from litefront.search.digests import (
    digest_of_array,
    digest_of_bytes,
    digest_of_json,
    digest_of_path,
    digest_of_rows,
    signature_of_path,
)


def test_bytes_have_their_sha256() -> None:
    assert digest_of_bytes(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2


def test_json_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest_of_json({"a": 1, "b": [1, {"c": 2, "d": 3}]}) == digest_of_json({"b": [1, {"d": 3, "c": 2}], "a": 1})


def test_json_digest_is_that_of_the_text_without_spaces() -> None:
    assert digest_of_json({"b": [1, None], "a": 0.5}) == hashlib.sha256(b'{"a":0.5,"b":[1,null]}').hexdigest()


@pytest.mark.parametrize("other", [[1, 2], [2, 1, 3], ["1", 2, 3], [1, 2, 3.5], [[1, 2, 3]], None])
def test_json_digest_tells_values_apart(other: object) -> None:
    assert digest_of_json([1, 2, 3]) != digest_of_json(other)


def test_nan_has_no_digest() -> None:
    with pytest.raises(ValueError, match="JSON"):
        digest_of_json({"value": float("nan")})


def test_array_digest_does_not_depend_on_the_layout_in_memory() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    fortran, strided = np.asfortranarray(array), np.repeat(array, 2, axis=1)[:, ::2]
    assert digest_of_array(array) == digest_of_array(fortran) == digest_of_array(strided)


@pytest.mark.parametrize(
    "other",
    [
        np.arange(12, dtype=np.float32).reshape(4, 3),
        np.arange(12, dtype=np.int32).reshape(3, 4),
        np.arange(12, dtype=np.float64).reshape(3, 4),
        np.arange(12, dtype=np.float32).reshape(3, 4) * -1,
        np.arange(12, dtype=">f4").reshape(3, 4),
        np.empty((0, 4), np.float32),
        None,
    ],
)
def test_array_digest_tells_shape_type_and_values_apart(other: np.ndarray | None) -> None:
    assert digest_of_array(np.arange(12, dtype=np.float32).reshape(3, 4)) != digest_of_array(other)


def test_file_digest_is_the_sha256_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert digest_of_path(tmp_path / "file") == digest_of_bytes(b"abc")


def test_folder_digest_does_not_depend_on_where_the_folder_lies(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "variables").mkdir(parents=True)
        (tmp_path / name / "variables" / "data").write_bytes(b"weights")
    assert digest_of_path(tmp_path / "one") == digest_of_path(tmp_path / "two")


@pytest.mark.parametrize("change", ["contents", "renamed", "moved", "added", "removed"])
def test_folder_digest_changes_with_any_file_in_it(tmp_path: Path, change: str) -> None:
    folder = tmp_path / "saved_model"
    (folder / "variables").mkdir(parents=True)
    data = folder / "variables" / "data"
    data.write_bytes(b"weights")
    (folder / "saved_model.pb").write_bytes(b"graph")
    before = digest_of_path(folder)
    changes = {
        "contents": lambda: data.write_bytes(b"Weights"),
        "renamed": lambda: data.rename(data.with_name("atad")),
        "moved": lambda: data.rename(folder / "data"),
        "added": lambda: (folder / "assets").write_bytes(b""),
        "removed": lambda: (folder / "saved_model.pb").unlink(),
    }
    changes[change]()
    assert digest_of_path(folder) != before


def test_what_is_not_there_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        digest_of_path(tmp_path / "nothing")


def test_a_signature_stays_while_nobody_writes(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"abc")
    assert signature_of_path(tmp_path) == signature_of_path(tmp_path) != ()
    assert signature_of_path(tmp_path / "deep" / "file") == signature_of_path(tmp_path / "deep" / "file")


@pytest.mark.parametrize("change", ["same size", "same time", "replaced", "added", "removed", "renamed"])
def test_a_signature_changes_with_any_file_in_the_folder(tmp_path: Path, change: str) -> None:
    folder = tmp_path / "saved_model"
    (folder / "variables").mkdir(parents=True)
    data, copy = folder / "variables" / "data", tmp_path / "copy"
    data.write_bytes(b"weights")
    os.utime(data, ns=(0, 10**9))
    before = signature_of_path(folder)
    if change == "same size":
        data.write_bytes(b"Weights")
    elif change == "same time":
        data.write_bytes(b"longer weights")
        os.utime(data, ns=(0, 10**9))
    elif change == "replaced":
        copy.write_bytes(b"Weights")
        os.utime(copy, ns=(0, 10**9))
        copy.replace(data)
    elif change == "added":
        (folder / "assets").write_bytes(b"")
    elif change == "removed":
        data.unlink()
    else:
        data.rename(folder / "data")
    assert signature_of_path(folder) != before


def test_what_is_not_there_has_no_signature(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        signature_of_path(tmp_path / "nothing")


def test_rows_by_name_have_a_digest_that_the_order_of_names_does_not_change() -> None:
    one, other = np.arange(3), np.ones(3)
    assert digest_of_rows({"a": one, "b": other}) == digest_of_rows({"b": other, "a": one})
    assert len({digest_of_rows(rows) for rows in (None, one, {"a": one}, {"b": one}, {"a": one, "b": other})}) == 5
    assert digest_of_rows(one) == digest_of_array(one)
