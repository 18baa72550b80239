"""What choices bought, on cells whose figures are made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from litefront.search.cell_record import CellRecord
from litefront.search.choice_effects import choice_effects
from litefront.spaces.deployment_config import BASELINE, DeploymentConfig
from litefront.spaces.quantization import Quantization
from litefront.spaces.sparsity import Pattern, Sparsity
from tests.search.records import make_record, make_results

ZEROS, CHANNELS = Sparsity(0.5), Sparsity(0.5, Pattern.CHANNEL)
INT8 = replace(BASELINE, quantization=Quantization.INT8)
SPACE = {"sparsity": [0.0, 0.5, "channel:0.5"], "quantization": ["float32", "int8"]}


def cell(config: DeploymentConfig, *, accuracy: float, kilobytes: float, latency_ms: float) -> CellRecord:
    figures = {"size_bytes": 1000 * kilobytes, "download_bytes": 900 * kilobytes, "latency_ms": latency_ms}
    return make_record(config.label(), config=config, accuracy=accuracy, **figures)


CELLS = [
    cell(BASELINE, accuracy=0.9, kilobytes=100, latency_ms=4.0),
    cell(INT8, accuracy=0.89, kilobytes=25, latency_ms=1.0),
    cell(replace(BASELINE, sparsity=ZEROS), accuracy=0.88, kilobytes=100, latency_ms=4.1),
    cell(replace(INT8, sparsity=ZEROS), accuracy=0.87, kilobytes=25, latency_ms=0.99),
    cell(replace(BASELINE, sparsity=CHANNELS), accuracy=0.89, kilobytes=30, latency_ms=2.0),
]


def effects(cells: list[CellRecord]) -> dict[str, str]:
    return {effect.choice: effect.text() for effect in choice_effects(make_results(cells, space=SPACE))}


def test_a_choice_that_lowers_no_cost_says_so() -> None:
    assert effects(CELLS)["sparsity 0.5"] == (
        "sparsity 0.5 buys nothing: 1.00x size, 1.00x download, 1.01x latency, -2.0 pt against sparsity 0"
    )


def test_what_a_choice_lowers_is_named() -> None:
    found = effects(CELLS)
    assert "channel:0.5 buys size and download and latency: 0.30x size" in found["sparsity channel:0.5"]
    assert found["quantization int8"].startswith("quantization int8 buys size and download and latency")


def test_only_cells_that_differ_in_nothing_else_are_compared() -> None:
    found = choice_effects(make_results(CELLS, space=SPACE))
    assert {effect.choice: effect.pairs for effect in found} == {
        "sparsity channel:0.5": 1,
        "sparsity 0.5": 2,
        "quantization int8": 2,
    }


@pytest.mark.parametrize("cells", [[], CELLS[:1]])
def test_without_pairs_nothing_is_said(cells: list[CellRecord]) -> None:
    assert effects(cells) == {}
