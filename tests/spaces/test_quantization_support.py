"""What a mode cannot have is told from the float file, and told truthfully: the same mode is then tried."""

from __future__ import annotations

import numpy as np
import pytest

from litefront.spaces.quantization import Quantization, quantize
from litefront.spaces.quantization_support import operators_without_blocks, quantization_refusals
from litefront.spaces.tflite.graph import TfliteGraph
from tests.conftest import run_rows
from tests.spaces.tflite.test_graph import Op, T, floats, make_tflite, with_options

RNG = np.random.default_rng(0)


def _dense(*layers: tuple[int, int]) -> bytes:
    """Dense layers of (units, inputs)."""
    tensors = {"y0": T(shape=(1, layers[0][1]))}
    ops = []
    for number, shape in enumerate(layers):
        weights = RNG.standard_normal(shape).astype("<f4")
        tensors |= {f"w{number}": T("FLOAT32", shape, weights.tobytes()), f"y{number + 1}": T(shape=(1, shape[0]))}
        ops.append(Op("FULLY_CONNECTED", (f"y{number}", f"w{number}", ""), (f"y{number + 1}",)))
    return with_options(make_tflite(tensors, ops))


def test_modes_that_a_model_can_have_are_not_refused() -> None:
    refused = quantization_refusals(_dense((8, 32)))
    assert refused == {
        Quantization.DYNAMIC_INT8_EMBEDDING_INT4: "dynamic_int8_embedding_int4: the model looks no embedding up"
    }


@pytest.mark.parametrize("shape", [(3, 32), (8, 33)], ids=["few units", "odd rows"])
def test_blocks_need_rows_and_units(shape: tuple[int, int]) -> None:
    reason = quantization_refusals(_dense(shape))[Quantization.DYNAMIC_INT4_BLOCK32]
    assert "at least 4 units or an embedding, with rows that 32 divides; the weights are of FULLY_CONNECTED" in reason


def test_a_model_without_weights_is_refused_every_mode() -> None:
    content = make_tflite({"x": T(), "y": T()}, [Op("LOGISTIC", ("x",), ("y",))])
    refused = quantization_refusals(content)
    assert refused.keys() == set(Quantization) - {Quantization.FLOAT32}
    assert refused[Quantization.INT8] == "int8: no operator of the model has float weights"


def test_what_the_quantizers_policy_leaves_out_is_named() -> None:
    tensors = {
        "x": T(shape=(1, 2, 2, 1)),
        "w": T("FLOAT32", (1, 2, 2, 1), floats(1, 2, 3, 4)),
        "y": T(shape=(1, 1, 1, 1)),
    }
    refused = quantization_refusals(make_tflite(tensors, [Op("DEPTHWISE_CONV_2D", ("x", "w", ""), ("y",))]))
    reason = "dynamic_int4: the quantizer stores no weights of DEPTHWISE_CONV_2D as INT4"
    assert refused[Quantization.DYNAMIC_INT4] == reason
    assert Quantization.DYNAMIC_INT8 not in refused


def test_layers_that_cannot_have_blocks_get_a_scale_a_row_and_every_kernel_is_right() -> None:
    from ai_edge_litert.interpreter import OpResolverType

    content = _dense((32, 64), (2, 32))
    assert operators_without_blocks(TfliteGraph(content)) == ("y2",)
    quantized = quantize(content, Quantization.DYNAMIC_INT4_BLOCK32)
    rows = RNG.standard_normal((20, 64)).astype(np.float32)
    expected = run_rows(content, rows)
    for resolver in (OpResolverType.BUILTIN, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES):
        answers = run_rows(quantized, rows, experimental_op_resolver_type=resolver)
        assert np.abs(answers - expected).mean() < 0.15 * expected.std()
