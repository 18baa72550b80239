"""Attention heads and feed-forward units of an encoder, and what a layer normalisation does to features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from litefront.spaces.channel_pruning import ChannelGroups, channel_groups
from litefront.spaces.channel_pruning.surgery import without_channels
from tests.spaces.channel_pruning.made_models import (
    LIBRARIES,
    NOTHING,
    assert_same,
    library,
    masked,
    outputs,
    randomize,
    some_channels,
)

WORDS, WIDTH, HEADS, KEY_DIM, UNITS = 7, 8, 4, 3, 12


@pytest.fixture(params=LIBRARIES)
def keras(request: pytest.FixtureRequest) -> Any:
    return library(request.param)


def encoder(keras: Any, *, blocks: int = 1, **attention: Any) -> Any:
    layers = keras.layers
    tokens = layers.Input((WORDS,), dtype="int32", name="tokens")
    mask = layers.Input((WORDS,), dtype="bool", name="mask")
    x = layers.Embedding(20, WIDTH, name="embedding")(tokens)
    x = layers.LayerNormalization(name="norm")(x)
    for block in range(blocks):
        heads = layers.MultiHeadAttention(HEADS, KEY_DIM, name=f"attention_{block}", **attention)
        seen = layers.Reshape((1, WORDS))(mask)
        x = layers.LayerNormalization()(layers.Add()([x, heads(x, x, attention_mask=seen)]))
        units = layers.Dense(UNITS, activation="gelu", name=f"inner_{block}")(x)
        x = layers.LayerNormalization()(layers.Add()([x, layers.Dense(WIDTH, name=f"outer_{block}")(units)]))
    x = layers.GlobalAveragePooling1D()(x, mask=mask)
    return randomize(keras.Model([tokens, mask], layers.Dense(2, activation="softmax", name="last")(x)))


def sentences() -> list[np.ndarray]:
    lengths = np.array([2, 5, WORDS])
    tokens = np.random.default_rng(0).integers(0, 20, (3, WORDS))
    return [tokens, np.arange(WORDS) < lengths[:, np.newaxis]]


def of_layer(groups: ChannelGroups, name: str) -> Any:
    return next(group for group in groups.groups if group.name == name)


def test_heads_and_units_go_and_the_residual_features_stay(keras: Any) -> None:
    model = encoder(keras, blocks=2)
    groups = channel_groups(model)
    assert {group.name: (group.size, group.features) for group in groups.groups} == {
        "attention_0": (HEADS, KEY_DIM),
        "inner_0": (UNITS, 1),
        "attention_1": (HEADS, KEY_DIM),
        "inner_1": (UNITS, 1),
    }
    assert groups.whole["embedding"] == "its features are averaged over by `norm` (LayerNormalization)"
    for before, after in zip(
        outputs(model, sentences()), outputs(without_channels(model, groups, NOTHING), sentences()), strict=True
    ):
        np.testing.assert_array_equal(before, after)
    # Layers may keep different numbers of heads.
    removed = np.concatenate(
        [
            of_layer(groups, "attention_0").channels[1:],
            of_layer(groups, "attention_1").channels[:1],
            of_layer(groups, "inner_0").channels[2:7],
        ]
    )
    pruned = without_channels(model, groups, removed)
    assert pruned.get_layer("attention_0").get_config()["key_dim"] == KEY_DIM
    assert [pruned.get_layer(f"attention_{block}").get_config()["num_heads"] for block in (0, 1)] == [1, 3]
    assert_same(pruned, masked(model, groups, removed), sentences())


@pytest.mark.parametrize("attention", [{"value_dim": 5}, {"use_bias": False}, {"output_shape": WIDTH}])
def test_heads_of_other_forms_of_attention(keras: Any, attention: dict[str, Any]) -> None:
    model = encoder(keras, blocks=1, **attention)
    groups = channel_groups(model)
    assert of_layer(groups, "attention_0").features == attention.get("value_dim", KEY_DIM)
    removed = some_channels(groups)
    assert_same(without_channels(model, groups, removed), masked(model, groups, removed), sentences())


def test_attention_without_a_residual_takes_and_makes_features_that_can_go(keras: Any) -> None:
    layers = keras.layers
    inputs = layers.Input((WORDS, 3))
    query, value = layers.Dense(6, name="query")(inputs), layers.Dense(10, name="value")(inputs)
    x = layers.MultiHeadAttention(2, 4, name="attention")(query, value)
    x = layers.MultiHeadAttention(2, 4, output_shape=5, name="other")(query, value, key=x)
    model = randomize(keras.Model(inputs, layers.Dense(2, name="last")(x)))
    groups = channel_groups(model)
    assert {group.name: group.size for group in groups.groups} == {
        "query": 6,
        "value": 10,
        "attention": 2,
        "attention:2": 6,
        "other": 2,
        "other:2": 5,
    }
    removed = some_channels(groups)
    rows = np.random.default_rng(0).random((2, WORDS, 3), dtype=np.float32)
    assert_same(without_channels(model, groups, removed), masked(model, groups, removed), rows)


def test_attention_that_gives_its_scores_is_left_whole(keras: Any) -> None:
    layers = keras.layers
    inputs = layers.Input((WORDS, 3))
    x = layers.Dense(6, name="before")(inputs)
    x, scores = layers.MultiHeadAttention(2, 4, name="attention")(x, x, return_attention_scores=True)
    groups = channel_groups(keras.Model(inputs, [layers.Dense(2, name="last")(x), scores]))
    assert groups.groups == ()
    assert groups.whole["attention"] == "it gives its attention scores as well"


def test_normalised_features_go_where_that_is_asked_for(keras: Any) -> None:
    model = encoder(keras)
    groups = channel_groups(model, normalised_too=True)
    width = of_layer(groups, "embedding")
    assert width.size == WIDTH
    assert {"attention_0", "outer_0", "last"} <= set(width.layers)
    pruned = without_channels(model, groups, width.channels[: WIDTH // 2])
    assert pruned.get_layer("embedding").get_config()["output_dim"] == WIDTH // 2
    # What is left of a normalised row is normalised by itself.
    layers = keras.layers
    given = keras.Model(model.inputs, model.get_layer("embedding").output)(sentences())
    kept = np.asarray(given)[..., WIDTH // 2 :]
    gamma, beta = (weight[WIDTH // 2 :] for weight in model.get_layer("norm").get_weights())
    mean, variance = kept.mean(-1, keepdims=True), kept.var(-1, keepdims=True)
    expected = (kept - mean) / np.sqrt(variance + model.get_layer("norm").epsilon) * gamma + beta
    assert isinstance(pruned.get_layer("norm"), layers.LayerNormalization)
    normalised = keras.Model(pruned.inputs, pruned.get_layer("norm").output)(sentences())
    np.testing.assert_allclose(np.asarray(normalised), expected, atol=1e-5)


def test_the_arithmetic_of_a_mask_does_not_come_in_the_way_of_heads() -> None:
    keras = library("tf_keras")
    import tensorflow as tf

    layers = keras.layers
    tokens = layers.Input((WORDS,), dtype="int32")
    mask = tf.not_equal(tokens, 0)
    places = layers.Embedding(WORDS, WIDTH)(tf.zeros_like(tokens) + tf.range(WORDS))
    x = layers.LayerNormalization()(layers.Add()([layers.Embedding(20, WIDTH)(tokens), places]))
    heads = layers.MultiHeadAttention(HEADS, KEY_DIM, name="attention")(x, x, attention_mask=mask[:, tf.newaxis, :])
    x = layers.LayerNormalization()(layers.Add()([x, heads]))
    x = layers.GlobalAveragePooling1D()(x, mask=mask)
    model = randomize(keras.Model(tokens, layers.Dense(2)(x)))
    groups = channel_groups(model)
    assert {group.name: group.size for group in groups.groups} == {"attention": HEADS}
    removed = some_channels(groups)
    assert_same(without_channels(model, groups, removed), masked(model, groups, removed), sentences()[0])
