"""Objects as bytes, for another machine's store: a file as it is, a folder as an uncompressed tar.

Which of the two some bytes are need not be said: those whose SHA-256 is the object's digest are a file.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path, PurePosixPath

from litefront.search.digests import digest_of_bytes, digest_of_path

__all__ = ["pack_object", "unpack_object"]


def pack_object(path: Path) -> bytes:
    """The bytes of a file or folder; equal contents give equal bytes, whatever their times, owners and modes.

    Raises:
        OSError: If it cannot be read.
    """
    if not path.is_dir():
        return path.read_bytes()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in sorted(path.rglob("*")):
            _add_member(tar, member, member.relative_to(path).as_posix())
    return packed.getvalue()


def _add_member(tar: tarfile.TarFile, path: Path, name: str) -> None:
    entry = tarfile.TarInfo(name)
    if path.is_file():
        content = path.read_bytes()
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    elif path.is_dir() and not path.is_symlink():
        # Digests pass over folders without files, but a model may look for them.
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(entry)


def unpack_object(data: bytes, digest: str, target: Path) -> None:
    """Writes packed bytes as the file or folder that they were.

    Args:
        data: What `pack_object` gave.
        digest: The object's digest, as `digest_of_path` gives it.
        target: Where to write; nothing may be there yet. What lies there after an error is to be thrown away.

    Raises:
        ValueError: If the bytes are not those of that object.
        OSError: If the disk does not take it.
    """
    if digest_of_bytes(data) == digest:
        target.write_bytes(data)
        return
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for member in tar:
                _check_member(member)
            target.mkdir()
            tar.extractall(target, filter="data")
    except (tarfile.TarError, EOFError, UnicodeError, OverflowError) as error:
        raise ValueError(f"An object must arrive as it was packed, but {digest[:12]} came damaged: {error}.") from error
    if digest_of_path(target) != digest:
        raise ValueError(f"An object must have the contents of its digest, but {digest[:12]} came with others.")


def _check_member(member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    # A sparse file may claim any length that its bytes do not have.
    plain = (member.isfile() and not member.issparse()) or member.isdir()
    if not plain or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"A packed folder must hold files and folders within itself only, but got {member.name!r}.")
