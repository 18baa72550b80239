"""Speaker recognition from two spoken vowels (JapaneseVowels) and a small fully convolutional net over time.

It is the second kind of model to try a search on: time series instead of images, 74 k parameters, and training in
seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from litefront.search import Dataset, FineTuning, Task
from litefront.spaces.rows import take_rows

if TYPE_CHECKING:
    import tf_keras

__all__ = ["task", "trained_model"]

SEED = 0
EPOCHS = 60
BATCH_SIZE = 32
PEAK_LEARNING_RATE = 3e-3
LOSS = "sparse_categorical_crossentropy"
CONVOLUTIONS = ((64, 5), (96, 5), (128, 3))
"""(channels, frames seen at once) of each convolution."""


def load(part: str) -> Dataset:
    """Reads one part of `vowels.npz`.

    Args:
        part: "train" or "evaluation".

    Returns:
        Utterances of shape `(rows, 29 frames, 1, 12 coefficients)`, float32, and the speakers, 0 to 8, of shape
        `(rows,)`.
    """
    with np.load(Path(__file__).with_name("vowels.npz")) as arrays:
        # Time is the height of an image of width 1: tfmot's quantization-aware training knows Conv2D, but not Conv1D.
        return Dataset(arrays[f"{part}_inputs"][:, :, np.newaxis, :], arrays[f"{part}_labels"].astype(np.int64))


def build_model() -> tf_keras.Model:
    """Returns the untrained net: convolutions over time, their average over time, and a dense softmax."""
    from tf_keras import Sequential, layers

    model = Sequential([layers.Input((29, 1, 12))])
    for channels, frames in CONVOLUTIONS:
        model.add(layers.Conv2D(channels, (frames, 1), padding="same", use_bias=False))
        # Keras' default momentum, 0.99, still remembers its start after these few steps.
        model.add(layers.BatchNormalization(momentum=0.9))
        model.add(layers.ReLU())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(9, activation="softmax"))
    return model


def trained_model() -> tf_keras.Model:
    """Returns the trained float32 net; the caller seeds its initial weights, the order of the rows is seeded here."""
    import tensorflow as tf
    import tf_keras

    training = load("train")
    rows = tf.data.Dataset.from_tensor_slices((training.inputs, training.labels))
    batches = rows.shuffle(len(training.inputs), seed=SEED).batch(BATCH_SIZE)
    learning_rate = tf_keras.optimizers.schedules.CosineDecay(PEAK_LEARNING_RATE, EPOCHS * len(batches))
    model = build_model()
    model.compile(tf_keras.optimizers.Adam(learning_rate), LOSS)
    model.fit(batches, epochs=EPOCHS, verbose=0)
    return model


_training = load("train")
task = Task(
    model=trained_model,
    training=_training,
    evaluation=load("evaluation"),
    representative=take_rows(_training.inputs, slice(200)),
    loss=LOSS,
    metric="top1",
    fine_tuning=FineTuning(epochs=30, batch_size=32, learning_rate=1e-3),
)
