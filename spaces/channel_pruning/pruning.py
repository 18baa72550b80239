"""Removes a share of a model's channels, step by step, with training after each step."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from litefront.spaces.channel_pruning.graph import ChannelGroups, channel_groups
from litefront.spaces.channel_pruning.importance import channel_importance
from litefront.spaces.channel_pruning.levels import (
    channel_costs,
    channels_to_remove,
    group_limits,
    multiply_accumulates,
)
from litefront.spaces.channel_pruning.settings import ChannelPruning
from litefront.spaces.channel_pruning.surgery import without_channels
from litefront.spaces.errors import CandidateError
from litefront.spaces.rows import row_count, take_rows
from litefront.spaces.training.fine_tuning import FineTuning, TrainingData, fine_tune

__all__ = ["PrunedChannels", "prune_channels"]

_EARLY_SHARE = 0.5
"""Share of the training that lies between the steps of removal; the rest follows the last."""


@dataclass(frozen=True)
class PrunedChannels:
    """A model with fewer channels.

    Attributes:
        model: The smaller model.
        facts: What was removed and what was left whole, for records: plain JSON.
    """

    model: Any
    facts: dict[str, Any]


def prune_channels(
    model: Any,
    level: float,
    data: TrainingData,
    fine_tuning: FineTuning,
    *,
    teacher: Any = None,
    settings: ChannelPruning | None = None,
) -> PrunedChannels:
    """Removes channels, filters, attention heads and feed-forward units from a model, and trains what is left.

    Args:
        model: The trained tf_keras or Keras 3 model; it stays as it is.
        level: Share of the removable features that is removed, in [0, 1).
        data: Training data, for judging channels and for training.
        fine_tuning: How to train; its epochs are divided over the steps of removal.
        teacher: The float model, for distillation.
        settings: How channels are chosen and removed.

    Returns:
        The smaller model, and the facts about it.

    Raises:
        CandidateError: If the model has no channels that can be removed.
    """
    settings = settings or ChannelPruning()
    whole = channel_groups(model, normalised_too=settings.normalised_too)
    if not whole.groups:
        raise CandidateError(f"the model has no channels that can be removed: {_reasons(whole)}")
    limits = group_limits(whole, settings)
    pruned, groups = model, whole
    for step in range(1, settings.iterations + 1 if level > 0 else 1):
        kept = whole.features * (1 - level) ** (step / settings.iterations)
        removed = channels_to_remove(
            groups,
            channel_importance(pruned, groups, data, settings),
            channel_costs(pruned, groups),
            features=groups.features - kept,
            limits=limits,
            settings=settings,
        )
        pruned = without_channels(pruned, groups, removed)
        groups = channel_groups(pruned, normalised_too=settings.normalised_too)
        epochs = fine_tuning.epochs * _share_of_training(step, settings.iterations)
        _train(pruned, data, fine_tuning, teacher=teacher, epochs=epochs)
    return PrunedChannels(pruned, _facts(level, (model, whole), (pruned, groups)))


def _share_of_training(step: int, steps: int) -> float:
    if steps == 1:
        return 1.0
    return 1 - _EARLY_SHARE if step == steps else _EARLY_SHARE / (steps - 1)


def _train(model: Any, data: TrainingData, fine_tuning: FineTuning, *, teacher: Any, epochs: float) -> None:
    """Trains for a number of passes that need not be whole: then each goes over a part of the rows only."""
    passes = math.ceil(epochs)
    rows = row_count(data.inputs)
    if epochs < passes:
        picked = np.random.default_rng(fine_tuning.seed).permutation(rows)[: max(1, round(rows * epochs / passes))]
        labels = None if data.labels is None else take_rows(data.labels, picked)
        data = replace(data, inputs=take_rows(data.inputs, picked), labels=labels)
    fine_tune(model, data, fine_tuning, teacher=teacher, epochs=passes)


def _reasons(groups: ChannelGroups) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in groups.whole.items()) or "it has no layer with weights"


def _facts(level: float, before: tuple[Any, ChannelGroups], after: tuple[Any, ChannelGroups]) -> dict[str, Any]:
    (model, whole), (pruned, groups) = before, after
    left = {group.name: group.size for group in groups.groups}
    return {
        "level": level,
        "removed_share": 1 - groups.features / whole.features,
        "groups": {
            group.name: {"layers": list(group.layers), "before": group.size, "after": left[group.name]}
            for group in whole.groups
        },
        "whole": whole.whole,
        "parameters": {"before": model.count_params(), "after": pruned.count_params()},
        "multiply_accumulates": {
            "before": multiply_accumulates(model, whole),
            "after": multiply_accumulates(pruned, groups),
        },
    }
