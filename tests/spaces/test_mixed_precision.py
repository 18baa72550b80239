"""Nets of which static int8 breaks one operator: it is found, and sparing it is enough."""

from __future__ import annotations

import json

import numpy as np
import pytest

from litefront.spaces import mixed_precision
from litefront.spaces.errors import CandidateError
from litefront.spaces.mixed_precision import OperatorSensitivity, fragile_operators, sensitivity
from litefront.spaces.quantization import Quantization, quantize
from litefront.spaces.tflite.graph import TfliteGraph
from tests.conftest import run_rows
from tests.spaces.tflite.test_graph import Op, T, floats, make_tflite, with_options

MIXED = [Quantization.MIXED_INT8, Quantization.MIXED_INT16X8]
RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((48, 8)).astype(np.float32)


def _weights(units: int, inputs: int) -> T:
    return T("FLOAT32", (units, inputs), RNG.standard_normal((units, inputs)).astype("<f4").tobytes())


@pytest.fixture(scope="module")
def masked() -> bytes:
    """Scores of which a mask of -1e4 takes half away, their softmax, and three classes."""
    tensors = {
        "x": T(shape=(1, 8)),
        "w": _weights(8, 8),
        "mask": T("FLOAT32", (8,), floats(0, 0, 0, 0, -1e4, -1e4, -1e4, -1e4)),
        "v": _weights(3, 8),
        "scores": T(shape=(1, 8)),
        "masked": T(shape=(1, 8)),
        "attention": T(shape=(1, 8)),
        "classes": T(shape=(1, 3)),
    }
    ops = [
        Op("FULLY_CONNECTED", ("x", "w", ""), ("scores",)),
        Op("ADD", ("scores", "mask"), ("masked",)),
        Op("SOFTMAX", ("masked",), ("attention",)),
        Op("FULLY_CONNECTED", ("attention", "v", ""), ("classes",)),
    ]
    return with_options(make_tflite(tensors, ops))


@pytest.fixture(scope="module")
def outliers() -> bytes:
    """Classes by weights of which one is 2,000 times the others, at an input that is nearly zero."""
    weights = RNG.standard_normal((3, 8)).astype("<f4")
    weights[:, 0] = 2000
    tensors = {"x": T(shape=(1, 8)), "w": T("FLOAT32", (3, 8), weights.tobytes()), "classes": T(shape=(1, 3))}
    return with_options(make_tflite(tensors, [Op("FULLY_CONNECTED", ("x", "w", ""), ("classes",))]))


def _agreement(content: bytes, float_tflite: bytes, rows: np.ndarray = ROWS) -> float:
    ours, theirs = (run_rows(tflite, rows).argmax(axis=1) for tflite in (content, float_tflite))
    return float(np.mean(ours == theirs))


def test_the_operators_that_lose_most_are_found(masked: bytes) -> None:
    found = {op.name: op for op in sensitivity(masked, ROWS)}
    assert {name: op.operator for name, op in found.items()} == {
        "scores": "FULLY_CONNECTED",
        "masked": "ADD",
        "attention": "SOFTMAX",
        "classes": "FULLY_CONNECTED",
    }
    assert min(found[name].error for name in ("masked", "attention")) > 0.3
    assert max(found[name].error for name in ("scores", "classes")) < 0.01
    assert found["masked"].disagreement > 0.1
    assert all(op.alone for op in found.values())


def test_sensitivities_are_plain_facts(masked: bytes) -> None:
    found = sensitivity(masked, ROWS)
    assert [OperatorSensitivity(**facts) for facts in json.loads(json.dumps([op.to_json() for op in found]))] == found


@pytest.mark.parametrize("quantization", MIXED, ids=str)
def test_sparing_the_fragile_ones_recovers_what_int8_loses(masked: bytes, quantization: Quantization) -> None:
    lost = _agreement(quantize(masked, Quantization.INT8, representative_dataset=ROWS), masked)
    fragile = fragile_operators(masked, sensitivity(masked, ROWS), ROWS, 0.05, quantization=quantization)
    content = quantize(masked, quantization, representative_dataset=ROWS, fragile=fragile)
    assert lost < 0.8
    assert _agreement(content, masked) >= 0.95
    assert set(fragile) == {"masked", "attention"}
    facts = TfliteGraph(content).facts(quantization)
    assert facts.quantized_share == 1.0
    assert facts.ops - facts.ops_quantized == (2 if quantization is Quantization.MIXED_INT8 else 0)


def test_nothing_is_spared_within_the_budget(masked: bytes) -> None:
    assert fragile_operators(masked, sensitivity(masked, ROWS), ROWS, 1.0) == ()


def test_weights_stay_in_float_only_where_nothing_else_helps(outliers: bytes) -> None:
    rows = ROWS.copy()
    rows[:, 0] *= 1e-3
    fragile = fragile_operators(outliers, sensitivity(outliers, rows), rows, 0.02)
    assert fragile == ("float32 classes",)
    content = quantize(outliers, Quantization.MIXED_INT8, representative_dataset=rows, fragile=fragile)
    assert TfliteGraph(content).weight_types == {"FLOAT32"}
    assert _agreement(content, outliers, rows) == 1.0
    assert _agreement(quantize(outliers, Quantization.DYNAMIC_INT8), outliers, rows) < 0.9


def test_a_budget_that_nothing_meets_is_an_error(masked: bytes) -> None:
    with pytest.raises(CandidateError, match=r"mixed_int8: at most 0.01 may be lost .* with every operator spared"):
        fragile_operators(masked, [], ROWS, 0.01)


def test_names_are_taken_as_they_are() -> None:
    tensors = {"x": T(shape=(1, 8)), "w": _weights(8, 8), "a.b(0": T(shape=(1, 8)), "v": _weights(3, 8)}
    tensors |= {"a.b(0;1": T(shape=(1, 3))}
    ops = [
        Op("FULLY_CONNECTED", ("x", "w", ""), ("a.b(0",)),
        Op("FULLY_CONNECTED", ("a.b(0", "v", ""), ("a.b(0;1",)),
    ]
    content = quantize(
        make_tflite(tensors, ops), Quantization.MIXED_INT8, representative_dataset=ROWS, fragile=["float32 a.b(0"]
    )
    assert [op.kernel().type for op in TfliteGraph(content).operators if op.kernel()] == ["FLOAT32", "INT8"]  # type: ignore[union-attr]


def test_neighbours_in_a_large_graph_are_measured_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixed_precision, "_MEASURED_ALONE", 4)
    layers = 16
    tensors = {"x": T(shape=(1, 8)), "w": _weights(8, 8)}
    tensors |= {f"y{i}": T(shape=(1, 8)) for i in range(layers)}
    ops = [Op("FULLY_CONNECTED", ("x", "w", ""), ("y0",))]
    ops += [Op("LOGISTIC", (f"y{i}",), (f"y{i + 1}",)) for i in range(layers - 1)]
    found = sensitivity(make_tflite(tensors, ops), ROWS[:4])
    assert [op.name for op in found] == [f"y{i}" for i in range(layers)]
    # The worst of four groups of four is resolved; an operator of another has a quarter of what its group loses.
    groups = [found[start : start + 4] for start in range(0, layers, 4)]
    assert sorted(sum(op.alone for op in group) for group in groups) == [0, 0, 0, 4]
    assert all(len({op.error for op in group}) == 1 for group in groups if not group[0].alone)
