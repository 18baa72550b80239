"""Finds and reads a study file; every mistake is reported at once, with its line."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from litefront.search.device_spec import DEVICE_SPECS
from litefront.search.study_spec import StudySpec
from litefront.spaces.errors import InputError

__all__ = ["StudyFile", "read_study_file", "ready_made_studies"]

STUDY_FILE_NAME = "study.yaml"

# Where the tag of a form stands in the place of a mistake, by the key that comes first.
_TAG_AT = {"task": 1, "devices": 2}


@dataclass(frozen=True)
class StudyFile:
    """A study as read.

    Attributes:
        spec: What it says.
        path: Where it stands; paths in it are relative to its folder.
    """

    spec: StudySpec
    path: Path

    @property
    def folder(self) -> Path:
        """The folder that the file stands in."""
        return self.path.parent


def ready_made_studies() -> dict[str, Path]:
    """The studies that come with litefront: name to study file."""
    found = importlib.util.find_spec("litefront.studies")
    folders = list(found.submodule_search_locations or []) if found else []
    files = (path for folder in folders for path in sorted(Path(folder).glob(f"*/{STUDY_FILE_NAME}")))
    return {path.parent.name: path for path in files}


def read_study_file(study: str) -> StudyFile:
    """Reads a study.

    Args:
        study: A study file, a folder that holds `study.yaml`, or a ready-made study's name.

    Raises:
        InputError: If there is no such file, or it is not a valid study: one problem a mistake, each with its line.
    """
    path = _find(study)
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        problem = f"{path}: a study file must be UTF-8 text, but {error.reason} at byte {error.start}."
        raise InputError(problem) from None
    except OSError as error:
        raise InputError(f"{path}: the study file cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: the study file must be YAML, but {_yaml_words(error)}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: a study file must be a mapping of keys, but got {type(content).__name__}.")
    repeated = list(_repeated_keys(node, path))
    try:
        spec = StudySpec.model_validate(content)
    except ValidationError as error:
        raise InputError(_by_line([*repeated, *_problems(error, node, path)])) from None
    if repeated:
        raise InputError(repeated)
    path = path.resolve()
    devices = {name: device.beside(path.parent) for name, device in spec.devices.items()}
    return StudyFile(spec.model_copy(update={"devices": devices}), path)


def _find(study: str) -> Path:
    path = Path(study)
    if path.is_file():
        return path
    if (path / STUDY_FILE_NAME).is_file():
        return path / STUDY_FILE_NAME
    ready_made = ready_made_studies()
    if study in ready_made:
        return ready_made[study]
    raise InputError(
        f"A study must be a study file, a folder with {STUDY_FILE_NAME}, or one of the ready-made studies "
        f"{', '.join(ready_made)}, but got {study!r}."
    )


def _yaml_words(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"line {mark.line + 1}: {problem}." if mark else f"{problem}."


def _repeated_keys(node: yaml.Node | None, path: Path, above: tuple[yaml.Node, ...] = ()) -> Iterator[str]:
    """Keys that stand twice in one mapping: YAML readers keep the last without a word."""
    if node is None or any(node is other for other in above):
        return  # an alias may point at what it stands in
    above = (*above, node)
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated_keys(item, path, above)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[Any] = set()
    for key, value in node.value:
        if key.value in seen:
            yield f"{path}:{key.start_mark.line + 1}: A key must stand once, but `{key.value}` stands twice."
        seen.add(key.value)
        yield from _repeated_keys(value, path, above)


def _problems(error: ValidationError, node: yaml.Node | None, path: Path) -> list[str]:
    problems = []
    for detail in error.errors():
        # Behind `task` and a device stands the tag of its form, behind a dictionary's key `[key]`: not in the file.
        tag_at = _TAG_AT.get(str(detail["loc"][0])) if detail["loc"] else None
        location = [part for index, part in enumerate(detail["loc"]) if part != "[key]" and index != tag_at]
        where = ".".join(str(part) for part in location) or "the study"
        problems.append(f"{path}:{_line(node, location)}: {where}: {_message(detail, location)}")
    return list(dict.fromkeys(problems))


def _by_line(problems: list[str]) -> list[str]:
    """The problems as a reader of the file meets them; each begins with `path:line:`."""
    return sorted(problems, key=lambda problem: int(problem.split(": ", 1)[0].rpartition(":")[2]))


def _message(detail: Any, location: list[Any]) -> str:
    if detail["type"] == "extra_forbidden":
        kind = detail["loc"][2] if location[:1] == ["devices"] else None
        return f"Unknown key; valid here: {', '.join(_valid_keys(location[:-1], kind))}."
    if detail["type"] == "missing":
        return "This key must be given."
    message = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "value_error":
        return message
    return f"{message}, but got {detail['input']!r}."


def _valid_keys(location: list[Any], kind: str | None = None) -> list[str]:
    """The keys that the model at this place of the study takes."""
    model: Any = StudySpec if kind is None else DEVICE_SPECS[kind]
    for part in location if kind is None else location[2:]:
        field = model.model_fields.get(part)
        # A tier or a device may bear the name of one of its own keys; that leads to no other model.
        model = (field and _nested_model(field.annotation)) or model
    return list(model.model_fields)


def _nested_model(annotation: Any) -> Any:
    if hasattr(annotation, "model_fields"):
        return annotation
    models = [_nested_model(argument) for argument in getattr(annotation, "__args__", ())]
    return next((model for model in models if model is not None), None)


def _line(node: yaml.Node | None, location: list[Any]) -> int:
    """The line, counted from 1, of the deepest part of `location` that the file holds."""
    line = node.start_mark.line if node else 0
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line if node else 0
        else:
            break
    return line + 1
