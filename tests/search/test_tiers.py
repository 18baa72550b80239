"""Picks by hand: who is eligible, who wins, and what is said about it."""

from __future__ import annotations

from typing import Any

import pytest

from litefront.search.tiers import Pick, compare, pick, pick_all, power_inputs
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.errors import InputError
from litefront.spaces.quantization import Quantization
from tests.search.records import make_record, make_results, make_spec

BASELINE = make_record("baseline", accuracy=0.90, size_bytes=1000, latency_ms=10)
SMALL = make_record(
    "small", config=DeploymentConfig(quantization=Quantization.INT8), accuracy=0.88, size_bytes=250, latency_ms=5
)
FAST = make_record(
    "fast",
    config=DeploymentConfig(quantization=Quantization.INT8, num_threads=2),
    accuracy=0.88,
    size_bytes=260,
    latency_ms=3,
)
ALL = [BASELINE, SMALL, FAST]


def pick_for(records: Any = ALL, *, study: dict[str, Any] | None = None, **tier: Any) -> Pick:
    """The pick of a study with one tier of these keys."""
    results = make_results(records, tiers={"phone": {"device": "host"} | tier}, **(study or {}))
    return pick(results, "phone")


def chosen(choice: Pick) -> list[str | None]:
    """Chosen and runner-up by their cells."""
    return [record.cell if record else None for record in (choice.chosen, choice.runner_up)]


@pytest.mark.parametrize(
    ("prefer", "expected"),
    [
        ("accuracy", ["baseline", "fast"]),  # the int8 ones tie; 3/10 x 260/1000 is the lower product
        ("size", ["small", "fast"]),
        ("latency", ["fast", "small"]),
    ],
)
def test_pick_is_the_best_in_the_preferred_figure(prefer: str, expected: list[str]) -> None:
    assert chosen(pick_for(prefer=prefer)) == expected


def test_pick_says_figure_and_field() -> None:
    choice = pick_for(prefer="latency", limits={"size_bytes": 900})
    assert choice.reason == "lowest latency (3 ms) among 2 cells that hold size <= 900 B"
    assert choice.eligible == 2


def test_pick_says_highest_for_what_is_maximised() -> None:
    assert pick_for(prefer="accuracy").reason == "highest accuracy (0.9000) among 3 cells"


def test_pick_says_what_the_runner_up_would_give() -> None:
    # small beside fast: the same accuracy, 250/260 of the size, 5/3 of the latency.
    assert pick_for(prefer="latency").trade == "+0.0000 accuracy, 0.96x size, 1.67x latency"


def test_compare_signs_accuracy_and_divides_costs() -> None:
    assert compare(SMALL, BASELINE, make_spec()) == "-0.0200 accuracy, 0.25x size, 0.50x latency"


def test_a_pick_without_rival_says_so() -> None:
    choice = pick_for([SMALL])
    assert (chosen(choice), choice.trade) == (["small", None], "no other cell is eligible")


@pytest.mark.parametrize(
    ("limits", "eligible"),
    [
        ({"latency_ms": 5}, 2),  # a limit holds when it is just reached
        ({"latency_ms": 4.999}, 1),
        ({"accuracy": 0.88}, 3),
        ({"accuracy": 0.881}, 1),
        ({"latency_ms": 5, "size_bytes": 255}, 1),
    ],
)
def test_limits_are_at_most_for_costs_and_at_least_for_accuracy(limits: dict[str, float], eligible: int) -> None:
    assert pick_for(limits=limits).eligible == eligible


def test_a_figure_that_was_not_obtained_holds_no_limit() -> None:
    choice = pick_for(limits={"memory_bytes": 10**9})
    assert choice.chosen is None
    assert choice.reason == ("none of 3 measured cells holds what the tier asks: memory <= 1000 MB rules out 3")


def test_where_allows_only_its_choices() -> None:
    assert chosen(pick_for(where={"num_threads": [1]}, prefer="latency")) == ["small", "baseline"]
    assert chosen(pick_for(where={"quantization": ["float32", "float16"]})) == ["baseline", None]


def test_nothing_eligible_says_how_many_each_rule_ruled_out() -> None:
    choice = pick_for(where={"quantization": ["int8"]}, limits={"size_bytes": 255, "latency_ms": 4})
    assert (choice.chosen, choice.runner_up, choice.eligible) == (None, None, 0)
    assert choice.reason == (
        "none of 3 measured cells holds what the tier asks: where quantization is one of int8 rules out 1, "
        "latency <= 4 ms rules out 1, size <= 255 B rules out 1"
    )


def test_nothing_measured_says_so() -> None:
    assert pick_for([]).reason == "no cell is measured yet"


def test_within_lets_the_other_objectives_decide_among_near_bests() -> None:
    # Within 0.02 the accuracies count alike, and int8 is better in both others.
    assert chosen(pick_for(prefer="accuracy", within=0.021)) == ["fast", "small"]
    assert chosen(pick_for(prefer="accuracy", within=0.019)) == ["baseline", "fast"]


