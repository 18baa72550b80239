"""How TensorFlow is imported, in processes of their own."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest

from litefront.spaces.tensorflow_environment import (
    import_keras,
    import_tensorflow,
    prepare_environment,
    seed_everything,
)


def test_tensorflow_uses_the_keras_that_can_be_pruned() -> None:
    assert import_tensorflow().keras.Model is import_keras().Model


def test_the_switch_to_tf_keras_stands_whatever_the_user_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "0")
    prepare_environment()
    assert os.environ["TF_USE_LEGACY_KERAS"] == "1"


def test_the_users_own_log_level_and_devices_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    prepare_environment()
    assert (os.environ["TF_CPP_MIN_LOG_LEVEL"], os.environ["CUDA_VISIBLE_DEVICES"]) == ("0", "1")


def test_tensorflow_runs_on_one_thread() -> None:
    assert import_tensorflow().config.threading.get_intra_op_parallelism_threads() == 1


def test_the_same_seed_draws_the_same_everywhere() -> None:
    tf = import_tensorflow()
    draws = []
    for _ in range(2):
        seed_everything(7)
        draws.append((random.random(), float(np.random.rand()), float(tf.random.uniform(()))))
    assert draws[0] == draws[1]
