"""How TensorFlow is imported: quiet, reproducible, and with the Keras that the pruning toolkit takes.

TensorFlow takes 3-13 s to import, so nothing imports it at the top of a module. tensorflow-model-optimization takes
models of tf_keras only, and the switch for that must stand in the environment before TensorFlow is first imported.
"""

from __future__ import annotations

import os
import warnings
from types import ModuleType
from typing import Any

from litefront.spaces.muted_stderr import muted_stderr

__all__ = ["import_keras", "import_keras3", "import_tensorflow", "prepare_environment", "seed_everything"]


def prepare_environment() -> None:
    """Sets what must be set before TensorFlow is imported; call before loading a user's task as well."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)


def import_tensorflow() -> Any:
    """Gives the tensorflow module, configured for one thread a process so that stages share the cores fairly."""
    prepare_environment()
    with muted_stderr():
        import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.experimental.enable_op_determinism()
    except RuntimeError:
        # The user's own code has already run an operation; the settings of its process stand.
        pass
    return tf


def import_keras() -> ModuleType:
    """Gives tf_keras, the Keras that tensorflow-model-optimization works on."""
    import_tensorflow()
    import tf_keras

    return tf_keras  # type: ignore[no-any-return]


def import_keras3() -> ModuleType:
    """Gives Keras 3, on TensorFlow: the Keras that most models are written in."""
    import_tensorflow()
    import keras

    return keras  # type: ignore[no-any-return]


def seed_everything(seed: int) -> None:
    """Seeds Python, numpy and TensorFlow, so that a stage gives the same model again."""
    import_keras().utils.set_random_seed(seed)
