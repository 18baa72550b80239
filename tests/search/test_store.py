"""The artifact store: what was put in comes out whole, or counts as missing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from litefront.search.digests import digest_of_path
from litefront.search.object_packing import unpack_object
from litefront.search.shared_rest import SharedRest
from litefront.search.store import ArtifactStore, StageRecord
from litefront.spaces.errors import InputError, StoreError

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


def python(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


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


def test_an_object_that_is_damaged_after_it_was_found_counts_as_missing_at_once(store: ArtifactStore) -> None:
    record = keep(store, tflite=put(store), model=put_folder(store))
    assert store.find("quantized", record.key) == record
    (store.path(record.objects["model"]) / "variables" / "data").write_bytes(CONTENT[:-1])
    assert store.find("quantized", record.key) is None
    assert put_folder(store) == record.objects["model"]
    assert store.find("quantized", record.key) == record
    store.path(record.objects["tflite"]).write_bytes(CONTENT.upper())
    assert store.find("quantized", record.key) is None


def test_an_object_that_was_only_touched_is_whole(store: ArtifactStore) -> None:
    record = keep(store, tflite=put(store))
    os.utime(store.path(record.objects["tflite"]), (1, 1))
    assert store.find("quantized", record.key) == record


def test_a_found_record_is_not_read_again(store: ArtifactStore) -> None:
    record = keep(store, tflite=put(store))
    again = reopened(store)
    assert again.find("quantized", record.key) == record
    record_file(store).unlink()
    assert again.find("quantized", record.key) == record
    assert reopened(store).find("quantized", record.key) is None


def test_an_added_record_is_found_as_it_would_be_read(store: ArtifactStore) -> None:
    store.add(StageRecord("quantized", "key", {}, {"shape": (1, 2)}, 0.0))
    assert store.find("quantized", "key") == reopened(store).find("quantized", "key")


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
    assert reopened(store).find("quantized", record.key) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": "another"},
        {"stage": "latency"},
        {"objects": {"tflite": "../../../etc/passwd"}},
        {"objects": {"tflite": "0" * 64 + "./../../escaped"}},
        {"objects": {"tflite": None}},
        {"objects": None},
        {"facts": None},
    ],
    ids=str,
)
def test_a_record_that_cannot_be_this_stages_counts_as_missing(store: ArtifactStore, wrong: dict[str, object]) -> None:
    record = keep(store)
    record_file(store).write_text(json.dumps(dataclasses.asdict(record) | wrong))
    assert reopened(store).find("quantized", record.key) is None


def test_a_record_that_the_disk_does_not_give_counts_as_missing(store: ArtifactStore) -> None:
    record_file(store).mkdir(parents=True)
    assert store.find("quantized", "k" * 64) is None


@pytest.mark.parametrize("content", ["null", "[]", "{}", '{"stage": "quantized", "key": "k"}', '{"unknown": 1}', "\0"])
def test_a_record_that_is_something_else_counts_as_missing(store: ArtifactStore, content: str) -> None:
    keep(store)
    record_file(store).write_text(content)
    assert reopened(store).find("quantized", "k" * 64) is None


def test_a_record_of_bytes_that_are_no_text_counts_as_missing(store: ArtifactStore) -> None:
    keep(store)
    record_file(store).write_bytes(b"\xff\xfe\x00")
    assert reopened(store).find("quantized", "k" * 64) is None


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


HOLD_SCRATCH = """
import sys
from pathlib import Path
from litefront.search.store import ArtifactStore

with ArtifactStore(Path(sys.argv[1])).scratch() as folder:
    (folder / "half").write_bytes(b"made")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_scratch_of_a_live_process_stays_until_it_is_killed(store: ArtifactStore) -> None:
    process = python(HOLD_SCRATCH, store.root)
    try:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        store.remove_scratch()
        assert (folder / "half").exists()
    finally:
        process.kill()
        process.communicate()
    store.remove_scratch()
    assert list(store.root.iterdir()) == []


def test_scratch_of_this_process_stays(store: ArtifactStore) -> None:
    with store.scratch() as folder:
        reopened(store).remove_scratch()
        assert folder.is_dir()


ADD_FOLDERS = """
import sys
from pathlib import Path
from litefront.search.store import ArtifactStore

store = ArtifactStore(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[2])):
    with store.scratch() as scratch:
        folder = scratch / "saved_model"
        (folder / "variables").mkdir(parents=True)
        (folder / "saved_model.pb").write_text(str(number))
        print(store.add_object(folder), flush=True)
"""