def test_within_is_in_the_figures_own_unit_and_said() -> None:
    choice = pick_for(prefer="latency", within=2)
    # small is within 2 ms of fast, as accurate, and smaller.
    assert chosen(choice) == ["small", "fast"]
    assert choice.reason == "lowest latency (5 ms), or within 2 of it and better in the rest, among 3 cells"


def test_balanced_is_the_lowest_product_of_ratios() -> None:
    # error x size x latency beside the baseline: small 1.2 x 0.25 x 0.5 = 0.15, fast 1.2 x 0.26 x 0.3 = 0.0936.
    choice = pick_for()
    assert chosen(choice) == ["fast", "small"]
    assert choice.reason == "best balance of all objectives among 3 cells"


def test_balanced_weighs_accuracy_by_its_error() -> None:
    # A tenth of the error at five times the size: 0.1 x 5 < 1, though the accuracy grew by a tenth only.
    exact = make_record("exact", accuracy=0.99, size_bytes=5000, latency_ms=10)
    assert chosen(pick_for([BASELINE, exact])) == ["exact", "baseline"]


def test_balanced_counts_what_is_maximised_the_other_way() -> None:
    study = {"objectives": ["throughput", "size"]}
    baseline = make_record("baseline", throughput_per_s=100, size_bytes=100)
    doubled = make_record("doubled", throughput_per_s=300, size_bytes=200)
    assert chosen(pick_for([baseline, doubled], study=study)) == ["doubled", "baseline"]


def test_balanced_does_not_need_a_baseline() -> None:
    assert chosen(pick_for([SMALL, FAST])) == ["fast", "small"]


def test_equal_cells_keep_the_order_in_which_they_finished() -> None:
    twins = [make_record(cell, accuracy=0.9, size_bytes=1, latency_ms=1) for cell in ("second", "first")]
    for prefer in ("balanced", "accuracy", "latency"):
        assert chosen(pick_for(twins, prefer=prefer)) == ["second", "first"]


def test_power_is_that_of_the_tiers_own_load() -> None:
    # 10 calls/s x (1.25 x 4 W x 10 ms + 4 W x 0.133 ms) = 10 x 50.532 mJ
    choice = pick_for([BASELINE], samples_per_s=10, prefer="power")
    assert choice.chosen is not None
    assert choice.chosen.value("power_mw") == pytest.approx(505.32)
    assert choice.reason == "lowest power (505.3 mW) among 1 cells"


def test_the_tiers_load_replaces_the_studys() -> None:
    record = make_record(accuracy=0.9, size_bytes=1, latency_ms=10, power_mw=1e9)
    choice = pick_for([record], samples_per_s=10, limits={"power_mw": 506})
    assert choice.eligible == 1


def test_a_tier_without_load_takes_the_studys_power() -> None:
    record = make_record(accuracy=0.9, size_bytes=1, latency_ms=10, power_mw=77)
    choice = pick_for([record], study={"load": {"samples_per_s": 1}}, limits={"power_mw": 76})
    assert choice.reason.endswith("power <= 76 mW rules out 1")


def test_a_load_that_cannot_be_sustained_rules_a_cell_out() -> None:
    # 10 ms a call serves 100 samples a second at most, 3 ms serve 333.
    assert pick_for(samples_per_s=100).eligible == 3
    assert pick_for(samples_per_s=101).eligible == 2
    choice = pick_for(samples_per_s=201)
    assert chosen(choice) == ["fast", None]
    assert pick_for(samples_per_s=400).reason == (
        "none of 3 measured cells holds what the tier asks: a load of 400 samples/s rules out 3"
    )


def test_a_pick_leaves_the_records_as_they_are() -> None:
    pick_for([BASELINE], samples_per_s=10)
    assert "power_mw" not in BASELINE.figures


def test_power_inputs_are_those_of_the_record() -> None:
    record = make_record(
        config=DeploymentConfig(quantization=Quantization.INT8, delegate=Delegate.NONE, batch_size=4),
        facts={"busy_cores": 1.5, "last_level_cache_bytes": 4096},
        size_bytes=300,
        latency_ms=2.5,
    )
    inputs = power_inputs(record)
    assert (inputs.quantization, inputs.batch_size, inputs.latency_ms) == (Quantization.INT8, 4, 2.5)
    assert (inputs.busy_cores, inputs.model_bytes, inputs.last_level_cache_bytes) == (1.5, 300, 4096)


def test_an_unknown_tier_names_those_that_there_are() -> None:
    results = make_results(ALL, tiers={"entry": {"device": "host"}, "flagship": {"device": "host"}})
    with pytest.raises(InputError, match="must be one of entry, flagship, but got 'phone'"):
        pick(results, "phone")
    with pytest.raises(InputError, match=r"must be one of \(none\)"):
        pick(make_results(ALL), "phone")


def test_pick_all_keeps_the_order_of_the_study() -> None:
    tiers = {name: {"device": "host", "prefer": prefer} for name, prefer in [("z", "size"), ("a", "latency")]}
    picks = pick_all(make_results(ALL, tiers=tiers))
    assert [(choice.tier, chosen(choice)[0]) for choice in picks] == [("z", "small"), ("a", "fast")]
