"""Digests: how anything that can change a result gets into the key of the stage that it changes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["digest_of_array", "digest_of_bytes", "digest_of_json", "digest_of_path"]


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


def digest_of_path(path: Path) -> str:
    """SHA-256 of a file's bytes, or of a folder's files by name."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return digest_of_json([[str(file.relative_to(path)), digest_of_path(file)] for file in files])
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
