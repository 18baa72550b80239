"""The model by which delegates are tried: LiteRT itself must run it."""

from __future__ import annotations

import numpy as np

from litefront.objectives.devices.probe_model import probe_model
from litefront.spaces.tflite.graph import TfliteGraph
from tests.conftest import run_rows


def test_it_doubles_its_input() -> None:
    rows = np.arange(2 * 64, dtype=np.float32).reshape(2, 4, 4, 4)
    np.testing.assert_array_equal(run_rows(probe_model(), rows), rows * 2)


def test_it_is_one_node_for_floats() -> None:
    graph = TfliteGraph(probe_model())
    assert graph.nodes == 1
    assert (graph.inputs[0].dtype, graph.outputs[0].shape) == (np.float32, (1, 4, 4, 4))
