"""The user's own modules: found at whatever depth, and importable where their folder is not."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from litefront.search.user_modules import UserModules


def write(folder: Path, **files: str) -> Path:
    """Writes a module a keyword; gives the task's file."""
    for name, text in files.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "task.py"


def in_a_fresh_process(modules: UserModules, code: str, folder: Path) -> str:
    """What `code` prints in a process whose path and working directory know nothing of the modules' folder."""
    elsewhere = folder.parent / f"{folder.name}-elsewhere"
    elsewhere.mkdir()
    (elsewhere / "modules").write_bytes(pickle.dumps(modules))
    start = "import pickle; pickle.load(open('modules', 'rb')).install()\n"
    command = [sys.executable, "-P", "-c", start + code]
    return subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=True).stdout.strip()


def found(folder: Path, **files: str) -> set[str]:
    return set(UserModules.beside(write(folder, **files))._sources)


def test_a_task_that_imports_nothing_beside_it_has_no_modules(tmp_path: Path) -> None:
    assert found(tmp_path, task="import numpy as np\nfrom os import path", unrelated="") == set()


@pytest.mark.parametrize(
    "statement",
    [
        "import net",
        "import net as other",
        "from net import layers",
        "def model():\n    import net",
        "def model():\n    from net import layers",
        "try:\n    import net\nexcept ImportError:\n    net = None",
    ],
)
def test_a_file_beside_the_task_is_found_wherever_it_is_imported(tmp_path: Path, statement: str) -> None:
    assert found(tmp_path, task=statement, net="", unrelated="") == {"net"}


def test_modules_of_modules_are_found_and_circles_end(tmp_path: Path) -> None:
    assert found(tmp_path, task="import a", a="import b", b="import a, task, c", c="") == {"a", "b", "c"}


@pytest.mark.parametrize(
    "statement",
    ["import nets.small.convolution", "from nets.small import convolution", "import nets.small.convolution as c"],
)
def test_a_package_beside_the_task_is_found_with_its_parents(tmp_path: Path, statement: str) -> None:
    files = {"nets/__init__": "", "nets/small/__init__": "", "nets/small/convolution": "", "nets/large": ""}
    assert found(tmp_path, task=statement, **files) == {"nets", "nets.small", "nets.small.convolution"}


def test_relative_imports_are_found(tmp_path: Path) -> None:
    files = {
        "nets/__init__": "from . import a\nfrom .b import c",
        "nets/a": "from .b import d",
        "nets/b/__init__": "from .. import e",
        "nets/e": "",
    }
    assert found(tmp_path, task="import nets", **files) == {"nets", "nets.a", "nets.b", "nets.e"}


def test_a_file_that_is_no_python_does_not_keep_the_others_from_being_found(tmp_path: Path) -> None:
    assert found(tmp_path, task="import broken, net", broken="def (", net="") == {"broken", "net"}


def test_the_digest_changes_with_every_source_and_not_with_the_place(tmp_path: Path) -> None:
    def digest(folder: str, **files: str) -> str:
        return UserModules.beside(write(tmp_path / folder, task="import a, b", **files)).digest

    before = digest("one", a="x = 1", b="x = 2")
    assert digest("two", a="x = 1", b="x = 2") == before
    assert digest("three", a="x = 1", b="x = 3") != before
    assert digest("four", a="x = 2", b="x = 1") != before
    assert digest("five", a="x = 1") != before


def test_modules_are_imported_where_their_folder_is_not(tmp_path: Path) -> None:
    task = write(
        tmp_path,
        task="import late, nets.small, folder.inner",
        late="VALUE = 1",
        **{
            "nets/__init__": "VALUE = 2",
            "nets/small": "from . import VALUE as above\nVALUE = above + 1",
            "folder/inner": "VALUE = 4",
        },
    )
    code = "import late, nets.small, folder.inner as f; print(late.VALUE, nets.VALUE, nets.small.VALUE, f.VALUE)"
    modules = UserModules.beside(task)
    for file in tmp_path.rglob("*.py"):
        file.unlink()
    assert in_a_fresh_process(modules, code, tmp_path) == "1 2 3 4"


def test_the_users_module_comes_before_another_of_its_name(tmp_path: Path) -> None:
    modules = UserModules.beside(write(tmp_path / "task", task="import net", net="NAME = 'theirs'"))
    write(tmp_path / "installed", net="NAME = 'another'")
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'installed')!r}); import net; print(net.NAME)"
    assert in_a_fresh_process(modules, code, tmp_path) == "theirs"


def test_tracebacks_name_the_users_file_and_line(tmp_path: Path) -> None:
    modules = UserModules.beside(write(tmp_path, task="import net", net="\n\nraise RuntimeError('theirs')"))
    code = "import sys, traceback\ntry:\n    import net\nexcept RuntimeError:\n    traceback.print_exc(file=sys.stdout)"
    assert f'File "{tmp_path}/net.py", line 3, in <module>' in in_a_fresh_process(modules, code, tmp_path)


def test_a_second_tasks_module_of_the_same_name_takes_the_place_of_the_first(tmp_path: Path) -> None:
    first, second = (
        UserModules.beside(write(tmp_path / name, task="import twin", twin=f"NAME = '{name}'"))
        for name in ("first", "second")
    )
    (tmp_path / "second-modules").write_bytes(pickle.dumps(second))
    code = f"""
import twin; print(twin.NAME)
pickle.load(open({str(tmp_path / "second-modules")!r}, "rb")).install()
import twin; print(twin.NAME)
"""
    assert in_a_fresh_process(first, code, tmp_path).split() == ["first", "second"]


def test_other_modules_are_left_to_others(tmp_path: Path) -> None:
    modules = UserModules.beside(write(tmp_path, task="import net", net=""))
    assert modules.find_spec("numpy") is None
    assert modules.find_spec("net.part") is None
