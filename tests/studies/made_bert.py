"""A tiny BERT: made-up weights, and what it computes, written down in numpy from the paper and nothing else."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["HEADS", "made_weights", "sentence_embedding"]

LAYERS, WIDTH, HEADS, UNITS, VOCABULARY, LONGEST = 2, 16, 2, 24, 30, 12

Weights = dict[str, NDArray[Any]]


def made_weights(seed: int = 0) -> Weights:
    """Weights of two layers, under the names that BERT files have."""
    random = np.random.default_rng(seed)

    def linear(name: str, inputs: int, outputs: int) -> Weights:
        return {f"{name}.weight": draw(outputs, inputs), f"{name}.bias": draw(outputs)}

    def norm(name: str) -> Weights:
        return {f"{name}.weight": 1 + 0.3 * draw(WIDTH), f"{name}.bias": 0.3 * draw(WIDTH)}

    def draw(*shape: int) -> NDArray[Any]:
        return (0.6 * random.standard_normal(shape)).astype(np.float32)

    weights = {
        "embeddings.word_embeddings.weight": draw(VOCABULARY, WIDTH),
        "embeddings.position_embeddings.weight": draw(LONGEST, WIDTH),
        "embeddings.token_type_embeddings.weight": draw(2, WIDTH),
    } | norm("embeddings.LayerNorm")
    for index in range(LAYERS):
        prefix = f"encoder.layer.{index}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            weights |= linear(f"{prefix}.attention.{part}", WIDTH, WIDTH)
        weights |= norm(f"{prefix}.attention.output.LayerNorm")
        weights |= linear(f"{prefix}.intermediate.dense", WIDTH, UNITS)
        weights |= linear(f"{prefix}.output.dense", UNITS, WIDTH)
        weights |= norm(f"{prefix}.output.LayerNorm")
    return weights


def sentence_embedding(weights: Weights, token_ids: list[int]) -> NDArray[Any]:
    """What BERT makes of one sentence without padding: the mean of its tokens' last hidden states, shape `(WIDTH,)`."""

    def linear(name: str, values: NDArray[Any]) -> NDArray[Any]:
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name: str, values: NDArray[Any]) -> NDArray[Any]:
        centred = values - values.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    length = len(token_ids)
    hidden = (
        weights["embeddings.word_embeddings.weight"][token_ids]
        + weights["embeddings.position_embeddings.weight"][:length]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    hidden = norm("embeddings.LayerNorm", hidden)
    size = WIDTH // HEADS
    for index in range(LAYERS):
        prefix = f"encoder.layer.{index}"
        query, key, value = (
            linear(f"{prefix}.attention.self.{part}", hidden).reshape(length, HEADS, size)
            for part in ("query", "key", "value")
        )
        context = np.empty((length, HEADS, size))
        for head in range(HEADS):
            scores = np.exp(query[:, head] @ key[:, head].T / math.sqrt(size))
            context[:, head] = scores / scores.sum(axis=1, keepdims=True) @ value[:, head]
        attended = linear(f"{prefix}.attention.output.dense", context.reshape(length, WIDTH))
        hidden = norm(f"{prefix}.attention.output.LayerNorm", hidden + attended)
        wide = linear(f"{prefix}.intermediate.dense", hidden)
        active = wide * 0.5 * (1 + np.vectorize(math.erf)(wide / math.sqrt(2)))
        hidden = norm(f"{prefix}.output.LayerNorm", hidden + linear(f"{prefix}.output.dense", active))
    return np.asarray(hidden.mean(axis=0))
