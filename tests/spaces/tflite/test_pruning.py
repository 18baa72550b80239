"""One-shot pruning of files: which weights go, counted by hand and in every layer."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from litefront.spaces.errors import CandidateError
from litefront.spaces.quantization import Quantization
from litefront.spaces.sparsity import Sparsity
from litefront.spaces.tflite.graph import TfliteGraph
from litefront.spaces.tflite.pruning import prune_tflite
from tests.conftest import run_rows
from tests.spaces.tflite.test_graph import Op, T, floats, make_tflite


def dense(rows: int, *weights: float) -> bytes:
    """A file of one fully connected layer."""
    columns = len(weights) // rows
    tensors = {
        "x": T("FLOAT32", (1, columns)),
        "w": T("FLOAT32", (rows, columns), floats(*weights)),
        "y": T("FLOAT32", (1, rows)),
    }
    return make_tflite(tensors, [Op("FULLY_CONNECTED", ("x", "w", ""), ("y",))])


def pruned_weights(content: bytes, sparsity: object) -> list[float]:
    (constant,) = TfliteGraph(prune_tflite(content, Sparsity.parse(sparsity))).constants
    values: list[float] = np.frombuffer(constant.data, "<f4").tolist()
    return values


@pytest.mark.parametrize(
    ("sparsity", "rows", "weights", "left"),
    [
        (0.5, 2, (1, -4, 3, -2), [0, -4, 3, 0]),
        (0.25, 1, (1, -4, 3, -2), [0, -4, 3, -2]),
        # Equal ones go by their place.
        (0.5, 1, (1, 1, 1, 1), [0, 0, 1, 1]),
        ("2:4", 2, (1, -4, 3, -2, 8, 7, 6, 5), [0, -4, 3, 0, 8, 7, 0, 0]),
        ("1:2", 1, (1, 2, -4, 3, 9, 8), [0, 2, -4, 0, 9, 0]),
        # A last group of two keeps one.
        ("2:4", 1, (1, -4, 3, -2, 8, 7), [0, -4, 3, 0, 8, 0]),
        ("block:0.5", 1, (1, 1, 1, 9, 4, 4, 4, 4), [0, 0, 0, 0, 4, 4, 4, 4]),
        # A row that is no whole number of blocks ends in a shorter one, which counts by its mean too.
        ("block:0.5", 1, (2, 2, 2, 2, 3), [0, 0, 0, 0, 3]),
    ],
)
def test_the_smallest_weights_go(sparsity: object, rows: int, weights: tuple[float, ...], left: list[float]) -> None:
    assert pruned_weights(dense(rows, *weights), sparsity) == left


@pytest.mark.parametrize("sparsity", [0.5, 0.8, "block:0.5", "2:4"])
def test_every_layer_of_a_real_file_has_the_zeros_and_it_runs(
    sparsity: object, float_tflites: dict[int, bytes], rows: tuple[np.ndarray, np.ndarray]
) -> None:
    asked = Sparsity.parse(sparsity)
    content = prune_tflite(float_tflites[4], asked)
    kernels = [kernel for op in TfliteGraph(content).operators if (kernel := op.kernel()) is not None]
    assert len(kernels) == 2
    for kernel in kernels:
        # Blocks of the convolution, whose rows have one weight, are single weights.
        assert kernel.zeros() / kernel.elements >= asked.level - 0.01
    assert TfliteGraph(content).facts(Quantization.FLOAT32).prunable_sparsity == pytest.approx(asked.level, abs=0.12)
    assert np.isfinite(run_rows(content, rows[0])).all()
    assert Interpreter(model_content=content).get_signature_list()


def test_channels_are_refused(float_tflites: dict[int, bytes]) -> None:
    with pytest.raises(CandidateError, match="from a Keras model only"):
        prune_tflite(float_tflites[1], Sparsity.parse("channel:0.5"))


def test_a_file_without_weights_is_refused() -> None:
    with pytest.raises(CandidateError, match="no layer whose weights can be pruned"):
        prune_tflite(make_tflite({"x": T(), "y": T()}, [Op("ADD", ("x", "x"), ("y",))]), Sparsity(0.5))
