"""Digests: how anything that can change a result gets into the key of the stage that it changes."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litefront.spaces.rows import Rows

__all__ = [
    "PathSignature",
    "digest_of_array",
    "digest_of_bytes",
    "digest_of_json",
    "digest_of_path",
    "digest_of_rows",
    "signature_of_path",
]

PathSignature = tuple[tuple[str, int, int, int], ...]
"""Name within the path, inode, size in bytes and time of change in ns of each file."""


def digest_of_bytes(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def digest_of_json(value: Any) -> str:
    """SHA-256 of a value's canonical JSON: sorted keys, no spaces; NaN is refused."""
    return digest_of_bytes(json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode())


def digest_of_array(array: NDArray[Any] | None) -> str:
    """SHA-256 of an array's type, shape and values; of nothing for None."""
    if array is None:
        return ""
    header = f"{array.dtype.str}{array.shape}".encode()
    return digest_of_bytes(header + np.ascontiguousarray(array).tobytes())


def digest_of_rows(rows: Rows | None) -> str:
    """SHA-256 of an array, or of arrays by name, whatever their order; of nothing for None."""
    if not isinstance(rows, Mapping):
        return digest_of_array(rows)
    return digest_of_json({name: digest_of_array(array) for name, array in rows.items()})


def digest_of_path(path: Path) -> str:
    """SHA-256 of a file's bytes, or of a folder's files by name."""
    if path.is_dir():
        return digest_of_json([[str(file.relative_to(path)), digest_of_path(file)] for file in _files_below(path)])
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def signature_of_path(path: Path) -> PathSignature:
    """What the file system says of a file, or of a folder's files, without reading any.

    While it stays the same nobody has written to them since; bits that the disk itself has lost do not show.

    Raises:
        OSError: If there is nothing at the path.
    """
    kept = path.stat()
    if not stat.S_ISDIR(kept.st_mode):
        return (("", kept.st_ino, kept.st_size, kept.st_mtime_ns),)
    files = ((str(file.relative_to(path)), file.stat()) for file in _files_below(path))
    return tuple((name, kept.st_ino, kept.st_size, kept.st_mtime_ns) for name, kept in files)


def _files_below(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())
