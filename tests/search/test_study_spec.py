"""What a study may say, key by key and as a whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from litefront.search.study_spec import BALANCED, SamplerName, StudySpec
from litefront.spaces.calibration import Calibration
from litefront.spaces.delegate import Delegate
from litefront.spaces.quantization import Quantization
from litefront.spaces.sparsity import DENSE, Sparsity
from litefront.spaces.storage import Storage
from tests.search.records import make_spec

FULL: dict[str, Any] = {
    "study": "mnist",
    "task": {"model": "model.keras", "data": "data.npz", "metric": "top5"},
    "space": {"sparsity": [0, 0.5], "quantization": ["int8"], "delegate": ["none"], "num_threads": [1, 2]},
    "objectives": ["accuracy", "power"],
    "load": {"samples_per_s": 30},
    "gates": {"max_accuracy_drop": 0.02},
    "budget": {"cells": 60, "hours": 8},
    "sampler": "nsga2",
    "seed": 3,
    "devices": {"board": {"kind": "host"}},
    "tiers": {
        "entry": {
            "device": "board",
            "where": {"num_threads": [1], "quantization": ["int8"]},
            "limits": {"latency_ms": 5, "latency_p90_ms": 8},
            "samples_per_s": 10,
            "prefer": "power",
        }
    },
}


def test_a_short_study_gets_the_defaults() -> None:
    spec = StudySpec.model_validate({"study": "s", "task": "task.py:task", "space": {}})
    assert spec.objectives == ("accuracy", "size", "latency")
    assert spec.sampler is SamplerName.TPE
    assert (spec.seed, spec.load, spec.budget.cells, spec.budget.hours) == (0, None, None, None)
    assert spec.gates.max_accuracy_drop is None
    assert spec.device_name == "host"


def test_a_dimension_left_out_keeps_the_baselines_choice() -> None:
    space = make_spec(space={"quantization": ["int8", "float16"]}).space.search_space()
    assert space.choices == {
        "sparsity": (DENSE,),
        "clusters": (0,),
        "calibration": (Calibration.MIN_MAX,),
        "calibration_rows": (200,),
        "storage": (Storage.DENSE,),
        "quantization": (Quantization.INT8, Quantization.FLOAT16),
        "delegate": (Delegate.XNNPACK,),
        "num_threads": (1,),
        "batch_size": (1,),
    }


def test_a_full_study_is_read() -> None:
    spec = StudySpec.model_validate(FULL)
    assert spec.device_name == "board"
    assert spec.space.sparsity == (DENSE, Sparsity(0.5))
    assert spec.tiers["entry"].where == {"num_threads": (1,), "quantization": (Quantization.INT8,)}
    assert [objective.figure for objective in spec.chosen_objectives()] == ["accuracy", "power_mw"]


@pytest.mark.parametrize("study", [FULL, {"study": "s", "task": "t.py:t", "space": {}}])
def test_a_study_survives_json(study: dict[str, Any]) -> None:
    spec = StudySpec.model_validate(study)
    written = json.dumps(spec.model_dump(mode="json"), allow_nan=False)
    assert StudySpec.model_validate(json.loads(written)) == spec


def test_a_study_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        make_spec().seed = 1  # type: ignore[misc]


def test_a_tier_is_balanced_without_limits_unless_it_says_more() -> None:
    tier = make_spec(tiers={"t": {"device": "host"}}).tiers["t"]
    assert (tier.prefer, dict(tier.limits), dict(tier.where), tier.within) == (BALANCED, {}, {}, 0.0)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"study": "a b"}, "pattern"),
        ({"study": "-x"}, "pattern"),
        ({"study": ""}, "pattern"),
        ({"space": {"sparsity": []}}, "at least 1 item"),
        ({"space": {"sparsity": [1.0]}}, r"fraction in \[0, 1\) of single weights, .* but got 1.0"),
        ({"space": {"sparsity": ["half"]}}, "fraction .* but got 'half'"),
        ({"space": {"sparsity": [124]}}, r'or n zeros of m \("2:4"\), but got 124'),
        ({"space": {"sparsity": ["channel:0"]}}, "but got 'channel:0'"),
        ({"space": {"sparsity": [0, 0.0]}}, "must stand once, but got 0 more"),
        ({"space": {"quantization": ["int8", "int8"]}}, "must stand once, but got int8"),
        ({"space": {"quantization": ["int9"]}}, "must be one of float32, float16, .*, but got 'int9'"),
        ({"space": {"delegate": ["tpu"]}}, "must be one of none, xnnpack, .*, but got .tpu."),
        ({"space": {"num_threads": [0]}}, "`num_threads` must be a whole number of at least 1, but got 0"),
        ({"space": {"num_threads": [True]}}, "whole number .* but got True"),
        ({"space": {"batch_size": [1.5]}}, "`batch_size` must be a whole number of at least 1, but got 1.5"),
        ({"space": {"precision": [8]}}, "precision"),
        ({"objectives": []}, "at least 1 item"),
        ({"objectives": ["size", "size"]}, "must stand once, but got size"),
        ({"objectives": ["speed"]}, "must be one of accuracy, size, .*, but got 'speed'"),
        ({"load": {"samples_per_s": 0}}, "greater than 0"),
        ({"gates": {"max_accuracy_drop": -0.1}}, "greater than or equal to 0"),
        ({"budget": {"cells": 0}}, "greater than or equal to 1"),
        ({"budget": {"hours": 0}}, "greater than 0"),
        ({"sampler": "grid"}, "'tpe', 'nsga2', 'nsga3', 'random' or 'exhaustive'"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"devices": {}}, "at least 1 item"),
        ({"devices": {"a/b": {"kind": "host"}}}, "one that a folder can have, and not `store`, but got 'a/b'"),
        ({"devices": {"store": {"kind": "host"}}}, "one that a folder can have, and not `store`, but got 'store'"),
        ({"devices": {"a": {"kind": "toaster"}}}, "`kind` must be one of host, .*, but got 'toaster'"),
        ({"tiers": {"t": {"device": "host", "limits": {"latency": 5}}}}, "A limit must be one of .*latency_ms"),
        ({"tiers": {"t": {"device": "host", "where": {"threads": [1]}}}}, "A dimension must be one of .*num_threads"),
        ({"tiers": {"t": {"device": "host", "where": {"num_threads": [0]}}}}, "at least 1, but got 0"),
        ({"tiers": {"t": {"device": "host", "prefer": "speed"}}}, "`prefer` must be one of .*balanced"),
        ({"tiers": {"t": {"device": "phone"}}}, r"tiers.t.device must be one of host, but got 'phone'"),
        ({"tiers": {"t": {"device": "host", "prefer": "power"}}}, r"tiers.t decides by power, so it needs"),
        ({"tiers": {"t": {"device": "host", "limits": {"power_mw": 9}}}}, r"tiers.t decides by power, so it needs"),
        ({"objectives": ["power"]}, "needs `load: {samples_per_s: ...}`"),
    ],
)
def test_a_mistake_is_refused_with_its_rule(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        make_spec(**keys)


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
@pytest.mark.parametrize(
    "keys",
    [
        lambda number: {"load": {"samples_per_s": number}},
        lambda number: {"budget": {"hours": number}},
        lambda number: {"gates": {"max_accuracy_drop": number}},
        lambda number: {"tiers": {"t": {"device": "host", "limits": {"latency_ms": number}}}},
        lambda number: {"tiers": {"t": {"device": "host", "within": number}}},
    ],
    ids=["load", "hours", "gate", "limit", "within"],
)
def test_a_number_must_be_finite(keys: Any, number: float) -> None:
    with pytest.raises(ValidationError, match="finite|greater"):
        make_spec(**keys(number))


def test_every_mistake_of_where_is_reported() -> None:
    where = {"num_threads": [0], "batch_size": [0]}
    with pytest.raises(ValidationError, match=r"(?s)num_threads.*batch_size"):
        make_spec(tiers={"t": {"device": "host", "where": where}})