def test_processes_that_add_the_same_folders_at_once_all_find_them(store: ArtifactStore) -> None:
    adders = [python(ADD_FOLDERS, store.root, 50) for _ in range(3)]
    for adder in adders:
        assert adder.stdout is not None and adder.stdout.readline() == "ready\n"
    for adder in adders:
        assert adder.stdin is not None
        adder.stdin.write("\n")
        adder.stdin.flush()
    outputs = [adder.communicate(timeout=120)[0] for adder in adders]
    assert [adder.returncode for adder in adders] == [0, 0, 0]
    assert len(outputs[0].split()) == 50 and len(set(outputs)) == 1
    keep(store, **{f"model{number}": digest for number, digest in enumerate(outputs[0].split())})
    assert reopened(store).find("quantized", "k" * 64) is not None


def test_a_folder_that_another_process_adds_first_is_taken(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def overtaken(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "replace", replace)
        put_folder(reopened(store))
        replace(source, target)

    monkeypatch.setattr(os, "replace", overtaken)
    record = keep(store, model=put_folder(store))
    assert reopened(store).find("quantized", record.key) == record
    assert not list(store.root.glob("scratch-*"))


def test_a_file_in_a_folders_place_is_replaced(store: ArtifactStore) -> None:
    record = keep(store, model=put_folder(store))
    folder = store.path(record.objects["model"])
    folder.rename(store.root / "aside")
    folder.write_bytes(b"damaged")
    put_folder(reopened(store))
    assert reopened(store).find("quantized", record.key) == record


def test_a_claim_is_one_on_its_stage_and_key_alone(store: ArtifactStore) -> None:
    with store.claim("quantized", "key") as claim:
        assert claim is not None
        assert reopened(store).claim("quantized", "key") is None
        with store.claim("accuracy", "key") as other, store.claim("quantized", "other key") as another:
            assert other is not None and another is not None
    with store.claim("quantized", "key") as claim:
        assert claim is not None
    assert list((store.root / "claims").iterdir()) == []


def test_a_claim_that_the_disk_does_not_take_says_why(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"")
    with pytest.raises(StoreError, match="store cannot be written"):
        ArtifactStore(tmp_path / "store").claim("quantized", "key")


@pytest.mark.parametrize("put_one", [put, put_folder])
def test_a_packed_object_is_whole_in_another_store(
    store: ArtifactStore, tmp_path: Path, put_one: Callable[[ArtifactStore], str]
) -> None:
    digest = put_one(store)
    other = ArtifactStore(tmp_path / "other")
    other.unpack(digest, store.pack(digest))
    other.unpack(digest, store.pack(digest))
    assert digest_of_path(other.path(digest)) == digest.partition(".")[0]
    assert [path.name for path in other.root.iterdir()] == ["objects"]


def test_a_damaged_object_is_neither_sent_nor_taken(store: ArtifactStore, tmp_path: Path) -> None:
    digest = put(store)
    other = ArtifactStore(tmp_path / "other")
    with pytest.raises(ValueError, match="must arrive as it was packed"):
        other.unpack(digest, store.pack(digest)[:-1])
    assert [path for path in other.root.rglob("*") if path.is_file()] == []
    store.path(digest).write_bytes(b"damaged")
    with pytest.raises(StoreError, match="must be whole to be sent, but .* is missing or damaged"):
        store.pack(digest)


def test_a_sound_object_takes_the_place_of_a_damaged_one(store: ArtifactStore) -> None:
    digest = put_folder(store)
    packed = store.pack(digest)
    (store.path(digest) / "saved_model.pb").write_bytes(b"damaged")
    store.unpack(digest, packed)
    assert store.pack(digest) == packed


@pytest.mark.parametrize("digest", ["../../outside", "0" * 63, "0" * 64 + "./../outside", "0" * 64 + "suffix", ""])
def test_an_object_whose_name_is_no_digest_is_refused(store: ArtifactStore, digest: str) -> None:
    with pytest.raises(ValueError, match="must be a SHA-256"):
        store.unpack(digest, b"")


@pytest.fixture(params=["file", "memory"])
def rest(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a resting place."""
    return f"file://{tmp_path}/rest" if request.param == "file" else f"memory://{uuid4().hex}"


def machine(tmp_path: Path, rest: str) -> ArtifactStore:
    """The store of one more machine that shares the resting place."""
    return ArtifactStore(tmp_path / uuid4().hex, rest)


def test_what_one_machine_added_another_finds_and_keeps(tmp_path: Path, rest: str) -> None:
    first, second = machine(tmp_path, rest), machine(tmp_path, rest)
    record = keep(first, tflite=put(first), model=put_folder(first))
    assert second.find("quantized", record.key) == record
    assert second.path(record.objects["tflite"]).read_bytes() == CONTENT
    assert reopened(second).find("quantized", record.key) == record, "it counts as local from then on"


def test_what_nobody_added_is_not_found_at_rest(tmp_path: Path, rest: str) -> None:
    store = machine(tmp_path, rest)
    store.check_rest()
    assert store.find("quantized", "key") is None


def test_an_object_that_is_lost_or_damaged_here_comes_from_its_rest(tmp_path: Path, rest: str) -> None:
    store = machine(tmp_path, rest)
    record = keep(store, tflite=put(store), model=put_folder(store))
    store.path(record.objects["tflite"]).write_bytes(b"damaged")
    (store.path(record.objects["model"]) / "saved_model.pb").unlink()
    assert store.find("quantized", record.key) == record
    assert reopened(store).find("quantized", record.key) == record


@pytest.mark.parametrize("damaged", [b"", CONTENT[:-1], CONTENT.upper()])
def test_an_object_that_is_damaged_at_rest_counts_as_missing_and_is_mended(
    tmp_path: Path, rest: str, damaged: bytes
) -> None:
    first, second, third = (machine(tmp_path, rest) for _ in range(3))
    record = keep(first, tflite=put(first))
    digest = record.objects["tflite"]
    SharedRest(rest).write(f"objects/{digest[:2]}/{digest}", damaged)
    assert second.find("quantized", record.key) is None
    assert not second.path(digest).exists()
    keep(second, tflite=put(second))
    assert third.find("quantized", record.key) == record


def test_an_object_that_was_cut_off_on_its_way_to_its_rest_is_sent_again(tmp_path: Path, rest: str) -> None:
    store = machine(tmp_path, rest)
    digest = put(store)
    SharedRest(rest).write(f"objects/{digest[:2]}/{digest}", CONTENT[:-1])
    record = keep(store, tflite=digest)
    assert machine(tmp_path, rest).find("quantized", record.key) == record


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
def test_a_record_that_is_damaged_at_rest_counts_as_missing(tmp_path: Path, rest: str, content: bytes) -> None:
    SharedRest(rest).write("stages/quantized/key.json", content)
    assert machine(tmp_path, rest).find("quantized", "key") is None


def test_a_record_never_rests_before_its_objects(tmp_path: Path, rest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = machine(tmp_path, rest)
    written: list[str] = []
    write = SharedRest.write
    monkeypatch.setattr(SharedRest, "write", lambda self, *file: (written.append(file[0]), write(self, *file))[1])
    record = keep(store, tflite=put(store), model=put_folder(store))
    objects = [f"objects/{digest[:2]}/{digest}" for digest in record.objects.values()]
    assert written == [*objects, f"stages/quantized/{record.key}.json"]
    written.clear()
    other = machine(tmp_path, rest)
    other.add(dataclasses.replace(record, key="other", objects={"tflite": put(other)}))
    assert written == ["stages/quantized/other.json"], "an object that rests there is not sent again"


def test_what_a_run_without_a_resting_place_left_is_brought_there_when_it_is_found(tmp_path: Path, rest: str) -> None:
    alone = ArtifactStore(tmp_path / "store")
    record = keep(alone, model=put_folder(alone))
    assert ArtifactStore(alone.root, rest).find("quantized", record.key) == record
    assert machine(tmp_path, rest).find("quantized", record.key) == record


def test_a_workers_record_is_shared_by_the_run(tmp_path: Path, rest: str) -> None:
    run = machine(tmp_path, rest)
    worker = reopened(run)
    record = keep(worker, tflite=put(worker))
    run.share(record)
    assert machine(tmp_path, rest).find("quantized", record.key) == record


def test_a_folder_rests_as_one_file(tmp_path: Path, rest: str) -> None:
    store = machine(tmp_path, rest)
    digest = put_folder(store)
    keep(store, model=digest)
    content = SharedRest(rest).read(f"objects/{digest[:2]}/{digest}")
    assert content is not None
    unpack_object(content, digest, tmp_path / "copy")
    assert (tmp_path / "copy" / "variables" / "data").read_bytes() == CONTENT


def test_a_store_alone_has_no_rest_to_check_or_share_with(store: ArtifactStore) -> None:
    store.check_rest()
    store.share(keep(store, tflite=put(store)))
    assert sorted(path.name for path in store.root.iterdir()) == ["objects", "stages"]


def test_a_rest_that_cannot_be_written_is_an_input_error_at_the_start_and_a_store_error_later(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = machine(tmp_path, f"file://{tmp_path}/file/rest")
    with pytest.raises(InputError, match="must be one that can be written and read"):
        store.check_rest()
    with pytest.raises(StoreError, match="must stay within reach"):
        keep(store, tflite=put(store))
    assert reopened(store).find("quantized", "k" * 64) is not None, "what was done stays"


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
from litefront.spaces.errors import InputError, StoreError

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
