"""The user's own modules: which ones a task imports, and how they reach a process that has never seen their folder.

A task may import a file or package beside it at its top, or only inside the function that builds the model; that one
is first looked for in a worker. So the sources travel with the task, and are imported from there.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import decode_source, spec_from_file_location
from pathlib import Path
from types import ModuleType

from litefront.search.digests import digest_of_bytes, digest_of_json

__all__ = ["UserModules"]


class UserModules(MetaPathFinder, ExecutionLoader):
    """Imports modules from sources that it holds; it can be pickled.

    Args:
        files: The modules' files by import name.
    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._sources = {name: (str(path), path.read_bytes()) for name, path in files.items()}

    @classmethod
    def beside(cls, task_file: Path) -> UserModules:
        """The modules in a task's folder that the task imports, at whatever depth."""
        found: dict[str, Path] = {}
        pending = [("", task_file)]
        while pending:
            importer, file = pending.pop()
            for name in _imported_names(importer, file):
                path = _file_of(task_file.parent, name)
                if path is not None and path != task_file and name not in found:
                    found[name] = path
                    pending.append((name, path))
        return cls(found)

    @property
    def digest(self) -> str:
        """Digest of all sources."""
        return digest_of_json({name: digest_of_bytes(source) for name, (_, source) in self._sources.items()})

    def install(self) -> None:
        """Lets this process import them, in place of an earlier task's."""
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, UserModules)]
        for name, module in list(sys.modules.items()):
            if isinstance(getattr(module, "__loader__", None), UserModules):
                del sys.modules[name]
        # First, as a script's folder is: the task finds the same file here and in the workers.
        sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Python's import system asks this."""
        if fullname in self._sources:
            return spec_from_file_location(fullname, self.get_filename(fullname), loader=self)
        if any(name.startswith(f"{fullname}.") for name in self._sources):
            return ModuleSpec(fullname, None, is_package=True)  # a folder without `__init__.py`
        return None

    def is_package(self, fullname: str) -> bool:
        """Whether the module is a folder's `__init__.py`."""
        return Path(self.get_filename(fullname)).name == "__init__.py"

    def get_filename(self, fullname: str) -> str:
        """Where the module was read, for tracebacks and for files beside it."""
        return self._sources[fullname][0]

    def get_source(self, fullname: str) -> str:
        """The module's text."""
        return decode_source(self._sources[fullname][1])


def _file_of(folder: Path, name: str) -> Path | None:
    base = folder.joinpath(*name.split("."))
    files = (base / "__init__.py", base.with_name(f"{base.name}.py"))
    return next((file for file in files if file.is_file()), None)


def _imported_names(importer: str, file: Path) -> Iterator[str]:
    """Dotted names that a file may import, their packages included; `from a import b` may mean the module `a.b`."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return  # running the file says so, with the line
    package = importer if file.name == "__init__.py" else importer.rpartition(".")[0]
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".") if package else []
            above = parts[: len(parts) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            names = [".".join(filter(None, (origin, alias.name))) for alias in node.names]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[: depth + 1]) for depth in range(len(parts)))
