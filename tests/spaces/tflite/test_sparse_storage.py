"""Files without their zeros: the same answers, fewer bytes, and the counts of what was left out."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import OpResolverType

from litefront.spaces.errors import CandidateError
from litefront.spaces.quantization import Quantization, quantize
from litefront.spaces.tflite.graph import TfliteGraph
from litefront.spaces.tflite.sparse_storage import sparse_kernels, store_sparsely
from tests.conftest import run_rows
from tests.spaces.tflite.test_graph import Op, T, make_tflite, with_options

STORED = [Quantization.FLOAT32, Quantization.FLOAT16, Quantization.INT8]
RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((9, 1, 1, 64)).astype(np.float32)
ARM = {"architecture": "aarch64", "cpu_flags": ("asimd",)}


def _pruned(sparsity: float, kernel: tuple[int, int] = (1, 1)) -> bytes:
    """A convolution of 64 to 32 channels of whose weights a share is zero."""
    weights = RNG.standard_normal((32, *kernel, 64)).astype("<f4")
    weights[RNG.random(weights.shape) < sparsity] = 0
    tensors = {"x": T(shape=(1, 1, 1, 64)), "w": T("FLOAT32", weights.shape, weights.tobytes())}
    tensors |= {"b": T("FLOAT32", (32,), RNG.standard_normal(32).astype("<f4").tobytes()), "y": T(shape=(1, 1, 1, 32))}
    return with_options(make_tflite(tensors, [Op("CONV_2D", ("x", "w", "b"), ("y",))]))


@pytest.fixture(scope="module")
def pruned() -> bytes:
    return _pruned(0.9)


def _quantized(content: bytes, quantization: Quantization) -> bytes:
    return quantize(content, quantization, representative_dataset=ROWS)


@pytest.mark.parametrize("quantization", STORED, ids=str)
def test_answers_and_counts_are_those_of_the_dense_file(pruned: bytes, quantization: Quantization) -> None:
    dense = _quantized(pruned, quantization)
    content, stored = store_sparsely(dense)
    for resolver in (OpResolverType.BUILTIN, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES):
        answers, expected = (run_rows(t, ROWS, experimental_op_resolver_type=resolver) for t in (content, dense))
        np.testing.assert_allclose(answers, expected, rtol=1e-6, atol=1e-6)
    assert TfliteGraph(content).facts(quantization) == TfliteGraph(dense).facts(quantization)
    (kernel,) = [kernel for op in TfliteGraph(content).operators if (kernel := op.kernel())]
    assert kernel.is_sparse
    assert (stored.tensors, stored.zeros, stored.values + stored.zeros) == (1, kernel.zeros(), 32 * 64)
    assert (stored.dense_bytes, stored.sparse_bytes) == (len(dense), len(content))


def test_the_file_is_smaller(pruned: bytes) -> None:
    _, stored = store_sparsely(pruned)
    # 2,048 weights of four bytes; a tenth of them stays, with a byte each for its column.
    assert stored.dense_bytes - stored.sparse_bytes > 2048 * 4 * 0.7


def test_weights_that_would_become_larger_stay() -> None:
    with pytest.raises(CandidateError, match="no weight tensor has zeros enough"):
        store_sparsely(_pruned(0.1))


def test_long_rows_have_wider_columns() -> None:
    weights = np.zeros((4, 70_000), "<f4")
    weights[:, ::7000] = RNG.standard_normal((4, 10))
    tensors = {"x": T(shape=(1, 70_000)), "w": T("FLOAT32", weights.shape, weights.tobytes()), "y": T(shape=(1, 4))}
    content, _ = store_sparsely(make_tflite(tensors, [Op("FULLY_CONNECTED", ("x", "w", ""), ("y",))]))
    rows = RNG.standard_normal((2, 70_000)).astype(np.float32)
    np.testing.assert_allclose(run_rows(content, rows), rows @ weights.T, rtol=1e-4, atol=1e-4)


def test_sparse_kernels_are_ruled_out_for_the_first_reason_that_holds(pruned: bytes) -> None:
    sparse, _ = store_sparsely(pruned)
    int8, _ = store_sparsely(_quantized(pruned, Quantization.INT8))
    barely, _ = store_sparsely(_pruned(0.6))
    spatial, _ = store_sparsely(_pruned(0.9, (1, 3)))
    assert sparse_kernels(pruned, **ARM) is None
    assert sparse_kernels(int8, **ARM).reason == "there are none for int8 weights"
    on_avx = sparse_kernels(sparse, architecture="x86_64", cpu_flags=("sse2", "avx"))
    assert on_avx.reason == "on x86 there are none where the processor has AVX"
    assert "1x1 convolutions" in sparse_kernels(spatial, **ARM).reason
    assert "two thirds" in sparse_kernels(barely, **ARM).reason
    assert not on_avx.possible
    assert sparse_kernels(sparse, **ARM).possible
    assert sparse_kernels(sparse, architecture="x86_64", cpu_flags=("sse2",)).possible
