"""Sizes, cells and refusals of spaces that can be counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

from litefront.spaces.calibration import Calibration
from litefront.spaces.delegate import Delegate, delegate_that_runs
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.dimension import Capabilities
from litefront.spaces.quantization import Quantization
from litefront.spaces.search_space import DIMENSIONS, SearchSpace, canonical, refusal
from litefront.spaces.sparsity import DENSE, Pattern, Sparsity
from litefront.spaces.storage import Storage

ABLE = Capabilities(cores=2)
NONE, XNNPACK = Delegate.NONE, Delegate.XNNPACK
FLOAT32, INT8, INT16X8 = Quantization.FLOAT32, Quantization.INT8, Quantization.INT16X8
HALF, CHANNELS = Sparsity(0.5), Sparsity(0.5, Pattern.CHANNEL)


def space(**choices: Any) -> SearchSpace:
    return SearchSpace({name: choices.get(name, (dimension.default,)) for name, dimension in DIMENSIONS.items()})


def test_the_space_of_defaults_is_the_baseline() -> None:
    assert space().size() == 1
    assert space().cells(ABLE) == [DeploymentConfig()]


def test_size_is_the_product_of_the_choices() -> None:
    large = space(
        sparsity=(DENSE, HALF, Sparsity(0.75)),
        quantization=(FLOAT32, INT8),
        num_threads=(1, 2),
        batch_size=(1, 4, 16, 64),
    )
    assert large.size() == 3 * 2 * 2 * 4
    assert len(list(large.configurations())) == large.size()
    assert len(set(large.configurations())) == large.size()


def test_the_last_dimension_varies_fastest() -> None:
    configs = list(space(quantization=(INT8, FLOAT32), batch_size=(4, 1)).configurations())
    assert [(c.quantization, c.batch_size) for c in configs] == [(INT8, 4), (INT8, 1), (FLOAT32, 4), (FLOAT32, 1)]


def test_int16_activations_under_xnnpack_are_the_cell_without_delegate() -> None:
    asked = DeploymentConfig(quantization=INT16X8, delegate=XNNPACK, num_threads=2)
    assert canonical(asked) == DeploymentConfig(quantization=INT16X8, delegate=NONE, num_threads=2)
    # 2 quantizations x 2 delegates, and one pair that cannot differ.
    cells = space(quantization=(FLOAT32, INT16X8), delegate=(XNNPACK, NONE)).cells(ABLE)
    assert [(c.quantization, c.delegate) for c in cells] == [(FLOAT32, XNNPACK), (FLOAT32, NONE), (INT16X8, NONE)]


@pytest.mark.parametrize("delegate", [Delegate.GPU, Delegate.NPU])
def test_threads_do_nothing_for_what_computes_off_the_cores(delegate: Delegate) -> None:
    assert canonical(DeploymentConfig(delegate=delegate, num_threads=2)) == DeploymentConfig(delegate=delegate)
    assert len(space(delegate=(XNNPACK, delegate), num_threads=(1, 2)).cells(ABLE)) == 3


def test_a_delegate_that_is_not_there_is_refused_with_its_reason() -> None:
    able = Capabilities(cores=2, delegate_refusals={"gpu": "gpu is not there: no adapter"})
    assert refusal(DeploymentConfig(delegate=Delegate.GPU), able) == "gpu is not there: no adapter"
    assert refusal(DeploymentConfig(delegate=XNNPACK), able) is None


@pytest.mark.parametrize("quantization", Quantization)
@pytest.mark.parametrize("delegate", Delegate)
def test_a_canonical_configuration_stands_for_itself(quantization: Quantization, delegate: Delegate) -> None:
    config = canonical(DeploymentConfig(quantization=quantization, delegate=delegate))
    assert canonical(config) == config
    assert config.quantization is quantization


def test_only_int16_activations_lack_kernels_in_xnnpack() -> None:
    without = [q for q in Quantization if delegate_that_runs(XNNPACK, q) is NONE]
    assert without == [INT16X8]
    assert all(delegate_that_runs(NONE, q) is NONE for q in Quantization)


def test_cells_leave_out_what_cannot_work() -> None:
    cells = space(num_threads=(1, 2, 3), sparsity=(DENSE, HALF)).cells(
        Capabilities(cores=2, pruning_refusals={"unstructured": "a .tflite"})
    )
    assert [(c.sparsity, c.num_threads) for c in cells] == [(DENSE, 1), (DENSE, 2)]


def test_refusals_count_each_configuration_once() -> None:
    # Of 2 x 3 configurations 3 are sparse, and of the 3 others one has too many threads.
    refusals = space(num_threads=(1, 2, 3), sparsity=(DENSE, HALF)).refusals(
        Capabilities(2, pruning_refusals={"unstructured": "a .tflite"})
    )
    assert refusals == {"a .tflite": 3, "3 threads on a device of 2 cores would only wait for each other": 1}


def test_a_space_where_nothing_works_has_no_cells() -> None:
    assert space(num_threads=(8,)).cells(ABLE) == []
    assert sum(space(num_threads=(8,)).refusals(ABLE).values()) == 1


def test_a_refusal_is_none_where_all_can_work() -> None:
    assert refusal(DeploymentConfig(), ABLE) is None
    assert space().refusals(ABLE) == {}


def test_calibration_matters_only_where_something_is_calibrated() -> None:
    chosen = space(quantization=(FLOAT32, INT8), calibration=tuple(Calibration), calibration_rows=(50, 200))
    assert [c.quantization for c in chosen.cells(ABLE)] == [FLOAT32] + [INT8] * 6


def test_zeros_are_left_out_only_of_files_that_have_some() -> None:
    stored = space(sparsity=(DENSE, HALF, CHANNELS), storage=tuple(Storage)).cells(ABLE)
    assert [(c.sparsity, c.storage) for c in stored] == [
        (DENSE, Storage.DENSE),
        (HALF, Storage.DENSE),
        (HALF, Storage.SPARSE),
        (CHANNELS, Storage.DENSE),
    ]


def test_weights_that_no_runtime_takes_sparsely_are_refused() -> None:
    asked = DeploymentConfig(sparsity=HALF, quantization=Quantization.DYNAMIC_INT8, storage=Storage.SPARSE)
    assert "stored sparsely only as float32" in str(refusal(asked, ABLE))
    assert refusal(DeploymentConfig(sparsity=HALF, quantization=INT8, storage=Storage.SPARSE), ABLE) is None
