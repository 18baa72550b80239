"""What a model of each format cannot be put through, and the reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from litefront.spaces.base_model import BaseModel, ModelFormat, save_keras
from litefront.spaces.model_refusals import ModelRefusals
from litefront.spaces.sparsity import Pattern
from litefront.spaces.tensorflow_environment import import_keras


def test_a_small_classifier_can_have_all_that_its_layers_allow(keras_classifier: BaseModel) -> None:
    refusals = ModelRefusals.of(keras_classifier)
    assert Pattern.UNSTRUCTURED not in refusals.pruning and Pattern.CHANNEL not in refusals.pruning
    assert (refusals.clustering, refusals.quantization()) == (None, {})
    assert ModelRefusals.from_json(refusals.to_json()) == refusals


@pytest.mark.parametrize(
    ("model_format", "refused", "word"),
    [(ModelFormat.TFLITE, {Pattern.CHANNEL}, "`.tflite`"), (ModelFormat.SAVED_MODEL, set(Pattern), "SavedModel")],
)
def test_what_is_no_keras_model_cannot_be_trained_further(
    model_format: ModelFormat, refused: set[Pattern], word: str
) -> None:
    refusals = ModelRefusals.of(BaseModel(Path("nowhere"), model_format))
    assert set(refusals.pruning) == refused
    reasons = [*refusals.pruning.values(), str(refusals.clustering), refusals.quantization()["qat_int8"]]
    assert all(word in reason and "Keras model" in reason for reason in reasons)


def refusals_of(layers: list[Any], folder: Path) -> ModelRefusals:
    return ModelRefusals.of(save_keras(import_keras().Sequential(layers), folder))


def test_a_model_without_weights_has_nothing_to_take_from(tmp_path: Path) -> None:
    layers = import_keras().layers
    refusals = refusals_of([layers.Input((8, 8, 1)), layers.Flatten()], tmp_path)
    assert set(refusals.pruning) == set(Pattern)
    assert refusals.clustering is not None and "qat_int8" in refusals.quantization()


def test_layers_that_keep_their_channels_are_named(tmp_path: Path) -> None:
    layers = import_keras().layers
    refusals = refusals_of([layers.Input((8,)), layers.Dense(3)], tmp_path)
    assert "no channel of the model can be removed: dense" in refusals.pruning[Pattern.CHANNEL]
    assert len(refusals.left_whole) == 1
