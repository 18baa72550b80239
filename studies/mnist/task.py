"""The first-run demo: handwritten digits (MNIST-5k) and a small convolutional net.

It exists to show a whole search within minutes, so the net trains in about half a minute on one thread, and yet is
large enough (577 k parameters) that quantization makes a difference that a clock can see.
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
EPOCHS = 5
BATCH_SIZE = 64
PEAK_LEARNING_RATE = 3e-3
LOSS = "sparse_categorical_crossentropy"
CONVOLUTIONS = ((32, 2), (64, 1), (64, 1), (128, 2), (128, 1), (256, 2))
"""(channels, stride) of each 3x3 convolution."""


def load(part: str) -> Dataset:
    """Reads one part of `mnist5k.npz`.

    Args:
        part: "train" or "evaluation".

    Returns:
        Images of shape `(rows, 28, 28, 1)`, float32 in [0, 1], and the digits of shape `(rows,)`.
    """
    with np.load(Path(__file__).with_name("mnist5k.npz")) as arrays:
        images = arrays[f"{part}_inputs"].astype(np.float32) / 255
        return Dataset(images[..., np.newaxis], arrays[f"{part}_labels"].astype(np.int64))


def build_model() -> tf_keras.Model:
    """Returns the untrained net: convolutions that halve the image three times, their average, and a dense softmax."""
    from tf_keras import Sequential, layers

    model = Sequential([layers.Input((28, 28, 1))])
    for channels, stride in CONVOLUTIONS:
        model.add(layers.Conv2D(channels, 3, strides=stride, padding="same", use_bias=False))
        # Keras' default momentum, 0.99, still remembers its start after these few steps: evaluated at chance.
        model.add(layers.BatchNormalization(momentum=0.9))
        model.add(layers.ReLU())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(10, activation="softmax"))
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
    fine_tuning=FineTuning(epochs=2, batch_size=64, learning_rate=5e-4),
)
