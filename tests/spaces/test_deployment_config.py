"""A configuration by its parameters, and by its label."""

from __future__ import annotations

import json

import pytest

from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import BASELINE, DeploymentConfig
from litefront.spaces.quantization import Quantization

CONFIG = DeploymentConfig(0.75, Quantization.INT8, Delegate.NONE, num_threads=2, batch_size=4)


def test_params_are_plain_values_by_dimension() -> None:
    expected = {"sparsity": 0.75, "quantization": "int8", "delegate": "none", "num_threads": 2, "batch_size": 4}
    assert CONFIG.params() == expected
    assert {type(value) for value in CONFIG.params().values()} == {float, str, int}


@pytest.mark.parametrize("config", [BASELINE, CONFIG])
def test_a_configuration_survives_json(config: DeploymentConfig) -> None:
    assert DeploymentConfig.from_params(json.loads(json.dumps(config.params()))) == config


@pytest.mark.parametrize("change", [{"quantization": "int9"}, {"delegate": "tpu"}, {"num_threads": "two"}])
def test_params_of_no_dimension_are_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="int9|tpu|two"):
        DeploymentConfig.from_params(CONFIG.params() | change)


def test_a_label_says_every_choice() -> None:
    assert CONFIG.label() == "int8 sparsity 0.75 none 2 threads batch 4"
    assert BASELINE.label() == "float32 sparsity 0 xnnpack 1 thread batch 1"


def test_the_baseline_is_the_float_model_on_the_default_delegate() -> None:
    assert DeploymentConfig(0.0, Quantization.FLOAT32, Delegate.XNNPACK, 1, 1) == BASELINE
