"""Where the trials are kept: a journal in the run directory, or a database that a team shares."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from litefront.search.run_directory import RunDirectory, explain_os_error, write_atomically
from litefront.spaces.errors import InputError, StoreError

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = ["open_storage", "open_storage_to_read", "run_id", "storage_errors"]

_log = logging.getLogger(__name__)

_RULE = (
    "`storage` must be the URL of a database that can be reached, such as sqlite:///trials.db or postgresql://host/name"
)
_SQLITE_TIMEOUT_S = 60


def open_storage(url: str | None, directory: RunDirectory) -> BaseStorage:
    """Opens where a run's trials are kept.

    Args:
        url: A database's URL, as SQLAlchemy has them; None for the journal in the run directory.
        directory: The run directory, which this process has locked.

    Raises:
        InputError: If the URL is none, its driver is not installed, or the database cannot be reached. The text does
            not show the password.
    """
    return _open_journal(directory.journal) if url is None else _open_database(url, create=True)


def open_storage_to_read(url: str | None, directory: RunDirectory) -> BaseStorage:
    """Opens the trials of a run that may be under way; nothing is made that is not there.

    Raises:
        InputError: If there are none, or as for `open_storage`.
    """
    if url is not None:
        return _open_database(url, create=False)
    if not directory.journal.exists():
        raise InputError(f"There must be a journal to show, but there is none at {directory.journal}.")
    return JournalStorage(JournalFileBackend(str(directory.journal)))


def run_id(directory: RunDirectory) -> str:
    """A run directory's own mark on its trials in a shared storage; made at the first call, and kept.

    Raises:
        StoreError: If the disk does not take it.
    """
    path = directory.path / "run_id"
    if not path.exists():
        write_atomically(path, uuid.uuid4().hex)
    return path.read_text(encoding="ascii")


@contextlib.contextmanager
def storage_errors() -> Iterator[None]:
    """Turns what a storage raises during a run into a StoreError."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except OSError as error:
        raise StoreError(f"The trials cannot be kept: {explain_os_error(error)}.") from error
    except (StorageInternalError, SQLAlchemyError) as error:
        raise StoreError(f"The trials cannot be kept: {_what_the_driver_said(error)}.") from error


def _open_journal(path: Path) -> JournalStorage:
    """Opens the journal in a run directory that this process has locked.

    A lock that a killed run left behind is removed. Optuna reads a journal up to its first damaged line and then for
    ever fails, so a journal that has one is put aside and begun anew: the cells' own records fill it again.
    """
    Path(f"{path}.lock").unlink(missing_ok=True)
    if path.exists() and not _is_whole_journal(path):
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        _log.warning("%s is damaged; it is kept as %s and made again.", path.name, aside.name)
    return JournalStorage(JournalFileBackend(str(path)))


def _is_whole_journal(path: Path) -> bool:
    content = path.read_bytes()
    try:
        for line in content.splitlines():
            json.loads(line)
    except ValueError:
        return False
    return not content or content.endswith(b"\n")


def _open_database(url: str, *, create: bool) -> RDBStorage:
    from sqlalchemy.exc import SQLAlchemyError

    parsed = _parse(url)
    shown = parsed.render_as_string(hide_password=True)
    if not create:
        _check_file_is_there(parsed, shown)
    try:
        return RDBStorage(url, engine_kwargs=_engine_options(parsed), skip_table_creation=not create)
    except ImportError as error:
        driver = error.__cause__.name if isinstance(error.__cause__, ImportError) else None
        raise InputError(
            f"A database needs its driver, but for {shown} the Python package {driver or 'of its driver'} is missing."
        ) from error
    # Optuna raises a RuntimeError for tables of another version, and asserts that there are tables at all.
    except (SQLAlchemyError, StorageInternalError, RuntimeError, AssertionError) as error:
        raise InputError(f"{_RULE}, but {shown} gave: {_without(parsed, _what_the_driver_said(error))}.") from error


def _parse(url: str) -> URL:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise InputError(f"{_RULE}, but got {re.sub('//.*@', '//***@', url)!r}.") from error
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise InputError(f"{_RULE}, but {url!r} names no file.")
    return parsed


def _check_file_is_there(url: URL, shown: str) -> None:
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        raise InputError(f"There must be a database to show, but there is none at {shown}.")


def _engine_options(url: URL) -> dict[str, object]:
    """A run is long: a server may drop a connection that idles, and a file may be another run's for a moment."""
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": _SQLITE_TIMEOUT_S}}
    return {"pool_pre_ping": True}


def _what_the_driver_said(error: BaseException) -> str:
    """The first line of the innermost reason, without the statement that SQLAlchemy adds."""
    reason = getattr(error, "orig", None) or getattr(error.__cause__, "orig", None) or error
    lines = str(reason).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _without(url: URL, text: str) -> str:
    return text.replace(str(url.password), "***") if url.password else text
