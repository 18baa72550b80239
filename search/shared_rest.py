"""The place where a store's contents rest for everyone: any folder or bucket that fsspec can reach."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import unquote
from uuid import uuid4

from litefront.search.run_directory import explain_os_error
from litefront.spaces.errors import InputError, StoreError

__all__ = ["SharedRest"]

_Value = TypeVar("_Value")

_PROBE = b"litefront was here"
_USER_INFO = re.compile(r"(?<=://)(.*)@")
_QUERY = re.compile(r"(?<=\?)(.+)")


class SharedRest:
    """Files by name at an fsspec URL, each read and written as a whole.

    Writing is atomic where the protocol can rename (local and mounted disks, sftp, ftp, smb, hdfs): the file is
    written under another name and moved. Object stores (s3, gs, az) show an object once its upload is complete, so
    there it is written straight to its place. There are no locks: of two writers of one name the last one stays.

    The place is reached when it is first needed, and once more when something fails later: a connection that lay idle
    for an hour may be gone though the place is there. Credentials in the URL are never shown.

    Args:
        url: An fsspec URL (`s3://bucket/prefix`, `sftp://host/path`, `file:///path`, `memory://name`) or a plain path.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.name = _QUERY.sub("***", _USER_INFO.sub("***@", url)) if "://" in url else url
        self._reached: tuple[Any, str] | None = None
        self._folders: set[str] = set()

    def check(self) -> None:
        """Writes a small file, reads it and removes it.

        Raises:
            InputError: If a step fails: the protocol's package is missing, nothing answers, or it may not be written.
        """
        name = f"probe-{uuid4().hex}"
        rule = "A store's resting place must be one that can be written and read"
        try:
            self._write(name, _PROBE)
            try:
                came = self._read(name)
            finally:
                self._remove(name)
            gone = self._read(name) is None
        except Exception as error:
            raise InputError(f"{rule}, but {self.name} cannot: {self._explain(error)}.") from None
        if came != _PROBE or not gone:
            raise InputError(f"{rule}, but {self.name} does not give back what was written.")

    def read(self, name: str) -> bytes | None:
        """A file's contents; None if there is none.

        Raises:
            StoreError: If the place cannot be read.
        """
        return self._insist("read", lambda: self._read(name))

    def size_bytes(self, name: str) -> int | None:
        """A file's size; None if there is none.

        Raises:
            StoreError: If the place cannot be read.
        """
        return self._insist("read", lambda: self._size_bytes(name))

    def write(self, name: str, content: bytes) -> None:
        """Writes a file, over one that is there.

        Raises:
            StoreError: If the place does not take it.
        """
        self._insist("written", lambda: self._write(name, content))

    def _locate(self, name: str) -> tuple[Any, str]:
        """The file system and the file's path in it."""
        if self._reached is None:
            # fsspec is imported by those alone who have a resting place.
            from fsspec.core import url_to_fs

            files, base = url_to_fs(self._url, skip_instance_cache=True)
            self._reached = files, base.rstrip("/")
        files, base = self._reached
        path = f"{base}/{name}"
        # Some protocols remember listings, and would not see what another machine has written since.
        files.invalidate_cache(posixpath.dirname(path))
        return files, path

    def _read(self, name: str) -> bytes | None:
        files, path = self._locate(name)
        try:
            return bytes(files.cat_file(path))
        except FileNotFoundError:
            return None

    def _size_bytes(self, name: str) -> int | None:
        files, path = self._locate(name)
        try:
            return int(files.info(path)["size"])
        except FileNotFoundError:
            return None

    def _write(self, name: str, content: bytes) -> None:
        files, path = self._locate(name)
        if not _renames(files):
            # An object store has no folders; making one there would make the bucket of a misspelt name.
            files.pipe_file(path, content)
            return
        folder = posixpath.dirname(path)
        if folder not in self._folders:
            files.makedirs(folder, exist_ok=True)
            self._folders.add(folder)
        partial = f"{path}.{uuid4().hex}.partial"
        try:
            files.pipe_file(partial, content)
            _move(files, partial, path)
        except BaseException:
            with suppress(Exception):
                files.rm_file(partial)
            raise

    def _remove(self, name: str) -> None:
        files, path = self._locate(name)
        files.rm_file(path)

    def _insist(self, done: str, action: Callable[[], _Value]) -> _Value:
        """Does what can be done twice, anew if it fails once."""
        # Protocols raise whatever their layers raise. The cause stays out: its text may hold the URL as it is.
        with suppress(Exception):
            return action()
        self._reached = None
        self._folders.clear()
        try:
            return action()
        except Exception as error:
            rule = "A store's resting place must stay within reach"
            raise StoreError(f"{rule}, but {self.name} cannot be {done}: {self._explain(error)}") from None

    def _explain(self, error: Exception) -> str:
        if isinstance(error, OSError) and error.strerror:
            text = explain_os_error(error)
        else:
            text = f"{type(error).__name__}: {error}".partition("\n")[0]
        text = text.replace(self._url, self.name)
        for secret in _secrets(self._url):
            text = text.replace(secret, "***")
        return text.rstrip(" .:")


def _renames(files: Any) -> bool:
    """Whether a protocol can move a file: the others copy and remove."""
    from fsspec import AbstractFileSystem

    return type(files).mv is not AbstractFileSystem.mv


def _move(files: Any, source: str, target: str) -> None:
    try:
        files.mv(source, target)
    except Exception:
        if not files.exists(target):
            raise
        # Not every server renames onto a file that is there.
        files.rm_file(target)
        files.mv(source, target)


def _secrets(url: str) -> list[str]:
    """The parts of a URL that an error's text must not show, longest first."""
    found = set()
    for user_info in _USER_INFO.findall(url):
        found |= {user_info, user_info.partition(":")[2] or user_info}
    for query in _QUERY.findall(url):
        found |= {query} | {pair.partition("=")[2] for pair in query.split("&")}
    return sorted((found | {unquote(secret) for secret in found}) - {""}, key=len, reverse=True)
