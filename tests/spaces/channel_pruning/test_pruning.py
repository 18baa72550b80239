"""Removing channels in steps, with training in between."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from litefront.spaces.base_model import BaseModel, load_keras
from litefront.spaces.channel_pruning import ChannelPruning, PrunedChannels, prune_channels, pruning
from litefront.spaces.errors import CandidateError
from litefront.spaces.rows import row_count
from litefront.spaces.training.fine_tuning import FineTuning, TrainingData
from tests.spaces.channel_pruning.made_models import LIBRARIES, library, outputs

SETTINGS = ChannelPruning(rows=16, iterations=2)
TRAINING = FineTuning(epochs=1, batch_size=8, learning_rate=1e-3)


@pytest.fixture(scope="module")
def data(rows: tuple[np.ndarray, np.ndarray]) -> TrainingData:
    return TrainingData(*rows, loss="sparse_categorical_crossentropy")


@pytest.fixture(scope="module", params=LIBRARIES)
def classifier(request: pytest.FixtureRequest) -> Any:
    keras = library(request.param)
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(16, 3, use_bias=False, name="first"),
            layers.BatchNormalization(momentum=0.5),
            layers.ReLU(),
            layers.Conv2D(16, 3, activation="relu", name="second"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax", name="last"),
        ]
    )


@pytest.fixture(scope="module")
def half(classifier: Any, data: TrainingData) -> PrunedChannels:
    return prune_channels(classifier, 0.5, data, TRAINING, settings=SETTINGS)


def filters(model: Any) -> dict[str, int]:
    return {name: model.get_layer(name).filters for name in ("first", "second")}


def test_the_share_that_was_asked_for_is_removed(half: PrunedChannels, data: TrainingData) -> None:
    left = filters(half.model)
    # Tiles of four channels, of 32.
    assert abs(sum(left.values()) - 16) <= 2
    assert half.facts["removed_share"] == pytest.approx(1 - sum(left.values()) / 32)
    assert {name: group["after"] for name, group in half.facts["groups"].items()} == left
    assert outputs(half.model, data.inputs)[0].shape == (22, 3)


def test_the_facts_are_plain_json_and_count_the_model(classifier: Any, half: PrunedChannels) -> None:
    facts = json.loads(json.dumps(half.facts))
    assert facts == half.facts
    assert facts["parameters"] == {"before": classifier.count_params(), "after": half.model.count_params()}
    assert facts["multiply_accumulates"]["after"] < facts["multiply_accumulates"]["before"]
    assert facts["whole"] == {"last": "its features go through the activation softmax of `last` (Dense)"}


def test_the_model_stays_as_it_was_and_the_seed_gives_the_same_smaller_one(
    classifier: Any, half: PrunedChannels, data: TrainingData
) -> None:
    before = outputs(classifier, data.inputs)[0]
    again = prune_channels(classifier, 0.5, data, TRAINING, settings=SETTINGS)
    np.testing.assert_array_equal(outputs(classifier, data.inputs)[0], before)
    for one, other in zip(half.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_nothing_is_removed_at_level_0(classifier: Any, data: TrainingData) -> None:
    given = prune_channels(classifier, 0.0, data, TRAINING, settings=SETTINGS)
    np.testing.assert_array_equal(outputs(given.model, data.inputs)[0], outputs(classifier, data.inputs)[0])
    assert given.facts["removed_share"] == 0


@pytest.mark.parametrize(("epochs", "iterations"), [(1, 1), (1, 3), (2, 3), (5, 2)])
def test_all_training_together_lasts_as_long_as_was_asked_for(
    classifier: Any, data: TrainingData, monkeypatch: pytest.MonkeyPatch, epochs: int, iterations: int
) -> None:
    trained: list[tuple[int, int]] = []

    def recorded(model: Any, data: TrainingData, settings: FineTuning, *, teacher: Any, epochs: int) -> None:
        trained.append((row_count(data.inputs), epochs))

    monkeypatch.setattr(pruning, "fine_tune", recorded)
    settings = ChannelPruning(rows=16, iterations=iterations)
    prune_channels(classifier, 0.5, data, FineTuning(epochs=epochs), settings=settings)
    assert len(trained) == iterations
    row_passes = [rows * passes for rows, passes in trained]
    assert sum(row_passes) == pytest.approx(epochs * 22, rel=0.05)
    assert row_passes[-1] == max(row_passes)


def test_a_trained_model_is_pruned_and_still_right(keras_classifier: BaseModel, data: TrainingData) -> None:
    settings = FineTuning(epochs=20, batch_size=8, learning_rate=1e-2)
    given = prune_channels(load_keras(keras_classifier), 0.5, data, settings, settings=SETTINGS)
    (group,) = given.facts["groups"].values()
    assert (group["before"], group["after"]) == (8, 4)
    assert (outputs(given.model, data.inputs)[0].argmax(-1) == data.labels).mean() > 0.9


def test_a_model_without_channels_to_remove_is_refused_with_the_reason(data: TrainingData) -> None:
    keras = library("tf_keras")
    model = keras.Sequential(
        [keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3, name="last")]
    )
    with pytest.raises(CandidateError, match="no channels that can be removed: last: its features are the model's"):
        prune_channels(model, 0.5, data, TRAINING)
