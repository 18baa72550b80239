"""Prints what a benchmark found: a line of JSON a figure, the machine first."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

from litefront.objectives.devices import HostDevice

__all__ = ["figure", "machine"]

_TOOLS = ("litefront", "tensorflow", "ai-edge-litert", "ai-edge-quantizer", "optuna", "ray", "numpy")


def machine() -> None:
    """Prints the machine and the versions of the tools."""
    versions = {tool: version(tool) for tool in _TOOLS}
    print(json.dumps({"machine": HostDevice().probe().identity(), "versions": versions}), flush=True)


def figure(name: str, value: Any, unit: str, goal: str, holds: bool | None) -> None:
    """Prints one figure; `holds` is None for what is only told beside a goal."""
    print(json.dumps({"figure": name, "value": value, "unit": unit, "goal": goal, "holds": holds}), flush=True)
