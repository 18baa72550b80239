"""The BERT encoder in Keras, filled with packaged weights.

Devlin and others, "BERT", arXiv 1810.04805: post-norm transformer blocks over the sum of word, position and segment
embeddings, with the exact gelu; the sentence's embedding is the mean over its tokens, as in sentence-transformers. It
is made of Keras' own layers only, so that heads and feed-forward units can be found and removed, and has one input,
the token ids: what is padding is seen in the graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from litefront.spaces.errors import InputError

if TYPE_CHECKING:
    import tf_keras

__all__ = ["PADDING_ID", "build_classifier", "build_encoder", "read_weights"]

PADDING_ID = 0
"""The token that fills a row up."""

_NORM_EPSILON = 1e-12

Weights = Mapping[str, NDArray[Any]]


def read_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Reads a BERT's weights by their usual names, such as `encoder.layer.0.attention.self.query.weight`.

    Args:
        path: A `.safetensors` file.

    Raises:
        InputError: If there is no such file, it cannot be read, or it is not a BERT's.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError:
        raise InputError("The encoder needs `safetensors`, which comes with `pip install litefront[text]`.") from None
    try:
        weights: dict[str, NDArray[Any]] = load_file(path)
    except FileNotFoundError:
        raise InputError(f"The encoder's weights must be a file, but there is nothing at {path}.") from None
    except SafetensorError as error:
        raise InputError(f"The encoder's weights {path.name} do not load: {error}") from error
    for needed in ("embeddings.word_embeddings.weight", "encoder.layer.0.attention.self.query.weight"):
        if needed not in weights:
            raise InputError(f"{path.name} must hold the weights of a BERT, but it has no {needed}.")
    return weights


def build_encoder(weights: Weights, *, heads: int, tokens: int | None) -> tf_keras.Model:
    """Builds the encoder.

    Args:
        weights: As `read_weights` gives them; they say how many layers there are, and how wide.
        heads: Attention heads of a layer.
        tokens: Length of a row; None for rows of any length up to the weights' longest.

    Returns:
        From token ids of shape `(rows, tokens)`, int32, to embeddings of shape `(rows, width)`; not normalised.
    """
    import tensorflow as tf
    from tf_keras import Model, layers

    vocabulary, width = weights["embeddings.word_embeddings.weight"].shape
    longest = len(weights["embeddings.position_embeddings.weight"])
    token_ids = layers.Input((tokens,), dtype="int32", name="token_ids")
    is_token = tf.not_equal(token_ids, PADDING_ID)
    positions = tf.zeros_like(token_ids) + tf.range(tf.shape(token_ids)[1] if tokens is None else tokens)
    words = layers.Embedding(vocabulary, width, name="words")(token_ids)
    places = layers.Embedding(tokens or longest, width, name="positions")(positions)
    hidden = layers.Add(name="embeddings")([words, places])
    hidden = layers.LayerNormalization(epsilon=_NORM_EPSILON, name="embeddings_norm")(hidden)
    for index in range(_layer_count(weights)):
        hidden = _block(hidden, is_token, index, heads=heads, units=len(weights[_feed_forward_bias(index)]))
    embedding = layers.GlobalAveragePooling1D(name="sentence")(hidden, mask=is_token)
    model = Model(token_ids, embedding, name="encoder")
    _fill(model, weights, heads)
    return model


def build_classifier(weights: Weights, *, heads: int, tokens: int | None, classes: int) -> tf_keras.Model:
    """Builds the encoder with an untrained dense softmax behind it; one flat model, not a model in a model.

    Args:
        weights: As `read_weights` gives them.
        heads: Attention heads of a layer.
        tokens: As in `build_encoder`.
        classes: Outputs of the softmax.
    """
    from tf_keras import Model, layers

    encoder = build_encoder(weights, heads=heads, tokens=tokens)
    scores = layers.Dense(classes, activation="softmax", name="classes")(encoder.output)
    return Model(encoder.input, scores, name="classifier")


def _block(hidden: Any, is_token: Any, index: int, *, heads: int, units: int) -> Any:
    """Self-attention and the feed-forward pair, each added to what came in, then normalised."""
    import tensorflow as tf
    from tf_keras import layers

    width = hidden.shape[-1]
    attention = layers.MultiHeadAttention(heads, width // heads, name=f"attention_{index}")
    # Who looks is of no matter, only who is looked at: padding must not be.
    attended = attention(hidden, hidden, attention_mask=is_token[:, tf.newaxis, :])
    hidden = layers.Add(name=f"attention_sum_{index}")([hidden, attended])
    hidden = layers.LayerNormalization(epsilon=_NORM_EPSILON, name=f"attention_norm_{index}")(hidden)
    wide = layers.Dense(units, activation="gelu", name=f"feed_forward_{index}")(hidden)
    narrow = layers.Dense(width, name=f"feed_back_{index}")(wide)
    hidden = layers.Add(name=f"feed_forward_sum_{index}")([hidden, narrow])
    return layers.LayerNormalization(epsilon=_NORM_EPSILON, name=f"feed_forward_norm_{index}")(hidden)


def _layer_count(weights: Weights) -> int:
    count = 0
    while _feed_forward_bias(count) in weights:
        count += 1
    return count


def _feed_forward_bias(index: int) -> str:
    return f"encoder.layer.{index}.intermediate.dense.bias"


def _fill(model: tf_keras.Model, weights: Weights, heads: int) -> None:
    """Puts the packaged weights into the layers."""
    words = weights["embeddings.word_embeddings.weight"]
    places = model.get_layer("positions")
    # All of a row is one segment, whose embedding is the same at every position.
    segment = weights["embeddings.token_type_embeddings.weight"][0]
    model.get_layer("words").set_weights([words])
    places.set_weights([weights["embeddings.position_embeddings.weight"][: places.input_dim] + segment])
    model.get_layer("embeddings_norm").set_weights(_pair(weights, "embeddings.LayerNorm"))
    for index in range(_layer_count(weights)):
        prefix = f"encoder.layer.{index}"
        model.get_layer(f"attention_{index}").set_weights(_attention(weights, f"{prefix}.attention", heads))
        for layer, name in (
            ("attention_norm", "attention.output.LayerNorm"),
            ("feed_forward", "intermediate.dense"),
            ("feed_back", "output.dense"),
            ("feed_forward_norm", "output.LayerNorm"),
        ):
            model.get_layer(f"{layer}_{index}").set_weights(_pair(weights, f"{prefix}.{name}"))


def _pair(weights: Weights, name: str) -> list[NDArray[Any]]:
    """Kernel and bias of a layer as Keras has them: `(inputs, outputs)`, where the file has `(outputs, inputs)`."""
    return [weights[f"{name}.weight"].T, weights[f"{name}.bias"]]


def _attention(weights: Weights, prefix: str, heads: int) -> list[NDArray[Any]]:
    """Weights of query, key, value and output with the heads as a dimension of their own."""
    arrays = []
    for part in ("query", "key", "value"):
        kernel, bias = _pair(weights, f"{prefix}.self.{part}")
        arrays += [kernel.reshape(len(kernel), heads, -1), bias.reshape(heads, -1)]
    kernel, bias = _pair(weights, f"{prefix}.output.dense")
    return [*arrays, kernel.reshape(heads, -1, kernel.shape[1]), bias]
