"""What a process needs to run stages, and what a stage leaves there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from litefront.objectives.devices import Device
from litefront.search.store import ArtifactStore
from litefront.search.task import Task

__all__ = ["StageOutput", "Workplace"]


@dataclass(frozen=True)
class Workplace:
    """What a process needs to run stages.

    Attributes:
        store: Where inputs come from and results go.
        task: The user's task.
        device: The device that measures.
    """

    store: ArtifactStore
    task: Task
    device: Device


@dataclass(frozen=True)
class StageOutput:
    """What a stage's function leaves.

    Attributes:
        files: Files in its scratch folder, by the name of the object that each becomes.
        facts: What it found, as plain JSON values.
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
