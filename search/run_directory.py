"""The folder of one study's run: what lies where, who may write to it, and how it is written without loss."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from litefront.spaces.errors import InputError, StoreError

__all__ = ["RunDirectory", "append_json_line", "explain_os_error", "read_json_lines", "write_atomically"]


class RunDirectory:
    """The folder of one study's run.

    Everything that `run` learns is here, so that every other command needs nothing else:

        study.json      the study as it was run, and what the model and the device turned out to be
        cells.jsonl     one line a finished cell; the record of the search
        stages.jsonl    one line a stage that was run or reused
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


def append_json_line(path: Path, record: Mapping[str, Any]) -> None:
    """Adds one record to a `.jsonl` file and waits until the disk has it.

    Raises:
        StoreError: If the disk does not take it.
    """
    line = json.dumps(record, allow_nan=False, separators=(",", ":")) + "\n"
    try:
        with open(path, "ab+") as file:
            # A line that a kill cut short is closed first, so that it spoils itself alone.
            if file.tell() and not _ends_with_newline(file):
                file.write(b"\n")
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {explain_os_error(error)}") from error


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Reads a `.jsonl` file; lines that a kill cut short are passed over."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a file so that a reader finds the old one or the new one, never a part.

    Raises:
        StoreError: If the disk does not take it; nothing is left behind then.
    """
    data = content.encode() if isinstance(content, str) else content
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
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


def _ends_with_newline(file: Any) -> bool:
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) == b"\n")
