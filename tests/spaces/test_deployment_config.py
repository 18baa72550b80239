"""A configuration by its parameters, and by its label."""

from __future__ import annotations

import json

import pytest

from litefront.spaces.calibration import Calibration
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import BASELINE, DeploymentConfig
from litefront.spaces.quantization import Quantization
from litefront.spaces.sparsity import Pattern, Sparsity
from litefront.spaces.storage import Storage

CONFIG = DeploymentConfig(
    Sparsity(0.75), quantization=Quantization.INT8, delegate=Delegate.NONE, num_threads=2, batch_size=4
)
RICH = DeploymentConfig(
    Sparsity(0.5, Pattern.CHANNEL),
    clusters=16,
    quantization=Quantization.MIXED_INT8,
    calibration=Calibration.PERCENTILE,
    calibration_rows=50,
    storage=Storage.SPARSE,
)


def test_params_are_plain_values_by_dimension() -> None:
    expected = {"sparsity": 0.75, "quantization": "int8", "delegate": "none", "num_threads": 2, "batch_size": 4}
    assert CONFIG.params() == BASELINE.params() | expected
    assert {type(value) for value in CONFIG.params().values()} == {float, str, int}


@pytest.mark.parametrize("config", [BASELINE, CONFIG, RICH, DeploymentConfig(Sparsity(0.5, Pattern.N_OF_M, 4))])
def test_a_configuration_survives_json(config: DeploymentConfig) -> None:
    assert DeploymentConfig.from_params(json.loads(json.dumps(config.params()))) == config


@pytest.mark.parametrize(
    "change", [{"quantization": "int9"}, {"delegate": "tpu"}, {"num_threads": "two"}, {"colour": "red"}]
)
def test_params_of_no_dimension_are_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="int9|tpu|two|colour"):
        DeploymentConfig.from_params(CONFIG.params() | change)


def test_a_label_says_every_choice() -> None:
    assert CONFIG.label() == "int8 sparsity 0.75 none 2 threads batch 4"
    rich = "mixed_int8 (percentile, 50 rows) sparsity channel:0.5 16 clusters stored sparsely xnnpack 1 thread batch 1"
    assert RICH.label() == rich
    assert BASELINE.label() == "float32 sparsity 0 xnnpack 1 thread batch 1"


def test_the_baseline_is_the_float_model_on_the_default_delegate() -> None:
    chosen = DeploymentConfig(quantization=Quantization.FLOAT32, delegate=Delegate.XNNPACK, num_threads=1, batch_size=1)
    assert chosen == BASELINE


def test_what_an_older_bundle_does_not_name_is_the_baselines() -> None:
    older = {name: BASELINE.params()[name] for name in ("sparsity", "delegate", "num_threads", "batch_size")}
    read = DeploymentConfig.from_params(older | {"quantization": "int8"})
    assert read == DeploymentConfig(quantization=Quantization.INT8)
    with pytest.raises(KeyError, match="quantization"):
        DeploymentConfig.from_params(older)
