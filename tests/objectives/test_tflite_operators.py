"""Operations and bytes of graphs that can be counted by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from litefront.objectives.tflite_operators import Arithmetic, KernelClass, OperatorCounts, count_operators
from litefront.spaces.quantization import Quantization
from litefront.spaces.tflite.graph import TfliteGraph
from tests.spaces.tflite.test_graph import Op, T, make_tflite

Candidates = dict[tuple[Quantization, int], Path]


def one(name: str, inputs: dict[str, T], output: T) -> OperatorCounts:
    """The only operator of a graph, counted."""
    content = make_tflite({**inputs, "y": output}, [Op(name, tuple(inputs), ("y",))])
    (counts,) = count_operators(TfliteGraph(content))
    return counts


def weights(*shape: int, type: str = "FLOAT32") -> T:  # noqa: A002
    return T(type, shape, b"\1")


def test_a_dense_layer_multiplies_each_weight_once_a_row() -> None:
    # 2 rows of 5 values by 3 filters: 2 * 5 * 3 products; 15 weights and 3 biases of 4 bytes.
    counts = one("FULLY_CONNECTED", {"x": T(shape=(2, 5)), "w": weights(3, 5), "b": weights(3)}, T(shape=(2, 3)))
    assert counts == OperatorCounts(
        "FULLY_CONNECTED", KernelClass.DENSE, Arithmetic.FLOAT32, 30, weight_bytes=72, input_bytes=40, output_bytes=24
    )


def test_a_convolution_multiplies_its_kernel_at_each_output() -> None:
    # 4 x 4 outputs of 8 filters, each 3 x 3 over 2 channels: 16 * 8 * 18; int8 but for the int32 bias.
    inputs = {
        "x": T("INT8", (1, 6, 6, 2)),
        "w": weights(8, 3, 3, 2, type="INT8"),
        "b": weights(8, type="INT32"),
    }
    counts = one("CONV_2D", inputs, T("INT8", (1, 4, 4, 8)))
    assert (counts.kernel, counts.arithmetic) == (KernelClass.DENSE, Arithmetic.INT8)
    assert counts.operations == 16 * 8 * 18
    assert (counts.weight_bytes, counts.input_bytes, counts.output_bytes) == (144 + 32, 72, 128)


def test_a_depthwise_convolution_has_a_filter_a_channel() -> None:
    counts = one("DEPTHWISE_CONV_2D", {"x": T(shape=(1, 6, 6, 8)), "w": weights(1, 3, 3, 8)}, T(shape=(1, 4, 4, 8)))
    assert counts.kernel is KernelClass.DEPTHWISE
    assert counts.operations == 4 * 4 * 8 * 9


def test_a_transposed_convolution_multiplies_its_kernel_at_each_input() -> None:
    # Inputs are the output's shape, the kernel of 4 filters by 2 x 2 over 3 channels, and 5 x 5 x 3 values.
    inputs = {"x": T("INT32", (4,)), "w": weights(4, 2, 2, 3), "v": T(shape=(1, 5, 5, 3))}
    assert one("TRANSPOSE_CONV", inputs, T(shape=(1, 10, 10, 4))).operations == 5 * 5 * 3 * 4 * 4


@pytest.mark.parametrize(("left", "right"), [((2, 3, 5), (2, 5, 7)), ((2, 5, 3), (2, 5, 7)), ((2, 3, 5), (1, 5, 7))])
def test_a_product_of_matrices_is_rows_by_columns_by_depth(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    inputs = {"x": T(shape=left), "z": T(shape=right)}
    assert one("BATCH_MATMUL", inputs, T(shape=(2, 3, 7))).operations == 2 * 3 * 7 * 5


def test_what_multiplies_no_weights_counts_its_values() -> None:
    counts = one("MEAN", {"x": T(shape=(1, 4, 4, 8)), "axes": weights(2, type="INT32")}, T(shape=(1, 8)))
    assert (counts.kernel, counts.operations) == (KernelClass.ELEMENTWISE, 128)
    assert (counts.input_bytes, counts.output_bytes) == (512, 32)


def test_another_shape_costs_nothing() -> None:
    counts = one("RESHAPE", {"x": T(shape=(1, 4, 2)), "to": weights(2, type="INT32")}, T(shape=(1, 8)))
    assert (counts.operations, counts.weight_bytes, counts.input_bytes, counts.output_bytes) == (0, 0, 0, 0)


def test_a_table_is_read_where_it_is_looked_up() -> None:
    counts = one("GATHER", {"x": weights(1000, 16), "rows": T("INT32", (1, 3))}, T(shape=(1, 3, 16)))
    assert counts.weight_bytes == counts.output_bytes == 3 * 16 * 4


def test_weights_that_are_widened_when_loaded_are_read_as_float32() -> None:
    tensors = {
        "x": T(shape=(1, 5)),
        "stored": weights(3, 5, type="FLOAT16"),
        "wide": T(shape=(3, 5)),
        "y": T(shape=(1, 3)),
    }
    ops = [Op("DEQUANTIZE", ("stored",), ("wide",)), Op("FULLY_CONNECTED", ("x", "wide"), ("y",))]
    (counts,) = count_operators(TfliteGraph(make_tflite(tensors, ops)))
    assert (counts.name, counts.arithmetic, counts.weight_bytes) == ("FULLY_CONNECTED", Arithmetic.FLOAT32, 60)


@pytest.mark.parametrize(
    ("of", "to", "arithmetic"),
    [
        ("FLOAT32", "INT8", Arithmetic.INT8),
        ("INT8", "FLOAT32", Arithmetic.INT8),
        ("FLOAT32", "INT16", Arithmetic.INT16X8),
        ("INT16", "FLOAT32", Arithmetic.INT16X8),
    ],
)
def test_a_cast_belongs_to_its_integers(of: str, to: str, arithmetic: Arithmetic) -> None:
    name = "QUANTIZE" if of == "FLOAT32" else "DEQUANTIZE"
    assert one(name, {"x": T(of, (1, 4))}, T(to, (1, 4))).arithmetic is arithmetic


@pytest.mark.parametrize(
    ("quantization", "arithmetic", "kernel_bytes"),
    [
        (Quantization.FLOAT32, Arithmetic.FLOAT32, 4.0),
        (Quantization.FLOAT16, Arithmetic.FLOAT32, 4.0),
        (Quantization.WEIGHT_ONLY_INT8, Arithmetic.FLOAT32, 4.0),
        (Quantization.DYNAMIC_INT8, Arithmetic.DYNAMIC_INT8, 1.0),
        (Quantization.DYNAMIC_INT4, Arithmetic.DYNAMIC_INT4, 0.5),
        (Quantization.INT8, Arithmetic.INT8, 1.0),
        (Quantization.INT16X8, Arithmetic.INT16X8, 1.0),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 4])
def test_real_files_are_counted_in_every_quantization(
    quantization: Quantization,
    arithmetic: Arithmetic,
    kernel_bytes: float,
    batch_size: int,
    candidate_files: Candidates,
) -> None:
    # 8 x 8 images, 8 filters of 3 x 3: 6 x 6 outputs; then 288 values by 3 classes.
    content = candidate_files[quantization, batch_size].read_bytes()
    dense = [counts for counts in count_operators(TfliteGraph(content)) if counts.kernel is KernelClass.DENSE]
    assert [counts.operations for counts in dense] == [batch_size * 36 * 8 * 9, batch_size * 288 * 3]
    assert {counts.arithmetic for counts in dense} == {arithmetic}
    biases = (4 if quantization is not Quantization.INT16X8 else 8) * 8
    assert dense[0].weight_bytes == 72 * kernel_bytes + biases
