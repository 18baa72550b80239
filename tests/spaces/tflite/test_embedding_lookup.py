"""Embedding tables: looked up instead of gathered, with the same answers, and then stored in integers."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import OpResolverType

from litefront.spaces.quantization import Quantization, quantize
from litefront.spaces.tflite.embedding_lookup import look_embeddings_up
from litefront.spaces.tflite.file import read_tflite, write_tflite
from litefront.spaces.tflite.graph import TfliteGraph
from tests.conftest import run_rows
from tests.spaces.tflite.test_graph import Op, T, make_tflite, with_options

RNG = np.random.default_rng(0)
TABLE = RNG.standard_normal((40, 32)).astype("<f4")
WEIGHTS = RNG.standard_normal((6, 32)).astype("<f4")
IDS = RNG.integers(0, 40, (12, 5)).astype(np.int32)
TO_INTEGERS = [mode for mode in Quantization if mode not in (Quantization.FLOAT32, Quantization.FLOAT16)]
RESOLVERS = (OpResolverType.BUILTIN, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)


def _text_model(ids: str = "INT32", *, external: bool = False) -> bytes:
    """Five ids, their embeddings, and a dense layer on each."""
    tensors = {
        "ids": T(ids, (1, 5)),
        "table": T("FLOAT32", TABLE.shape, TABLE.tobytes()),
        "embedded": T(shape=(1, 5, 32)),
        "w": T("FLOAT32", WEIGHTS.shape, WEIGHTS.tobytes()),
        "y": T(shape=(1, 5, 6)),
    }
    ops = [Op("GATHER", ("table", "ids"), ("embedded",)), Op("FULLY_CONNECTED", ("embedded", "w", ""), ("y",))]
    return with_options(make_tflite(tensors, ops, external=external))


@pytest.mark.parametrize("resolver", RESOLVERS, ids=["xnnpack", "builtin"])
@pytest.mark.parametrize("ids", ["INT32", "INT64"])
@pytest.mark.parametrize("external", [False, True], ids=["inside", "behind"])
def test_answers_are_the_same_to_the_bit(ids: str, external: bool, resolver: OpResolverType) -> None:
    content = _text_model(ids, external=external)
    changed = look_embeddings_up(content)
    assert "GATHER" not in {op.name for op in TfliteGraph(changed).operators}
    answers, expected = (run_rows(t, IDS, experimental_op_resolver_type=resolver) for t in (changed, content))
    np.testing.assert_array_equal(answers, expected)


def test_tensors_keep_their_names() -> None:
    content = _text_model()
    before, after = TfliteGraph(content), TfliteGraph(look_embeddings_up(content))
    assert [t.name for t in (*after.inputs, *after.outputs)] == [t.name for t in (*before.inputs, *before.outputs)]
    assert {op.output_name for op in before.operators} <= {op.output_name for op in after.operators}


@pytest.mark.parametrize("quantization", TO_INTEGERS, ids=str)
def test_tables_are_stored_in_integers(quantization: Quantization) -> None:
    content = quantize(_text_model(), quantization, representative_dataset=IDS)
    graph = TfliteGraph(content)
    assert graph.facts(quantization).quantized_share == 1.0
    (table,) = [op.kernel() for op in graph.operators if op.name == "EMBEDDING_LOOKUP"]
    four_bits = quantization.weight_type == "INT4" or quantization is Quantization.DYNAMIC_INT8_EMBEDDING_INT4
    assert table is not None
    assert table.type == ("INT4" if four_bits else "INT8")
    expected = TABLE[IDS] @ WEIGHTS.T
    answers = run_rows(content, IDS)
    # Eight bits are a 254th of a row's range a step, four bits a 14th.
    assert np.abs(answers - expected).std() < (0.2 if four_bits else 0.02) * expected.std()


@pytest.mark.parametrize("quantization", [Quantization.DYNAMIC_INT8, Quantization.DYNAMIC_INT4_BLOCK32], ids=str)
def test_both_kinds_of_kernels_read_such_a_table(quantization: Quantization) -> None:
    content = quantize(_text_model(), quantization)
    first, second = (run_rows(content, IDS, experimental_op_resolver_type=resolver) for resolver in RESOLVERS)
    np.testing.assert_allclose(first, second, atol=0.05 * np.abs(first).max())


def test_tables_are_halved_in_float16() -> None:
    content = quantize(_text_model(), Quantization.FLOAT16)
    assert TfliteGraph(content).facts(Quantization.FLOAT16).quantized_share == 1.0
    for resolver in RESOLVERS:
        answers = run_rows(content, IDS, experimental_op_resolver_type=resolver)
        np.testing.assert_allclose(answers, TABLE[IDS] @ WEIGHTS.T, atol=0.02)


def test_what_is_no_table_of_rows_stays() -> None:
    constant_ids = {"x": T(shape=(4, 2)), "i": T("INT32", (2,), np.array([0, 2], "<i4").tobytes())}
    content = make_tflite(constant_ids | {"y": T(shape=(2, 2))}, [Op("GATHER", ("x", "i"), ("y",))])
    assert look_embeddings_up(content) is content
    columns = read_tflite(_text_model())
    gather = columns.subgraphs[0].operators[0]
    gather.builtinOptions.axis = 1
    packed = write_tflite(columns)
    assert look_embeddings_up(packed) is packed
    assert columns.operatorCodes[gather.opcodeIndex].builtinCode == schema.BuiltinOperator.GATHER
