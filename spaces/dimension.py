"""What every dimension of the space has in common, and what decides which of its choices can work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

__all__ = ["Capabilities", "Dimension", "checked_choice", "checked_whole_number"]

Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(frozen=True)
class Capabilities:
    """What the model at hand and the device allow; read by each dimension's validity rule.

    Attributes:
        cores: Processor cores of the device that measures.
        pruning_refusals: Why the model cannot be pruned, by pattern of sparsity; one that it can be is not in it.
        clustering_refusal: Why weights cannot be clustered; None if they can.
        quantization_refusals: Why the model cannot be quantized so, by quantization; one that can be is not in it.
        calibration_refusal: Why activations cannot be calibrated; None if they can.
        fixed_batch_size: The only batch that the model's file can be converted for; None if any can.
        fixed_batch_reason: Why it is the only one, where that is more than the file's own batch.
        delegate_refusals: Why a delegate cannot be used on the device, by its name; those that can are not in it.
    """

    cores: int
    pruning_refusals: Mapping[str, str] = field(default_factory=dict)
    clustering_refusal: str | None = None
    quantization_refusals: Mapping[str, str] = field(default_factory=dict)
    calibration_refusal: str | None = None
    fixed_batch_size: int | None = None
    fixed_batch_reason: str = ""
    delegate_refusals: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Dimension:
    """One parameter of a configuration.

    Attributes:
        name: The parameter's name, as in `DeploymentConfig` and in a study file.
        default: The choice that the baseline makes.
        parse: Turns one entry of a study file into a choice; raises ValueError with the rule if it cannot.
        refusal: Why a choice cannot work with these capabilities, or None: asked before anything is spent.
    """

    name: str
    default: Any
    parse: Callable[[object], Any]
    refusal: Callable[[Any, Capabilities], str | None]


def checked_choice(value: object, choices: type[Choice], *, name: str) -> Choice:
    """Reads one of an enum's names.

    Raises:
        ValueError: If it is none of them; the message lists them.
    """
    if not isinstance(value, str) or value not in list(choices):
        raise ValueError(f"`{name}` must be one of {', '.join(choices)}, but got {value!r}.")
    return choices(value)


def checked_whole_number(value: object, *, name: str, low: int) -> int:
    """Reads a whole number of at least `low`.

    Raises:
        ValueError: If it is not one.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ValueError(f"`{name}` must be a whole number of at least {low}, but got {value!r}.")
    return value
