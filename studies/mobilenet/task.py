"""MobileNetV1 at full width on clothes (Fashion-MNIST): what compression promises of the best-known mobile net.

The images are resized to 40 pixels and three channels: so the 3.2 million parameters train within ten minutes on one
thread, and most of a call's time is spent where a full-size MobileNet spends it, in its 1x1 convolutions.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from litefront.search import Dataset, FineTuning, Task
from litefront.spaces.rows import take_rows
from litefront.studies.images import in_three_channels, resized
from litefront.studies.packaged_data import find_folder

if TYPE_CHECKING:
    import tf_keras

__all__ = ["FILES", "INSTALLED", "read_images", "read_labels", "task", "trained_model"]

FILES = tuple(f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
INSTALLED = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package `dataset-fashion-mnist` puts the files."""

SEED = 0
SIDE = 40
TRAINING_ROWS = 16_000
EVALUATION_ROWS = 3_000
EPOCHS = 10
BATCH_SIZE = 64
PEAK_LEARNING_RATE = 2e-3
LOSS = "sparse_categorical_crossentropy"
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
"""(channels, stride) of each depthwise separable block; Howard et al., arXiv 1704.04861, table 1."""


def read_images(path: Path) -> np.ndarray:
    """Reads an IDX file of images: uint8, shape `(rows, height, width)`."""
    content = gzip.decompress(path.read_bytes())
    return np.frombuffer(content, np.uint8, offset=16).reshape(np.frombuffer(content, ">u4", 3, offset=4))


def read_labels(path: Path) -> np.ndarray:
    """Reads an IDX file of labels: int64, shape `(rows,)`."""
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=8).astype(np.int64)


def load(part: str, rows: int) -> Dataset:
    """Reads the first rows of one part of Fashion-MNIST, whose rows come in no order.

    Args:
        part: "train" or "t10k".
        rows: How many.

    Returns:
        Images of shape `(rows, 40, 40, 3)`, float32 in [0, 1], and the classes, 0 to 9, of shape `(rows,)`.

    Raises:
        InputError: If the files are not there.
    """
    folder = find_folder("fashion-mnist", FILES, study="mobilenet", installed=INSTALLED)
    images = read_images(folder / f"{part}-images-idx3-ubyte.gz")[:rows]
    pixels = in_three_channels(resized(images, SIDE) / 255)
    return Dataset(pixels, read_labels(folder / f"{part}-labels-idx1-ubyte.gz")[:rows])


def build_model() -> tf_keras.Model:
    """Returns the untrained net: MobileNetV1 of width 1.0 with ten classes."""
    from tf_keras import Sequential, layers

    model = Sequential([layers.Input((SIDE, SIDE, 3))])

    def add(convolution: layers.Layer) -> None:
        model.add(convolution)
        # Keras' default momentum, 0.99, still remembers its start after these few steps: evaluated at chance.
        model.add(layers.BatchNormalization(momentum=0.9))
        model.add(layers.ReLU(6.0))

    add(layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False))
    for channels, stride in BLOCKS:
        add(layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False))
        add(layers.Conv2D(channels, 1, use_bias=False))
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(10, activation="softmax"))
    return model


def trained_model() -> tf_keras.Model:
    """Returns the trained float32 net; the caller seeds its initial weights, the order of the rows is seeded here."""
    import tensorflow as tf
    import tf_keras

    rows = tf.data.Dataset.from_tensor_slices((_training.inputs, _training.labels))
    batches = rows.shuffle(TRAINING_ROWS, seed=SEED).batch(BATCH_SIZE)
    learning_rate = tf_keras.optimizers.schedules.CosineDecay(PEAK_LEARNING_RATE, EPOCHS * len(batches))
    model = build_model()
    model.compile(tf_keras.optimizers.Adam(learning_rate), LOSS)
    model.fit(batches, epochs=EPOCHS, verbose=0)
    return model


_training = load("train", TRAINING_ROWS)
task = Task(
    model=trained_model,
    training=_training,
    evaluation=load("t10k", EVALUATION_ROWS),
    representative=take_rows(_training.inputs, slice(200)),
    loss=LOSS,
    metric="top1",
    fine_tuning=FineTuning(epochs=2, batch_size=BATCH_SIZE, learning_rate=1e-3),
)
