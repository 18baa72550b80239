"""Where trials are kept: real journals and a real SQLite database."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage, RDBStorage
from sqlalchemy.exc import OperationalError

from litefront.search.run_directory import RunDirectory
from litefront.search.trial_storage import open_storage, open_storage_to_read, run_id, storage_errors
from litefront.spaces.errors import InputError, StoreError


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    return directory


def test_the_journal_in_the_run_directory_is_the_default(directory: RunDirectory) -> None:
    assert isinstance(open_storage(None, directory), JournalStorage)
    assert directory.journal.exists()


def test_a_database_keeps_a_study_for_all_who_name_it(directory: RunDirectory, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/trials.db"
    storage = open_storage(url, directory)
    assert isinstance(storage, RDBStorage)
    optuna.create_study(study_name="s", storage=storage).add_trial(optuna.create_trial(value=1.0))
    shown = optuna.load_study(study_name="s", storage=open_storage_to_read(url, directory))
    assert [trial.value for trial in shown.trials] == [1.0]
    assert not directory.journal.exists()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("trials.db", "must be the URL of a database"),
        ("", "must be the URL of a database"),
        ("redis://host", "redis"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:////no/such/folder/trials.db", "unable to open database file"),
        ("mysql+nosuchdriver://host/name", "nosuchdriver"),
    ],
)
def test_a_url_that_cannot_be_used_says_the_rule_and_what_came(url: str, said: str, directory: RunDirectory) -> None:
    with pytest.raises(InputError, match=said):
        open_storage(url, directory)


@pytest.mark.parametrize(
    "url",
    [
        "oracle://ann:s3cret@127.0.0.1:1/name",  # its driver is not installed
        "nosuchkind://ann:s3cret@127.0.0.1:1/name",
        "postgresql://ann:s3cret@127.0.0.1:port/name",  # cannot be parsed
    ],
)
def test_a_password_is_never_shown(url: str, directory: RunDirectory) -> None:
    with pytest.raises(InputError, match="127.0.0.1") as caught:
        open_storage(url, directory)
    assert "s3cret" not in str(caught.value)


def test_a_missing_driver_is_named(directory: RunDirectory) -> None:
    with pytest.raises(InputError, match="driver.*oracledb is missing"):
        open_storage("oracle://127.0.0.1/name", directory)


def test_a_file_that_is_no_database_is_the_users_to_mend(directory: RunDirectory, tmp_path: Path) -> None:
    (tmp_path / "trials.db").write_text("this is a note, and no database at all\n" * 100)
    with pytest.raises(InputError, match="not a database"):
        open_storage(f"sqlite:///{tmp_path}/trials.db", directory)


def test_reading_makes_nothing(directory: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is none"):
        open_storage_to_read(f"sqlite:///{tmp_path}/trials.db", directory)
    with pytest.raises(InputError, match="there is none"):
        open_storage_to_read(None, directory)
    assert not (tmp_path / "trials.db").exists()
    assert not directory.journal.exists()


def test_a_database_without_trials_is_not_filled_by_reading(directory: RunDirectory, tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "trials.db").close()
    with pytest.raises(InputError, match="must be the URL"):
        open_storage_to_read(f"sqlite:///{tmp_path}/trials.db", directory)


def test_a_run_directory_keeps_its_mark(directory: RunDirectory, tmp_path: Path) -> None:
    other = RunDirectory(tmp_path / "other")
    other.create()
    assert run_id(directory) == run_id(directory)
    assert run_id(directory) != run_id(other)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "the disk is full"),
        (OperationalError("INSERT", {}, Exception("server closed the connection")), "server closed the connection"),
    ],
)
def test_a_storage_that_fails_during_a_run_is_a_store_error(error: Exception, said: str) -> None:
    with pytest.raises(StoreError, match=said), storage_errors():
        raise error
