"""The artifact store: what a stage left, found by the key of everything that can change it.

    objects/ab/abcdef....tflite   contents, by their SHA-256; equal contents lie there once
    stages/<stage>/<key>.json     what the stage of that key left: its objects and what was counted

Everything is written beside its place and moved there, so a reader finds a whole file or none. Contents are checked
against their digest when they are read; a damaged one counts as missing, and its stage runs again.
"""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from litefront.search.digests import digest_of_path
from litefront.search.run_directory import explain_os_error, write_atomically
from litefront.spaces.errors import StoreError

__all__ = ["ArtifactStore", "Claim", "StageRecord"]

_log = logging.getLogger(__name__)


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


class Claim:
    """A stage that this process alone works on; the kernel drops it with the process.

    Args:
        descriptor: The locked file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Lets others at the stage."""
        os.close(self._descriptor)


class ArtifactStore:
    """A folder of artifacts; several processes may use it at once.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verified: set[str] = set()

    def find(self, stage: str, key: str) -> StageRecord | None:
        """The record of a stage that has run, or None; None too if one of its objects is missing or damaged."""
        try:
            record = StageRecord(**json.loads(self._record_path(stage, key).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            _log.warning("The record of %s %s is damaged; the stage runs again.", stage, key[:12])
            return None
        for name, digest in record.objects.items():
            if not self._is_whole(digest):
                _log.warning("%s of %s %s is missing or damaged; the stage runs again.", name, stage, key[:12])
                return None
        return record

    def add(self, record: StageRecord) -> None:
        """Keeps a stage's record; its objects are there already.

        Raises:
            StoreError: If the disk does not take it.
        """
        path = self._record_path(record.stage, record.key)
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(asdict(record), allow_nan=False, indent=1))

    def add_object(self, source: Path) -> str:
        """Moves a file or folder into the store and gives its digest.

        Raises:
            StoreError: If the disk does not take it.
        """
        with self._explained():
            digest = f"{digest_of_path(source)}{source.suffix}"
            target = self.path(digest)
            if not self._is_whole(digest):
                target.parent.mkdir(parents=True, exist_ok=True)
                if target.is_dir():
                    shutil.rmtree(target)
                os.replace(source, target)
            self._verified.add(digest)
            return digest

    def path(self, digest: str) -> Path:
        """Where the object of this digest lies."""
        return self.root / "objects" / digest[:2] / digest

    def pack(self, digest: str) -> bytes:
        """The object of this digest as bytes, for a machine that does not share the folder.

        Raises:
            StoreError: If it is missing or damaged.
        """
        if not self._is_whole(digest):
            raise StoreError(f"{digest[:12]} is missing from {self.root} or damaged")
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(self.path(digest), arcname=digest)
        return buffer.getvalue()

    def unpack(self, digest: str, data: bytes) -> None:
        """Keeps what `pack` gave.

        Raises:
            ValueError: If the bytes are not those of the digest.
            StoreError: If the disk does not take it.
        """
        with self.scratch() as folder, self._explained():
            try:
                with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                    archive.extractall(folder, filter="data")
            except tarfile.TarError as error:
                raise ValueError(f"{digest[:12]} arrived damaged: {error}") from error
            if not (folder / digest).exists() or digest_of_path(folder / digest) != digest.partition(".")[0]:
                raise ValueError(f"{digest[:12]} arrived damaged")
            self.add_object(folder / digest)

    def claim(self, stage: str, key: str) -> Claim | None:
        """Reserves a stage for this process; None if another live process works on it.

        Raises:
            StoreError: If the disk does not take it.
        """
        path = self._record_path(stage, key).with_suffix(".lock")
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return Claim(descriptor)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder to work in, on the store's own disk; gone afterwards.

        Raises:
            StoreError: If the disk does not take it.
        """
        with self._explained():
            self.root.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix="scratch-", dir=self.root))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def remove_scratch(self) -> None:
        """Clears what killed runs left; only while no other process uses the store."""
        for folder in self.root.glob("scratch-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _record_path(self, stage: str, key: str) -> Path:
        return self.root / "stages" / stage / f"{key}.json"

    def _is_whole(self, digest: str) -> bool:
        if digest in self._verified and self.path(digest).exists():
            return True
        path = self.path(digest)
        if not path.exists() or digest_of_path(path) != digest.partition(".")[0]:
            return False
        self._verified.add(digest)
        return True

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self.root} cannot be written: {explain_os_error(error)}") from error
