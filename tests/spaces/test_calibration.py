"""Ranges against numpy's own statistics over all the values."""

from __future__ import annotations

import numpy as np
import pytest

from litefront.spaces.calibration import Calibration, TailQuantiles, calibration_rows
from litefront.spaces.errors import CandidateError
from litefront.spaces.quantization import Quantization, activation_ranges, quantize
from litefront.spaces.rows import Rows
from litefront.spaces.tflite.file import read_tflite
from tests.conftest import run_rows
from tests.spaces.tflite.test_graph import Op, T, make_tflite, pack, with_options

RNG = np.random.default_rng(0)
WEIGHTS = RNG.standard_normal((4, 8)).astype("<f4")
ROWS = (RNG.standard_normal((50, 8)) ** 3).astype(np.float32)


@pytest.fixture(scope="module")
def dense() -> bytes:
    tensors = {"x": T(shape=(1, 8)), "w": T("FLOAT32", (4, 8), WEIGHTS.tobytes()), "y": T(shape=(1, 4))}
    return with_options(make_tflite(tensors, [Op("FULLY_CONNECTED", ("x", "w", ""), ("y",))]))


def _ranges(content: bytes, rows: Rows, calibration: Calibration) -> dict[str, tuple[float, float]]:
    found = activation_ranges(content, Quantization.INT8, rows, calibration)
    return {name: (float(values["min"].item()), float(values["max"].item())) for name, values in found.items()}


def test_min_max_is_the_extremes_of_all_rows(dense: bytes) -> None:
    ranges = _ranges(dense, ROWS, Calibration.MIN_MAX)
    outputs = run_rows(dense, ROWS)
    assert ranges["x"] == (ROWS.min(), ROWS.max())
    assert ranges["y"] == pytest.approx((outputs.min(), outputs.max()), rel=1e-6)


def test_percentile_is_numpys_over_all_values(dense: bytes) -> None:
    ranges = _ranges(dense, ROWS, Calibration.PERCENTILE)
    assert ranges["x"] == pytest.approx(np.percentile(ROWS, [0.01, 99.99]), rel=1e-6)
    assert ranges["y"] == pytest.approx(np.percentile(run_rows(dense, ROWS), [0.01, 99.99]), rel=1e-5)


def test_moving_average_goes_by_the_order_of_rows(dense: bytes) -> None:
    low, high = ROWS[0].min(), ROWS[0].max()
    for row in ROWS[1:]:
        low, high = 0.95 * low + 0.05 * row.min(), 0.95 * high + 0.05 * row.max()
    assert _ranges(dense, ROWS, Calibration.MOVING_AVERAGE)["x"] == pytest.approx((low, high), rel=1e-5)
    assert _ranges(dense, ROWS[::-1].copy(), Calibration.MOVING_AVERAGE)["x"] != pytest.approx((low, high), rel=1e-5)


@pytest.mark.parametrize("calibration", [Calibration.MIN_MAX, Calibration.PERCENTILE], ids=str)
def test_the_others_do_not(dense: bytes, calibration: Calibration) -> None:
    assert _ranges(dense, ROWS, calibration) == _ranges(dense, ROWS[::-1].copy(), calibration)


def test_a_model_is_quantized_by_the_method_that_was_asked_for(dense: bytes) -> None:
    rows = np.clip(ROWS, -2, 2)
    expected = run_rows(dense, rows)

    def error(calibration: Calibration) -> float:
        content = quantize(dense, Quantization.INT8, representative_dataset=rows, calibration=calibration)
        return float(np.abs(run_rows(content, rows) - expected).mean() / expected.std())

    assert error(Calibration.MIN_MAX) < 0.02
    assert error(Calibration.PERCENTILE) < 0.02
    # Call by call the rows' extremes are narrower than all of theirs, so it cuts off.
    assert 0.1 < error(Calibration.MOVING_AVERAGE) < 0.5


@pytest.mark.parametrize("count", [1, 7, 400, 30_000])
@pytest.mark.parametrize("share", [1e-4, 0.01, 0.3])
def test_tail_quantiles_are_exact(count: int, share: float) -> None:
    values = RNG.standard_normal(count).astype(np.float32)
    tails = TailQuantiles(count, share)
    for part in np.array_split(values, min(count, 9)):
        tails.add(part)
    assert tails.range() == pytest.approx(np.quantile(values.astype(np.float64), [share, 1 - share]), rel=1e-6)


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [0]), (3, [0, 3, 6]), (10, list(range(10))), (99, list(range(10)))]
)
def test_rows_are_evenly_spaced(count: int, expected: list[int]) -> None:
    rows = np.arange(10)
    assert np.asarray(calibration_rows(rows, count)).tolist() == expected
    named = calibration_rows({"a": rows, "b": rows * 2}, count)
    assert isinstance(named, dict)
    assert [named["a"].tolist(), named["b"].tolist()] == [expected, [2 * row for row in expected]]


def test_several_inputs_are_given_by_name_and_in_their_types() -> None:
    tensors = {"i": T("INT32", (1, 2)), "t": T("FLOAT32", (5, 4), RNG.standard_normal((5, 4)).astype("<f4").tobytes())}
    tensors |= {"e": T(shape=(1, 2, 4)), "s": T(shape=(1, 2, 4)), "y": T(shape=(1, 2, 4))}
    ops = [Op("GATHER", ("t", "i"), ("e",)), Op("ADD", ("e", "s"), ("y",))]
    model = read_tflite(with_options(make_tflite(tensors, ops)))
    model.subgraphs[0].inputs = [0, list(tensors).index("s")]
    content = pack(model)
    rows = {"s": RNG.standard_normal((6, 2, 4)), "i": RNG.integers(0, 5, (6, 2))}
    assert _ranges(content, rows, Calibration.MIN_MAX)["s"] == pytest.approx((rows["s"].min(), rows["s"].max()))
    with pytest.raises(CandidateError, match="every input of the model, but s is missing"):
        activation_ranges(content, Quantization.INT8, {"i": rows["i"]}, Calibration.MIN_MAX)
