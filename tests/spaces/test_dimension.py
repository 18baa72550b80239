"""What an entry of a study file becomes, dimension by dimension, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from litefront.spaces.calibration import Calibration
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import BASELINE
from litefront.spaces.dimension import Capabilities, Dimension, checked_whole_number
from litefront.spaces.quantization import Quantization
from litefront.spaces.search_space import DIMENSIONS
from litefront.spaces.sparsity import DENSE, Pattern, Sparsity
from litefront.spaces.storage import Storage

ABLE = Capabilities(cores=4)


@pytest.fixture(params=list(DIMENSIONS.values()), ids=list(DIMENSIONS))
def dimension(request: pytest.FixtureRequest) -> Dimension:
    found = request.param
    assert isinstance(found, Dimension)
    return found


def test_a_default_is_what_the_baseline_has(dimension: Dimension) -> None:
    assert dimension.default == getattr(BASELINE, dimension.name)


def test_a_default_is_read_back_and_never_refused(dimension: Dimension) -> None:
    assert dimension.parse(dimension.default) == dimension.default
    assert dimension.refusal(dimension.default, ABLE) is None


@pytest.mark.parametrize("value", [None, [], {}, "", "many", True, -1, float("nan"), float("inf"), object()])
def test_what_is_no_choice_is_refused_with_the_dimensions_name(dimension: Dimension, value: object) -> None:
    with pytest.raises(ValueError, match=f"`{dimension.name}` must be .*, but got "):
        dimension.parse(value)


@pytest.mark.parametrize(
    ("name", "value", "choice"),
    [
        ("sparsity", 0, DENSE),
        ("sparsity", 0.999, Sparsity(0.999)),
        ("sparsity", "channel:0.5", Sparsity(0.5, Pattern.CHANNEL)),
        ("sparsity", "block: .25", Sparsity(0.25, Pattern.BLOCK)),
        ("sparsity", "2:4", Sparsity(0.5, Pattern.N_OF_M, 4)),
        ("clusters", 16, 16),
        ("calibration", "percentile", Calibration.PERCENTILE),
        ("storage", "sparse", Storage.SPARSE),
        ("quantization", "int8", Quantization.INT8),
        ("quantization", Quantization.INT8, Quantization.INT8),
        ("delegate", "none", Delegate.NONE),
        ("num_threads", 1, 1),
        ("batch_size", 256, 256),
    ],
)
def test_a_choice_is_read(name: str, value: object, choice: Any) -> None:
    parsed = DIMENSIONS[name].parse(value)
    assert parsed == choice
    assert type(parsed) is type(choice)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sparsity", 1),
        ("sparsity", 1.0),
        ("sparsity", "0.5"),
        ("num_threads", 0),
        ("num_threads", 2.0),
        ("batch_size", "4"),
    ],
)
def test_what_is_just_out_of_range_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        DIMENSIONS[name].parse(value)


def test_an_unknown_name_lists_those_that_there_are() -> None:
    with pytest.raises(
        ValueError, match="float32, float16, dynamic_int8, int8, int16x8, dynamic_int4, dynamic_int4_block32"
    ):
        DIMENSIONS["quantization"].parse("int4")
    with pytest.raises(ValueError, match="none, xnnpack, gpu, npu, nnapi, external, but got 'tpu'"):
        DIMENSIONS["delegate"].parse("tpu")


@pytest.mark.parametrize(
    ("name", "choice", "capabilities", "reason"),
    [
        (
            "sparsity",
            Sparsity(0.5),
            Capabilities(4, pruning_refusals={"unstructured": "came as a .tflite"}),
            "came as a .tflite",
        ),
        ("sparsity", DENSE, Capabilities(4, pruning_refusals={"unstructured": "came as a .tflite"}), None),
        ("quantization", Quantization.INT8, Capabilities(4, calibration_refusal="no rows"), "int8: no rows"),
        ("quantization", Quantization.INT16X8, Capabilities(4, calibration_refusal="no rows"), "int16x8: no rows"),
        ("quantization", Quantization.DYNAMIC_INT8, Capabilities(4, calibration_refusal="no rows"), None),
        ("num_threads", 4, Capabilities(4), None),
        ("num_threads", 5, Capabilities(4), "5 threads on a device of 4 cores would only wait for each other"),
        ("batch_size", 8, Capabilities(4), None),
        ("batch_size", 8, Capabilities(4, fixed_batch_size=8), None),
        (
            "batch_size",
            1,
            Capabilities(4, fixed_batch_size=8),
            "batch 1: the model's file is made for batches of 8 only",
        ),
        ("delegate", Delegate.XNNPACK, Capabilities(1), None),
    ],
)
def test_a_choice_that_cannot_work_is_refused_before_anything_is_spent(
    name: str, choice: object, capabilities: Capabilities, reason: str | None
) -> None:
    assert DIMENSIONS[name].refusal(choice, capabilities) == reason


@pytest.mark.parametrize("value", [2, 3, 10**12])
def test_a_whole_number_is_given_back(value: int) -> None:
    assert checked_whole_number(value, name="n", low=2) == value


@pytest.mark.parametrize("value", [1, True, 2.0, "2", None])
def test_what_is_no_whole_number_is_told(value: object) -> None:
    with pytest.raises(ValueError, match="`n` must be a whole number of at least 2, but got"):
        checked_whole_number(value, name="n", low=2)
