"""The folder of one study's run: what lies where, who may write to it, and how it is written without loss."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import IO, Any
from uuid import uuid4

from litefront.spaces.errors import InputError, StoreError

__all__ = [
    "JsonLineAppender",
    "RunDirectory",
    "explain_os_error",
    "read_json_lines",
    "write_atomically",
]


class RunDirectory:
    """The folder of one study's run.

    Everything that `run` learns is here, so that every other command needs nothing else:

        study.json      the study as it was run, and what the model and the device turned out to be
        cells.jsonl     one line a finished cell; the record of the search
        stages.jsonl    one line a stage that was run or reused
        confirmations.jsonl  one line a cell that was measured again after the search
        optuna.journal  the sampler's memory; made again from cells.jsonl if it is lost
        store/          artifacts by the digest of everything that made them
        front.json, front.csv, report.html, litefront.log

    Args:
        path: The folder; `create` makes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.study = path / "study.json"
        self.cells = path / "cells.jsonl"
        self.stages = path / "stages.jsonl"
        self.confirmations = path / "confirmations.jsonl"
        self.journal = path / "optuna.journal"
        self.store = path / "store"
        self.log = path / "litefront.log"
        self.report = path / "report.html"
        self.front_json = path / "front.json"
        self.front_csv = path / "front.csv"

    def create(self) -> None:
        """Makes the folder.

        Raises:
            InputError: If it cannot be made or written to.
        """
        try:
            self.store.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path) as probe:
                probe.write(b"\0" * 4096)
        except OSError as error:
            raise InputError(f"The run directory must be writable: {self.path}: {explain_os_error(error)}.") from error

    def share_store(self, folder: Path) -> None:
        """Keeps artifacts in a folder that other runs may use as well, in place of one of this run's own.

        Raises:
            InputError: If the folder cannot be made, or this run keeps its artifacts elsewhere already.
        """
        folder = folder.resolve()
        if self.store.resolve() == folder:
            return
        if self.store.is_symlink() or any(self.store.iterdir()):
            raise InputError(
                f"A run keeps its artifacts where it began to, {self.store.resolve()}, but `store` is {folder}."
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.store.rmdir()
            self.store.symlink_to(folder, target_is_directory=True)
        except OSError as error:
            raise InputError(
                f"`store` must be a folder that can be made: {folder}: {explain_os_error(error)}."
            ) from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps a second run out of the folder while this one writes.

        Raises:
            InputError: If another process runs in it.
        """
        with open(self.path / "lock", "a+", encoding="ascii") as file:
            if not _locked(file):
                file.seek(0)
                raise InputError(
                    f"A run directory is written by one run at a time, but process {file.read().strip() or '?'} "
                    f"is running in {self.path}."
                )
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield


def _locked(file: IO[str]) -> bool:
    """Locks the file; tries a little while, since `status` holds the lock for a moment to see whether it is free."""
    for _ in range(10):
        try:
            # The kernel drops this lock with its process, however that ends: a killed run blocks nobody.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


class JsonLineAppender:
    """Adds records to the end of a `.jsonl` file, which it makes and opens with the first one, and keeps open.

    Each line is with the operating system when `append` returns: a killed process loses none. How soon the disk has
    it, which a power cut asks for, is the caller's choice.

    Args:
        path: The file; one process at a time adds to it.
        sync_every_s: Seconds that must have passed since the file was made to reach the disk before the next line
            waits for that again. 0: every line waits, which takes 0.1 to 10 ms. `close` waits in any case.
    """

    def __init__(self, path: Path, *, sync_every_s: float = 0.0) -> None:
        self.path = path
        self._sync_every_s = sync_every_s
        self._synced_s = -math.inf
        self._file: FileIO | None = None

    def append(self, record: Mapping[str, Any]) -> None:
        """Adds one record.

        Raises:
            StoreError: If the disk does not take it.
            ValueError: If the record holds NaN or infinity, which JSON has not; nothing is written then.
        """
        line = json.dumps(record, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        try:
            if self._file is None:
                self._file = _open_at_line_start(self.path)
            _write_all(self._file, line)
            now_s = time.monotonic()
            if now_s - self._synced_s >= self._sync_every_s:
                os.fsync(self._file.fileno())
                self._synced_s = now_s
        except OSError as error:
            # The line may be there in part: the next one looks at the file's end again.
            self._drop()
            raise StoreError(f"{self.path} cannot be written: {explain_os_error(error)}") from error

    def close(self) -> None:
        """Waits until the disk has every line, and closes the file; it may be appended to again.

        Raises:
            StoreError: If the disk does not take them.
        """
        if self._file is None:
            return
        try:
            if self._sync_every_s:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {explain_os_error(error)}") from error
        finally:
            self._drop()

    def __enter__(self) -> JsonLineAppender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _drop(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
        self._file = None


def _open_at_line_start(path: Path) -> FileIO:
    """Opens a file for appending; a line that a kill cut short is closed first, so that it spoils itself alone."""
    file = FileIO(path, "ab+")
    try:
        if file.tell() and not _ends_with_newline(file):
            _write_all(file, b"\n")
    except OSError:
        file.close()
        raise
    return file


def _write_all(file: FileIO, content: bytes) -> None:
    """Writes without a buffer, in one call as a rule: a disk that is nearly full takes less than it is given."""
    while content:
        content = content[file.write(content) :]


def _ends_with_newline(file: FileIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Reads the objects of a `.jsonl` file; lines that a kill or the disk has damaged are passed over.

    Raises:
        StoreError: If the disk does not give it.
    """
    records = []
    try:
        with open(path, "rb") as file:
            for line in file:
                # Damage may nest brackets deeper than Python reads, or break a character.
                with suppress(ValueError, RecursionError):
                    record = json.loads(line.decode())
                    if isinstance(record, dict):
                        records.append(record)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {explain_os_error(error)}") from error
    return records


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file so that a reader finds the old one or the new one, never a part.

    Raises:
        StoreError: If the disk does not take it; nothing is left behind then.
    """
    data = content.encode() if isinstance(content, str) else content
    # A process's number alone is not its own where machines or containers share a folder.
    partial = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise StoreError(f"{path} cannot be written: {explain_os_error(error)}") from error


def explain_os_error(error: OSError) -> str:
    """The operating system's reason in a user's words."""
    if error.errno == errno.ENOSPC:
        return "the disk is full"
    return (error.strerror or str(error)).lower()
