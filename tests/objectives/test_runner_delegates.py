"""The real runner on accelerators in software and on an external delegate: what they answer, and how much they take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litefront.objectives import runner
from litefront.objectives.runner_server import RunnerServer
from litefront.objectives.timing import Timing
from litefront.spaces.errors import CandidateError
from litefront.spaces.quantization import Quantization
from tests.accelerators import NPU_ON_CPU
from tests.conftest import run_rows

Candidates = dict[tuple[Quantization, int], Path]
SHORT = Timing(min_rounds=3, round_s=0.001, max_s=0.05, warm_up_max_s=0.01, cold_starts=1)


@pytest.fixture
def server() -> Iterator[RunnerServer]:
    server = RunnerServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def model_with_a_bitwise_op(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight nodes, of which the fourth is one that GPUs have no kernel for."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    filters = tf.constant(rng.normal(size=(3, 3, 1, 8)).astype(np.float32))
    weights = tf.constant(rng.normal(size=(288, 3)).astype(np.float32) / 1000)

    def model(image: Any) -> Any:
        features = tf.nn.relu(tf.nn.conv2d(image, filters, 1, "VALID"))
        mixed = tf.cast(tf.bitwise.bitwise_xor(tf.cast(features * 100, tf.int32), 3), tf.float32)
        return tf.nn.softmax(tf.reshape(mixed, (1, 288)) @ weights)

    traced = tf.function(model).get_concrete_function(tf.TensorSpec((1, 8, 8, 1), tf.float32))
    path = tmp_path_factory.mktemp("bitwise") / "model.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([traced]).convert())
    return path


def infer(server: RunnerServer, model: Path, inputs: Path, delegate: str, **options: Any) -> tuple[Any, np.ndarray]:
    outputs = inputs.parent / "outputs.npy"
    execution = {"model": str(model), "delegate": delegate, "delegate_options": options, "num_threads": 1}
    request = {"action": "infer", "inputs": str(inputs), "outputs": str(outputs)} | execution
    return server.ask(request, timeout_s=120), np.load(outputs)


def expected(model: Path, rows: np.ndarray) -> np.ndarray:
    from ai_edge_litert.interpreter import OpResolverType

    built_in = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return run_rows(model.read_bytes(), rows, experimental_op_resolver_type=built_in)


# ---------------------------------------------------------------------------------------------------------- gpu


@pytest.mark.usefixtures("software_gpu")
@pytest.mark.parametrize(("quantization", "batch_size"), [(Quantization.FLOAT32, 4), (Quantization.INT8, 1)])
def test_a_gpu_answers_every_row_and_takes_the_whole_graph(
    quantization: Quantization, batch_size: int, server: RunnerServer, candidate_files: Candidates, rows_file: Path
) -> None:
    model = candidate_files[quantization, batch_size]
    reply, outputs = infer(server, model, rows_file, "gpu")
    assert (reply["rows"], reply["delegated_nodes"]) == (22, reply["nodes"])
    # A quantized graph is computed in float there.
    tolerance = 1e-3 if quantization is Quantization.FLOAT32 else 0.05
    np.testing.assert_allclose(outputs, expected(model, np.load(rows_file)), atol=tolerance)


@pytest.mark.usefixtures("software_gpu")
def test_a_gpu_is_timed_until_its_answer_is_there(
    server: RunnerServer, candidate_files: Candidates, rows_file: Path
) -> None:
    model = str(candidate_files[Quantization.FLOAT32, 1])
    execution = {"model": model, "delegate": "gpu", "delegate_options": {"precision": "float32"}, "num_threads": 1}
    reference = {"model": model, "delegate": "xnnpack", "delegate_options": {}, "num_threads": 1}
    request = {"action": "benchmark", "inputs": str(rows_file), "timing": SHORT.to_json(), "reference": reference}
    reply = server.ask(request | execution, timeout_s=120)
    assert (reply["delegated_nodes"], reply["nodes"]) == (4, 4)
    assert all(entry["median_ms"] > 0 and entry["reference_ms"] > 0 for entry in reply["rounds"])
    assert reply["cold_starts"][0]["load_ms"] > 0


@pytest.mark.usefixtures("software_gpu")
def test_a_gpu_that_takes_a_part_is_said_to_have_taken_a_part(
    server: RunnerServer, model_with_a_bitwise_op: Path, rows_file: Path
) -> None:
    reply, outputs = infer(server, model_with_a_bitwise_op, rows_file, "gpu")
    assert 0 < reply["delegated_nodes"] < reply["nodes"] == 8
    assert np.isfinite(outputs).all()


# ---------------------------------------------------------------------------------------------------------- npu


@pytest.mark.usefixtures("openvino")
def test_a_vendors_dispatch_library_runs_the_whole_graph(
    server: RunnerServer, candidate_files: Candidates, rows_file: Path
) -> None:
    model = candidate_files[Quantization.FLOAT32, 4]
    reply, outputs = infer(server, model, rows_file, "npu", **NPU_ON_CPU)
    assert (reply["delegated_nodes"], reply["nodes"]) == (4, 4)
    np.testing.assert_allclose(outputs, expected(model, np.load(rows_file)), atol=1e-3)


@pytest.mark.usefixtures("openvino")
def test_an_npu_without_its_compiler_is_refused_and_not_run_on_the_processor(
    server: RunnerServer, candidate_files: Candidates, rows_file: Path
) -> None:
    with pytest.raises(CandidateError, match="^refused: "):
        infer(server, candidate_files[Quantization.FLOAT32, 1], rows_file, "npu", backend="NPU")


# ----------------------------------------------------------------------------------------------------- external


def test_what_an_external_delegate_leaves_runs_on_the_built_in_kernels(
    server: RunnerServer, external_delegate: Path, candidate_files: Candidates, rows_file: Path
) -> None:
    model, options = candidate_files[Quantization.FLOAT32, 4], {"mode": "copies"}
    reply, outputs = infer(server, model, rows_file, "external", library=str(external_delegate), options=options)
    assert (reply["delegated_nodes"], reply["nodes"]) == (1, 4)
    np.testing.assert_array_equal(outputs, expected(model, np.load(rows_file)))


@pytest.mark.parametrize(("mode", "delegated"), [("zeros", 4), ("nothing", 0)])
def test_an_external_delegate_is_believed_neither_its_answers_nor_that_it_ran(
    mode: str,
    delegated: int,
    server: RunnerServer,
    external_delegate: Path,
    candidate_files: Candidates,
    rows_file: Path,
) -> None:
    model, options = candidate_files[Quantization.FLOAT32, 1], {"mode": mode}
    reply, outputs = infer(server, model, rows_file, "external", library=str(external_delegate), options=options)
    assert (reply["delegated_nodes"], reply["nodes"]) == (delegated, 4)
    assert (outputs == 0).all() == (mode == "zeros")


# ----------------------------------------------------------------------------------------- what LiteRT says

GPU_SAID = """INFO: [gpu_registry.cc:130] Attempting to load GPU accelerator(libLiteRtWebGpuAccelerator.so).
I0000 00:00:1.5 28 environment.cc:532] Selected adapter: {name}, arch=x, vendor=y, backend=Vulkan, adapterType={kind}
ERROR: Following operations are not supported by GPU delegate:
BITWISE_XOR: Not supported op BITWISE_XOR
4 operations will run on the GPU, and the remaining 5 operations will run on the CPU.
"""


@pytest.mark.parametrize(
    ("name", "kind", "is_software"),
    [
        ("SwiftShader Device (Subzero)", "CPU / Software", True),
        ("llvmpipe (LLVM 15.0.6, 256 bits)", "CPU / Software", True),
        ("NVIDIA Tegra Orin (nvgpu)", "Integrated GPU", False),
        ("NVIDIA GeForce RTX 4090", "Discrete GPU", False),
    ],
)
def test_an_adapter_is_known_by_its_name_and_kind(name: str, kind: str, is_software: bool) -> None:
    found = runner._gpu_said(GPU_SAID.format(name=name, kind=kind))
    assert found == {"implementation": f"{name}, Vulkan", "is_software": is_software}


def test_a_part_is_what_litert_says_it_is() -> None:
    assert runner._part_taken("gpu", GPU_SAID) == (4, 9)
    assert runner._part_taken("gpu", "INFO: all is well") is None
    selected = "INFO: Partitioned subgraph<0>, selected 7 ops, from a total of 8 ops. resulted in 2 partitions.\n"
    assert runner._part_taken("npu", selected + "INFO: 1 compiler plugins were applied successfully: P") == (7, 8)
    # A plugin that selected operators and then failed to compile them ran none.
    assert runner._part_taken("npu", selected + "INFO: 0 compiler plugins were applied successfully: ") is None


def test_a_refusal_is_what_litert_complains_of() -> None:
    refusal = runner._refusal(RuntimeError("ERROR: [a.h:3] \u2514 Some ops are not accelerated."), GPU_SAID)
    assert refusal.startswith("Following operations are not supported by GPU delegate: BITWISE_XOR: Not supported op")
    assert runner._refusal(RuntimeError("ERROR: [a.h:3]\n\u2514 No accelerator."), "INFO: nothing") == "No accelerator."
