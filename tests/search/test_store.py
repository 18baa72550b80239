"""The artifact store: what was put in comes out whole, or counts as missing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from litefront.search.store import ArtifactStore, StageRecord
from litefront.spaces.errors import StoreError

CONTENT = b"weights" * 100


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store")


def put(store: ArtifactStore, content: bytes = CONTENT, name: str = "model.tflite") -> str:
    with store.scratch() as folder:
        (folder / name).write_bytes(content)
        return store.add_object(folder / name)


def put_folder(store: ArtifactStore) -> str:
    """A folder such as a SavedModel."""
    with store.scratch() as scratch:
        folder = scratch / "saved_model"
        (folder / "variables").mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"graph")
        (folder / "variables" / "data").write_bytes(CONTENT)
        return store.add_object(folder)


def keep(store: ArtifactStore, **objects: str) -> StageRecord:
    record = StageRecord("quantized", "k" * 64, objects, {"share": 0.5, "shape": [1, None]}, 1.5)
    store.add(record)
    return record


def reopened(store: ArtifactStore) -> ArtifactStore:
    """The store as another process sees it."""
    return ArtifactStore(store.root)


def record_file(store: ArtifactStore) -> Path:
    return store.root / "stages" / "quantized" / f"{'k' * 64}.json"


def test_an_object_is_found_by_its_sha256_and_keeps_its_suffix(store: ArtifactStore) -> None:
    digest = put(store)
    assert digest == hashlib.sha256(CONTENT).hexdigest() + ".tflite"
    assert reopened(store).path(digest).read_bytes() == CONTENT


def test_equal_contents_lie_there_once(store: ArtifactStore) -> None:
    assert put(store, name="a.tflite") == put(store, name="b.tflite")
    assert len([path for path in store.root.rglob("*") if path.is_file()]) == 1


def test_a_record_comes_back_as_it_was_added(store: ArtifactStore) -> None:
    record = keep(store, tflite=put(store))
    assert reopened(store).find("quantized", record.key) == record


def test_a_later_record_of_the_same_key_counts(store: ArtifactStore) -> None:
    record = keep(store, tflite=put(store))
    store.add(dataclasses.replace(record, seconds=9.0))
    found = store.find("quantized", record.key)
    assert found is not None and found.seconds == 9.0


def test_what_was_never_added_is_not_found(store: ArtifactStore) -> None:
    keep(store)
    assert store.find("quantized", "another key") is None
    assert store.find("accuracy", "k" * 64) is None


@pytest.mark.parametrize("position", [0, 350, -1])
def test_an_object_with_one_wrong_byte_counts_as_missing(store: ArtifactStore, position: int) -> None:
    record = keep(store, tflite=put(store))
    damaged = bytearray(CONTENT)
    damaged[position] ^= 1
    store.path(record.objects["tflite"]).write_bytes(damaged)
    assert reopened(store).find("quantized", record.key) is None


def test_an_object_cut_short_counts_as_missing(store: ArtifactStore) -> None:
    record = keep(store, tflite=put(store))
    store.path(record.objects["tflite"]).write_bytes(CONTENT[:-1])
    assert reopened(store).find("quantized", record.key) is None


def test_an_object_that_is_gone_counts_as_missing_at_once(store: ArtifactStore) -> None:
    record = keep(store, tflite=put(store))
    store.path(record.objects["tflite"]).unlink()
    assert store.find("quantized", record.key) is None


def test_one_missing_object_of_two_is_enough(store: ArtifactStore) -> None:
    record = keep(store, tflite=put(store), outputs=put(store, b"outputs"))
    store.path(record.objects["outputs"]).unlink()
    assert reopened(store).find("quantized", record.key) is None


def test_a_damaged_object_is_replaced_when_the_stage_has_run_again(store: ArtifactStore) -> None:
    record = keep(store, tflite=put(store))
    store.path(record.objects["tflite"]).write_bytes(b"damaged")
    again = reopened(store)
    assert put(again) == record.objects["tflite"]
    assert reopened(store).find("quantized", record.key) == record


def test_a_folder_is_an_object_too(store: ArtifactStore) -> None:
    record = keep(store, model=put_folder(store))
    again = reopened(store)
    assert again.find("quantized", record.key) == record
    assert (again.path(record.objects["model"]) / "variables" / "data").read_bytes() == CONTENT


@pytest.mark.parametrize("damage", ["changed", "removed", "added"])
def test_a_folder_with_a_wrong_file_counts_as_missing(store: ArtifactStore, damage: str) -> None:
    record = keep(store, model=put_folder(store))
    folder = store.path(record.objects["model"])
    if damage == "removed":
        (folder / "saved_model.pb").unlink()
    else:
        (folder / {"changed": "saved_model.pb", "added": "more"}[damage]).write_bytes(b"other")
    assert reopened(store).find("quantized", record.key) is None


def test_a_damaged_folder_is_replaced_when_the_stage_has_run_again(store: ArtifactStore) -> None:
    record = keep(store, model=put_folder(store))
    (store.path(record.objects["model"]) / "saved_model.pb").write_bytes(b"other")
    assert put_folder(reopened(store)) == record.objects["model"]
    assert reopened(store).find("quantized", record.key) == record


@pytest.mark.parametrize("kept_bytes", [0, 1, 40, -2])
def test_a_record_cut_short_counts_as_missing(store: ArtifactStore, kept_bytes: int) -> None:
    record = keep(store, tflite=put(store))
    whole = record_file(store).read_bytes()
    record_file(store).write_bytes(whole[:kept_bytes])
    assert store.find("quantized", record.key) is None


@pytest.mark.parametrize("content", ["null", "[]", "{}", '{"stage": "quantized", "key": "k"}', '{"unknown": 1}', "\0"])
def test_a_record_that_is_something_else_counts_as_missing(store: ArtifactStore, content: str) -> None:
    keep(store)
    record_file(store).write_text(content)
    assert store.find("quantized", "k" * 64) is None


def test_a_record_of_bytes_that_are_no_text_counts_as_missing(store: ArtifactStore) -> None:
    keep(store)
    record_file(store).write_bytes(b"\xff\xfe\x00")
    assert store.find("quantized", "k" * 64) is None


def test_a_record_with_nan_is_refused(store: ArtifactStore) -> None:
    with pytest.raises(ValueError, match="JSON"):
        store.add(StageRecord("quantized", "k", {}, {"share": float("nan")}, 0.0))
    assert store.find("quantized", "k") is None


def test_records_are_plain_json(store: ArtifactStore) -> None:
    record = keep(store, tflite=put(store))
    assert json.loads(record_file(store).read_text()) == dataclasses.asdict(record)


def test_scratch_is_empty_lies_on_the_stores_disk_and_is_gone_afterwards(store: ArtifactStore) -> None:
    with store.scratch() as folder:
        assert list(folder.iterdir()) == []
        assert folder.stat().st_dev == store.root.stat().st_dev
        (folder / "left").write_bytes(b"behind")
    assert list(store.root.iterdir()) == []


def test_scratch_is_gone_after_an_error_and_the_error_comes_through_as_it_is(store: ArtifactStore) -> None:
    with pytest.raises(FileNotFoundError), store.scratch() as folder:
        (folder / "nothing" / "left").write_bytes(b"behind")
    assert list(store.root.iterdir()) == []


def test_what_a_killed_run_left_is_cleared_and_objects_stay(store: ArtifactStore) -> None:
    digest = put(store)
    left = store.root / "scratch-abandoned"
    (left / "deeper").mkdir(parents=True)
    store.remove_scratch()
    assert not left.exists()
    assert store.path(digest).exists()


def test_a_store_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = ArtifactStore(tmp_path / "file" / "store")
    with pytest.raises(StoreError, match=r"file/store cannot be written: not a directory"), store.scratch():
        pass
    with pytest.raises(StoreError, match="not a directory"):
        store.add(StageRecord("quantized", "k", {}, {}, 0.0))


def test_an_object_that_the_stage_did_not_leave_is_an_error(store: ArtifactStore) -> None:
    with store.scratch() as folder, pytest.raises(StoreError, match="no such file"):
        store.add_object(folder / "model.tflite")


ADD_A_LARGE_RECORD = """
import sys
from pathlib import Path
from litefront.search.store import ArtifactStore, StageRecord
from litefront.spaces.errors import StoreError

try:
    ArtifactStore(Path(sys.argv[1])).add(StageRecord("quantized", "key", {}, {"text": "x" * 100_000}, 0.0))
except StoreError as error:
    print(error)
"""


def test_a_record_that_the_disk_cuts_off_is_an_error_and_leaves_no_part(tmp_path: Path) -> None:
    # A limit on the length of files stops a write in its middle, as a full disk does, and needs no rights to set.
    result = subprocess.run(
        [sys.executable, "-c", ADD_A_LARGE_RECORD, str(tmp_path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "key.json cannot be written: file too large" in result.stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
