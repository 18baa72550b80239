"""Is a movie review's sentence kind or unkind? MiniLM, a BERT of 22 million weights, with a head of two classes.

The encoder is built in Keras from its packaged weights, and trained as a whole with its head. `fetch.py` gets the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from litefront.search import Dataset, FineTuning, Task
from litefront.spaces.channel_pruning import ChannelPruning
from litefront.spaces.rows import take_rows
from litefront.studies.minilm.encoder import build_classifier, read_weights
from litefront.studies.minilm.fetch import DATA, FILES, SENTENCES, TOKENIZER, WEIGHTS
from litefront.studies.minilm.sentences import batches_by_length, read_rated_sentences, tokenize
from litefront.studies.packaged_data import find_folder

if TYPE_CHECKING:
    import tf_keras

__all__ = ["task", "trained_model"]

TOKENS = 48
"""Length of a row; one movie sentence in 24 is longer, and is cut."""
HEADS = 12
CLEAR_RATING = 0.5
"""Sentences that are rated closer to zero are left out: their raters did not agree on the sign."""
EVALUATION_ROWS = 1500
SEED = 0
EPOCHS = 2
BATCH_SIZE = 32
LEARNING_RATE = 5e-5
LOSS = "sparse_categorical_crossentropy"


def load() -> tuple[Dataset, Dataset]:
    """Reads the sentences that are clearly rated, each once, in a fixed random order.

    Returns:
        The rows to train on and those to evaluate on: token ids of shape `(rows, TOKENS)`, int32, and labels of shape
        `(rows,)`, 1 where the rating is positive.
    """
    sentences, ratings = read_rated_sentences(_folder / SENTENCES)
    token_ids = tokenize(sentences, _folder / TOKENIZER, tokens=TOKENS)
    clear = np.abs(ratings) >= CLEAR_RATING
    # Two sentences may be the same to the model; one of them in each part would be a row both trained and scored on.
    rows, first = np.unique(token_ids[clear], axis=0, return_index=True)
    labels = (ratings[clear][first] > 0).astype(np.int64)
    order = np.random.default_rng(SEED).permutation(len(rows))
    evaluation, training = order[:EVALUATION_ROWS], order[EVALUATION_ROWS:]
    return Dataset(rows[training], labels[training]), Dataset(rows[evaluation], labels[evaluation])


def trained_model() -> tf_keras.Model:
    """Returns the trained float32 classifier; the caller seeds its head, the order of the rows is seeded here."""
    import tf_keras

    weights = read_weights(_folder / WEIGHTS)
    # Rows are 26 tokens long in the middle: a twin that takes rows of any length is spared most of the padding.
    model = build_classifier(weights, heads=HEADS, tokens=None, classes=2)
    steps = EPOCHS * -(-len(_training.inputs) // BATCH_SIZE)
    warm_up = steps // 10
    rate = tf_keras.optimizers.schedules.CosineDecay(0.0, steps - warm_up, 0.0, None, LEARNING_RATE, warm_up)
    model.compile(tf_keras.optimizers.Adam(rate), LOSS)
    model.fit(batches_by_length(_training, batch_size=BATCH_SIZE, seed=SEED), epochs=EPOCHS, verbose=0)
    classifier = build_classifier(weights, heads=HEADS, tokens=TOKENS, classes=2)
    # They differ in one weight: the twin has a place for every position that the packaged weights know.
    classifier.set_weights(
        [trained[: len(own)] for trained, own in zip(model.get_weights(), classifier.get_weights(), strict=True)]
    )
    return classifier


_folder = find_folder(DATA, FILES, study="minilm")
_training, _evaluation = load()
task = Task(
    model=trained_model,
    model_files=(_folder / WEIGHTS, "encoder.py"),
    training=_training,
    evaluation=_evaluation,
    representative=take_rows(_training.inputs, slice(200)),
    loss=LOSS,
    metric="top1",
    fine_tuning=FineTuning(epochs=2, batch_size=32, learning_rate=1e-4, distillation=0.5),
    channel_pruning=ChannelPruning(iterations=1),
)
