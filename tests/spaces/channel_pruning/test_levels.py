"""How many channels each group loses."""

from __future__ import annotations

import numpy as np
import pytest

from litefront.spaces.channel_pruning import ChannelGroup, ChannelGroups, ChannelPruning, channel_groups
from litefront.spaces.channel_pruning.levels import (
    channel_costs,
    channels_to_remove,
    group_limits,
    multiply_accumulates,
)
from tests.spaces.channel_pruning.made_models import library


def made_groups(*sizes: int, features: int = 1) -> ChannelGroups:
    ends = np.cumsum(sizes)
    groups = [
        ChannelGroup(f"group_{number}", (), np.arange(end - size, end), features)
        for number, (size, end) in enumerate(zip(sizes, ends, strict=True))
    ]
    return ChannelGroups(tuple(groups), {}, {}, int(ends[-1]))


def left_of(groups: ChannelGroups, removed: np.ndarray) -> list[int]:
    return [int((~np.isin(group.channels, removed)).sum()) for group in groups.groups]


def removal(
    groups: ChannelGroups, importance: np.ndarray, costs: np.ndarray, features: float, **settings: float
) -> np.ndarray:
    chosen = ChannelPruning(**settings)  # type: ignore[arg-type]
    limits = group_limits(groups, chosen)
    return channels_to_remove(groups, importance, costs, features=features, limits=limits, settings=chosen)


def test_the_least_important_channels_go_first_whatever_their_group() -> None:
    groups = made_groups(8, 8)
    importance = np.concatenate([np.arange(8, 0, -1), np.arange(10, 90, 10)]).astype(float)
    removed = removal(groups, importance, np.ones(16), 4)
    assert sorted(removed) == [4, 5, 6, 7]


def test_what_costs_more_time_goes_before_what_matters_as_little() -> None:
    groups = made_groups(8, 8)
    costs = np.repeat([1.0, 100.0], 8)
    importance = np.repeat([1.0, 5.0], 8)
    assert left_of(groups, removal(groups, importance, costs, 4, cost_exponent=1.0)) == [8, 4]
    assert left_of(groups, removal(groups, importance, costs, 4, cost_exponent=0.0)) == [4, 8]


def test_norms_are_not_divided_by_costs() -> None:
    groups = made_groups(8, 8)
    settings = ChannelPruning(importance="norm")  # type: ignore[arg-type]
    importance, costs = np.repeat([1.0, 5.0], 8), np.repeat([1.0, 100.0], 8)
    limits = group_limits(groups, settings)
    removed = channels_to_remove(groups, importance, costs, features=4, limits=limits, settings=settings)
    assert left_of(groups, removed) == [4, 8]


@pytest.mark.parametrize(("size", "tile"), [(64, 16), (32, 8), (20, 4), (16, 4), (6, 2), (4, 2), (3, 1), (128, 16)])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.7])
def test_what_is_kept_comes_in_whole_tiles(size: int, tile: int, share: float) -> None:
    groups = made_groups(size)
    (left,) = left_of(groups, removal(groups, np.arange(size) + 1.0, np.ones(size), size * share))
    assert left % tile == 0
    assert abs(left - size * (1 - share)) <= tile


def test_every_group_keeps_its_least_size() -> None:
    groups = made_groups(64, 3)
    removed = removal(groups, np.ones(67), np.ones(67), 67, minimum_share=0.25)
    assert left_of(groups, removed) == [16, 1]


def test_less_than_a_tile_is_kept_in_fours() -> None:
    groups = made_groups(64)
    assert left_of(groups, removal(groups, np.ones(64), np.ones(64), 60)) == [8]


def test_heads_are_counted_by_their_features_and_have_no_tiles() -> None:
    groups = made_groups(12, features=32)
    assert groups.features == 12 * 32
    assert left_of(groups, removal(groups, np.arange(12) + 1.0, np.ones(12), 5 * 32)) == [7]


def test_nothing_is_removed_where_nothing_may_go() -> None:
    groups = made_groups(1)
    assert removal(groups, np.ones(1), np.ones(1), 1).size == 0


def test_costs_are_multiply_accumulates_and_weights_read() -> None:
    keras = library("tf_keras")
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((10, 10, 3)),
            layers.Conv2D(8, 3, use_bias=False),
            layers.DepthwiseConv2D(3, use_bias=False),
            layers.Conv2D(4, 1, use_bias=False),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, use_bias=False),
        ]
    )
    groups = channel_groups(model)
    costs = channel_costs(model, groups)
    first, second = (costs[group.channels] for group in groups.groups)
    # 8 x 8 places of 3 x 3 x 3 weights that make a channel, 6 x 6 of 3 x 3 that follow it and of 4 that take it.
    np.testing.assert_allclose(first, (64 + 1) * 27 + (36 + 1) * 9 + (36 + 1) * 4)
    np.testing.assert_allclose(second, (36 + 1) * 8 + (1 + 1) * 2)
    assert multiply_accumulates(model, groups) == 64 * 27 * 8 + 36 * 9 * 8 + 36 * 8 * 4 + 4 * 2
