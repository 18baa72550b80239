"""Gets packages of other projects, whose files a study needs, by the system's own tools; run by studies' `fetch.py`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from litefront.spaces.errors import InputError

__all__ = ["debian_package", "fetch", "pypi_package"]


def debian_package(name: str, folder: Path) -> Path:
    """Downloads a Debian package and unpacks it, without installing it.

    Args:
        name: The package.
        folder: Takes the package, and its files below `unpacked`.

    Returns:
        The folder that stands for the root of its files.

    Raises:
        InputError: If there is no apt here, or it does not find the package.
    """
    _run(["apt-get", "download", name], folder)
    unpacked = folder / "unpacked"
    _run(["dpkg", "-x", *(str(path) for path in folder.glob(f"{name}_*.deb")), str(unpacked)], folder)
    return unpacked


def pypi_package(requirement: str, folder: Path, *, as_source: bool = False) -> Path:
    """Downloads one package of PyPI, and nothing that it depends on.

    Args:
        requirement: The package with its version, such as `aeon==1.6.0`.
        folder: Takes the file.
        as_source: Whether the source distribution is meant, not the wheel.

    Returns:
        The downloaded file.

    Raises:
        InputError: If pip does not find it.
    """
    before = set(folder.iterdir())
    kind = ["--no-binary", ":all:"] if as_source else []
    _run([sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", *kind, requirement], folder)
    (path,) = set(folder.iterdir()) - before
    return path


def fetch(what: Callable[[], Path]) -> int:
    """Runs a fetching function as a program: tells where the files are, or why not; gives the exit code."""
    try:
        print(f"in {what()}")
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _run(command: Sequence[str], folder: Path) -> None:
    words = " ".join(command)
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except FileNotFoundError:
        raise InputError(f"`{words}` must run here, but there is no {command[0]}.") from None
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise InputError(f"`{words}` must succeed, but it ended with {result.returncode}: {last}")
