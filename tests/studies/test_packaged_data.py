from __future__ import annotations

from pathlib import Path

import pytest

from litefront.spaces.errors import InputError
from litefront.studies.packaged_data import VARIABLE, fetched_folder, find_folder


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))
    return tmp_path / "data"


def _fill(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_the_fetched_files_are_preferred_to_the_installed_ones(data: Path, tmp_path: Path) -> None:
    installed = _fill(tmp_path / "system", "a", "b")
    assert find_folder("digits", ["a", "b"], study="s", installed=installed) == installed
    fetched = _fill(data / "digits", "a", "b")
    assert find_folder("digits", ["a", "b"], study="s", installed=installed) == fetched


def test_what_is_missing_is_named_with_how_to_get_it(data: Path) -> None:
    _fill(data / "digits", "a")
    with pytest.raises(InputError, match=r"^The study s needs a and b in \S+data/digits, but \S+ has no b\. "):
        find_folder("digits", ["a", "b"], study="s")
    with pytest.raises(InputError, match=r"`python -m litefront.studies.s.fetch` gets them; \$LITEFRONT_DATA names"):
        find_folder("digits", ["a", "b"], study="s")


def test_without_the_variable_the_users_cache_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    assert fetched_folder("digits") == Path.home() / ".cache/litefront/data/digits"
