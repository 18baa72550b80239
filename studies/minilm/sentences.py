"""Rated sentences as rows of token ids, and as batches to train on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litefront.search import Dataset
from litefront.spaces.errors import InputError
from litefront.studies.minilm.encoder import PADDING_ID

__all__ = ["batches_by_length", "read_rated_sentences", "tokenize"]


def read_rated_sentences(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Reads sentences and the mean of their raters' scores.

    Args:
        path: A file of lines `id TAB rating TAB sentence`, in Latin-1.

    Returns:
        The sentences, and their ratings of shape `(rows,)`, from -4, very negative, to 4, very positive.

    Raises:
        InputError: If there is no such file, or a line of it is of another form.
    """
    try:
        lines = path.read_text(encoding="latin-1").split("\n")
    except FileNotFoundError:
        raise InputError(f"The rated sentences must be a file, but there is nothing at {path}.") from None
    sentences, ratings = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            _, rating, sentence = line.split("\t")
            ratings.append(float(rating))
        except ValueError:
            raise InputError(
                f"A line of {path.name} must be an id, a rating and a sentence, but line {number} is {line[:60]!r}."
            ) from None
        sentences.append(sentence.strip())
    return sentences, np.array(ratings)


def tokenize(sentences: Sequence[str], tokenizer_file: Path, *, tokens: int) -> NDArray[Any]:
    """Turns sentences into rows of token ids.

    Args:
        sentences: The sentences.
        tokenizer_file: A `tokenizer.json`.
        tokens: Length of a row: longer sentences are cut, shorter ones filled with padding.

    Returns:
        Token ids of shape `(sentences, tokens)`, int32.

    Raises:
        InputError: If the tokenizer is not there, or does not load.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise InputError("Sentences need `tokenizers`, which comes with `pip install litefront[text]`.") from None
    if not tokenizer_file.is_file():
        raise InputError(f"The tokenizer must be a tokenizer.json, but there is nothing at {tokenizer_file}.")
    try:
        tokenizer = Tokenizer.from_file(str(tokenizer_file))
    except Exception as error:
        # The library raises a bare Exception whatever is wrong with the file.
        raise InputError(f"The tokenizer {tokenizer_file.name} does not load: {error}") from error
    tokenizer.enable_truncation(tokens)
    tokenizer.enable_padding(length=tokens)
    return np.array([encoding.ids for encoding in tokenizer.encode_batch(list(sentences))], np.int32)


def batches_by_length(data: Dataset, *, batch_size: int, seed: int) -> Any:
    """Makes shuffled batches of rows of about the same length, cut to the longest of each.

    Args:
        data: Token ids of shape `(rows, tokens)`, and labels of shape `(rows,)`.
        batch_size: Rows a batch; a few batches at the end of an epoch are smaller.
        seed: Of the order, which is another one in each epoch.

    Returns:
        A `tf.data.Dataset` of batches of token ids and labels.
    """
    import tensorflow as tf

    token_ids = np.asarray(data.inputs)
    lengths = np.count_nonzero(token_ids != PADDING_ID, axis=1)
    rows = tf.data.Dataset.from_tensor_slices((token_ids, data.labels, lengths)).shuffle(len(token_ids), seed=seed)
    unpadded = rows.map(lambda row, label, length: (row[:length], label))
    bounds = list(range(9, token_ids.shape[1], 8))
    return unpadded.bucket_by_sequence_length(lambda row, _: tf.size(row), bounds, [batch_size] * (len(bounds) + 1))
