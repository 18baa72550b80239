"""The wheel: what it holds, and that it works outside the checkout and beside others' folders of the same names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHOW = """
import json
import spaces
import litefront.objectives, litefront.search, litefront.spaces, litefront.studies
from litefront.search.study_file import read_study_file, ready_made_studies
from litefront.search.task_loading import load_task
study = read_study_file("vowels")
print(json.dumps({
    "files": [m.__file__ for m in (litefront.objectives, litefront.search, litefront.spaces, litefront.studies)],
    "studies": sorted(ready_made_studies()),
    "rows": len(load_task(study).task.evaluation.inputs),
    "theirs": spaces.OWNER,
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what git knows, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            copy = folder / "source" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), "source"]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_litefront_and_nothing_at_the_top_level(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    metadata = next(name for name in names if ".dist-info/" in name).split("/")[0]
    assert {name.split("/")[0] for name in names} == {"litefront", metadata}
    assert not [name for name in names if name.startswith("litefront/tests")]


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in ("spaces", "objectives", "search", "studies"):
        for path in (ROOT / package).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                assert f"litefront/{path.relative_to(ROOT)}" in names


def test_the_wheel_works_beside_packages_and_folders_of_the_same_names(wheel: Path, tmp_path: Path) -> None:
    installed, users = tmp_path / "installed", tmp_path / "users"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(installed), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    (installed / "spaces").mkdir()
    (installed / "spaces" / "__init__.py").write_text("OWNER = 'Hugging Face'")
    for name in ("search", "objectives", "studies", "litefront_task"):
        (users / name).mkdir(parents=True)
        (users / name / "__init__.py").write_text("raise ImportError('the folder of the user was imported')")
    shown = subprocess.run(
        [sys.executable, "-c", SHOW],
        cwd=users,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)
    assert all(Path(file).is_relative_to(installed) for file in found["files"])
    assert found["studies"] == ["faces", "minilm", "mnist", "mobilenet", "vowels"]
    assert found["rows"] == 370
    assert found["theirs"] == "Hugging Face"
