"""The artifact store: what a stage left, found by the key of everything that can change it.

    objects/ab/abcdef....tflite   contents, by their SHA-256; equal contents lie there once
    stages/<stage>/<key>.json     what the stage of that key left: its objects and what was counted
    claims/<stage>-<key>          a stage that some run is at; gone afterwards
    scratch-<name>, ....lock      a folder that a live process works in, and the lock that shows that it lives

Everything is written beside its place and moved there, so a reader finds a whole file or none. Contents are checked
against their digest when they are first read, and again when they have been written to since; a damaged one counts as
missing, and its stage runs again.

A store may have a resting place, where its records and objects lie for other machines too, by the same names (a folder
among the objects as a tar). What is not here is looked for there.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from litefront.search.claims import Claim, claim_file
from litefront.search.digests import PathSignature, digest_of_path, signature_of_path
from litefront.search.object_packing import pack_object, unpack_object
from litefront.search.run_directory import explain_os_error, write_atomically
from litefront.search.shared_rest import SharedRest
from litefront.spaces.errors import StoreError

__all__ = ["ArtifactStore", "StageRecord"]

_log = logging.getLogger(__name__)

# Names from a record that others wrote become paths here: nothing else may be one.
_OBJECT_NAME = re.compile(r"[0-9a-f]{64}(\.[^/\0]*)?")
# What moving a file or folder meets when another process has put its own there first, or has just taken it away.
_OVERTAKEN = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR})
_MOVES = 10


@dataclass(frozen=True)
class StageRecord:
    """What a stage left.

    Attributes:
        stage: The stage's name.
        key: Its key.
        objects: Digest of each file that it left, by the name that the stage gave it.
        facts: What it counted and measured, as plain JSON values.
        seconds: How long it ran.
    """

    stage: str
    key: str
    objects: Mapping[str, str]
    facts: Mapping[str, Any]
    seconds: float


class ArtifactStore:
    """A folder of artifacts; several processes may use it at once.

    Args:
        root: The folder, on a disk of this machine or one that it has mounted.
        rest: Where records and objects rest for everyone: an fsspec URL (`s3://bucket/prefix`, `sftp://host/path`,
            `file:///path`) or a plain path. None: the folder is all there is. One process a run has it; its workers
            use the folder alone.
    """

    def __init__(self, root: Path, rest: str | None = None) -> None:
        self.root = root
        self._rest = None if rest is None else SharedRest(rest)
        self._records: dict[tuple[str, str], StageRecord] = {}
        self._verified: dict[str, PathSignature] = {}
        self._resting: set[str] = set()
        self._damaged_at_rest: set[str] = set()

    def check_rest(self) -> None:
        """Sees whether the resting place can be used, if there is one, by writing and removing a small file.

        Raises:
            InputError: If it cannot.
        """
        if self._rest is not None:
            self._rest.check()

    def find(self, stage: str, key: str) -> StageRecord | None:
        """The record of a stage that has run, or None; None too if one of its objects is missing or damaged.

        What is missing here comes from the resting place, and what is missing there is brought there. A record that
        was found or added once is not read again: all that a key can leave are equally good. Its objects are looked
        at each time.

        Raises:
            StoreError: If the resting place cannot be read, or the disk does not take what came from there.
        """
        if (known := self._records.get((stage, key))) is not None:
            return known if self._has_objects(known) else None
        here = self._read_record(stage, key)
        record = here or self._rested_record(stage, key)
        if record is None or not self._has_objects(record):
            return None
        if here is None:
            self._write_record(record)
        elif self._rest is not None and self._rest.size_bytes(_record_name(stage, key)) is None:
            # Left by a run that had no resting place, or that was killed before the record came there.
            self.share(record)
        self._records[stage, key] = record
        return record

    def add(self, record: StageRecord) -> None:
        """Keeps a stage's record, here and at the resting place; its objects are here already.

        Raises:
            StoreError: If the disk or the resting place does not take it.
        """
        self._write_record(record)
        self.share(record)

    def share(self, record: StageRecord) -> None:
        """Brings the objects of a record and then the record itself to the resting place, if there is one.

        Objects that rest there already are not sent again. For records that a worker added, which knows the folder
        alone; `add` does it by itself.

        Raises:
            StoreError: If an object is missing or damaged here, or the resting place does not take it.
        """
        if self._rest is None:
            return
        for digest in record.objects.values():
            if digest not in self._resting:
                content = self.pack(digest)
                name = _object_name(digest)
                # A shorter one was cut off where files are not written atomically.
                if digest in self._damaged_at_rest or self._rest.size_bytes(name) != len(content):
                    self._rest.write(name, content)
                self._damaged_at_rest.discard(digest)
                self._resting.add(digest)
        self._rest.write(_record_name(record.stage, record.key), _to_json(record))

    def add_object(self, source: Path) -> str:
        """Moves a file or folder into the store and gives its digest.

        Raises:
            StoreError: If the disk does not take it.
        """
        with self._explained():
            digest = f"{digest_of_path(source)}{source.suffix}"
            self._move_in(source, digest)
            return digest

    def path(self, digest: str) -> Path:
        """Where the object of this digest lies."""
        return self.root / _object_name(digest)

    def pack(self, digest: str) -> bytes:
        """An object as bytes, for `unpack` in another machine's store.

        Raises:
            StoreError: If it is missing or damaged.
        """
        if not self._is_whole(digest):
            raise StoreError(f"An object must be whole to be sent, but {self.path(digest)} is missing or damaged.")
        with self._explained("read"):
            return pack_object(self.path(digest))

    def unpack(self, digest: str, data: bytes) -> None:
        """Puts an object into the store that another store has packed; nothing is left of one that came damaged.

        Raises:
            ValueError: If the bytes are not those of that object.
            StoreError: If the disk does not take it.
        """
        if not _OBJECT_NAME.fullmatch(digest):
            raise ValueError(f"An object's digest must be a SHA-256 in hex and a suffix, but got {digest!r}.")
        if self._is_whole(digest):
            return
        with self.scratch() as folder, self._explained():
            unpack_object(data, digest.partition(".")[0], folder / "object")
            self._move_in(folder / "object", digest)

    def claim(self, stage: str, key: str) -> Claim | None:
        """Claims a stage for this run, so that no other run on this folder does the same work; None if one has it.

        The kernel drops a claim with its process, however that ends. Whoever gets one looks with `find` again before
        running the stage: the last holder may have just left its record. Machines that share a resting place only
        have no claims on each other: a stage that two of them start at once runs twice, and leaves the same contents.

        Raises:
            StoreError: If the disk does not take it, or its file system has no locks.
        """
        with self._explained():
            folder = self.root / "claims"
            folder.mkdir(parents=True, exist_ok=True)
            return claim_file(folder / f"{stage}-{key}")

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder to work in, on the store's own disk; gone afterwards.

        Raises:
            StoreError: If the disk does not take it.
        """
        folder = self.root / f"scratch-{uuid4().hex}"
        with self._explained():
            self.root.mkdir(parents=True, exist_ok=True)
            # Locked before there is a folder, so that nobody finds one without its lock.
            alive = claim_file(_lock_of(folder))
        assert alive is not None, "nobody else knows the name"
        with alive:
            try:
                with self._explained():
                    folder.mkdir()
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def remove_scratch(self) -> None:
        """Clears what killed processes left; folders of live ones stay."""
        with self._explained():
            for folder in {path.with_suffix("") for path in self.root.glob("scratch-*")}:
                dead = claim_file(_lock_of(folder))
                if dead is not None:
                    with dead:
                        shutil.rmtree(folder, ignore_errors=True)

    def _has_objects(self, record: StageRecord) -> bool:
        for name, digest in record.objects.items():
            if not self._is_whole(digest) and not self._bring_here(digest):
                place = f"{name} of {record.stage} {record.key[:12]}"
                _log.warning("%s is missing or damaged; the stage runs again.", place)
                return False
        return True

    def _read_record(self, stage: str, key: str) -> StageRecord | None:
        try:
            return _from_json((self.root / _record_name(stage, key)).read_bytes(), stage, key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            _log.warning("The record of %s %s is damaged; the stage runs again.", stage, key[:12])
            return None

    def _rested_record(self, stage: str, key: str) -> StageRecord | None:
        content = None if self._rest is None else self._rest.read(_record_name(stage, key))
        try:
            return None if content is None else _from_json(content, stage, key)
        except ValueError:
            _log.warning("The record of %s %s came damaged from its resting place.", stage, key[:12])
            return None

    def _write_record(self, record: StageRecord) -> None:
        content = _to_json(record)
        path = self.root / _record_name(record.stage, record.key)
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
        # As it would be read, with lists for tuples.
        self._records[record.stage, record.key] = _from_json(content, record.stage, record.key)

    def _bring_here(self, digest: str) -> bool:
        """Brings an object from the resting place; False if it is not there, or came damaged."""
        content = None if self._rest is None else self._rest.read(_object_name(digest))
        if content is None:
            return False
        try:
            self.unpack(digest, content)
        except ValueError as error:
            _log.warning("%s", error)
            self._damaged_at_rest.add(digest)
            return False
        self._resting.add(digest)
        return True

    def _is_whole(self, digest: str) -> bool:
        path = self.path(digest)
        try:
            # Taken before the contents are read: what is written meanwhile shows the next time.
            signature = signature_of_path(path)
            if self._verified.get(digest) == signature:
                return True
            if digest_of_path(path) != digest.partition(".")[0]:
                return False
        except OSError:
            return False
        self._verified[digest] = signature
        return True

    def _move_in(self, source: Path, digest: str) -> None:
        """Moves contents to their place, unless they lie there whole: by now, another process may have put them."""
        target = self.path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(_MOVES):
            # Looked at first: what comes between is another process's, and whole.
            something_there = os.path.lexists(target)
            if self._is_whole(digest):
                return
            if something_there:
                self._take_away(target)
            try:
                os.replace(source, target)
            except OSError as error:
                if error.errno not in _OVERTAKEN:
                    raise
            else:
                self._verified[digest] = signature_of_path(target)
                return
        raise StoreError(f"An object must stay where it was put, but {target} is replaced again and again.")

    def _take_away(self, damaged: Path) -> None:
        """Clears a place by one move: a folder that is removed file by file would be half there for a while."""
        with self.scratch() as folder, suppress(FileNotFoundError):
            os.replace(damaged, folder / "damaged")

    @contextmanager
    def _explained(self, done: str = "written") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self.root} cannot be {done}: {explain_os_error(error)}") from error


def _object_name(digest: str) -> str:
    return f"objects/{digest[:2]}/{digest}"


def _record_name(stage: str, key: str) -> str:
    return f"stages/{stage}/{key}.json"


def _lock_of(scratch: Path) -> Path:
    return scratch.with_name(f"{scratch.name}.lock")


def _to_json(record: StageRecord) -> bytes:
    return json.dumps(asdict(record), allow_nan=False, indent=1).encode()


def _from_json(content: bytes, stage: str, key: str) -> StageRecord:
    """Reads a record.

    Raises:
        ValueError: If it is damaged, or that of another stage.
    """
    try:
        record = StageRecord(**json.loads(content))
        objects = all(_OBJECT_NAME.fullmatch(digest) for digest in record.objects.values())
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a record: {error}") from error
    if not objects or (record.stage, record.key) != (stage, key) or not isinstance(record.facts, dict):
        raise ValueError("the record of another stage")
    return record
