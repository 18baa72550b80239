"""How often a candidate is timed, what its timings add up to, and what a further one changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest

from litefront.objectives.devices import DelegateFacts, DeviceFacts
from litefront.objectives.fidelity import Fidelity
from litefront.objectives.measurement import Measurement, Provenance
from litefront.objectives.power import HOST_POWER
from litefront.objectives.timing import Timing
from litefront.search.cell_plan import CellPlans
from litefront.search.cell_record import CellRecord, CellState
from litefront.search.device_spec import HostSpec
from litefront.search.machine_pace import MachinePace
from litefront.search.scheduler import Plan
from litefront.search.stage_calls import Reference, StageCall, StageCalls
from litefront.search.store import StageRecord
from litefront.search.study_spec import Gates, Load
from litefront.spaces.channel_pruning import ChannelPruning
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import BASELINE, DeploymentConfig
from litefront.spaces.errors import CandidateError
from litefront.spaces.training.fine_tuning import FineTuning
from tests.search.records import FLOAT_ANSWERS

CONFIG = DeploymentConfig(num_threads=2)
QUANTIZED = StageRecord("quantized", "q", {"tflite": "q.tflite"}, {}, 1.0)
REFERENCE = Reference("r.tflite", BASELINE)

DELEGATED = {"delegated_nodes": 3, "nodes": 3}


def rounds(*medians_ms: float, disturbed: bool = False, reference_ms: float | None = 2.0) -> list[dict[str, Any]]:
    beside = {} if reference_ms is None else {"reference_ms": reference_ms}
    return [
        {
            "median_ms": median_ms,
            "p90_ms": median_ms,
            "calls": 9,
            "wall_s": 0.1,
            "cpu_s": 0.1,
            "others_s": 0.0,
            "disturbed": disturbed,
        }
        | beside
        for median_ms in medians_ms
    ]


STEADY = rounds(1.0, 1.0, 1.0, 1.01, 1.0, 0.99, 1.0)
ALONE = rounds(*[1.0] * 7, reference_ms=None)
WIDE = rounds(1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0)
BESIDE_OTHERS = rounds(*[1.0] * 7, disturbed=True)


def plans(
    reference: Reference | None = REFERENCE,
    device: HostSpec | None = None,
    delegates: Mapping[str, DelegateFacts] | None = None,
    **gates: float,
) -> CellPlans:
    """The plans of a study that is open, but for what its device and its task would add."""
    loaded: Any = SimpleNamespace(
        model_digest="m",
        representative_digest="r",
        metric_digest="t",
        task=SimpleNamespace(fine_tuning=FineTuning(), channel_pruning=ChannelPruning()),
    )
    facts = DeviceFacts("host", "a processor", "x86_64", 2, "ai-edge-litert 2")
    calls = StageCalls(
        loaded, facts, evaluation_inputs="e.npy", evaluation_labels="l.npy", sparsities=(), timing=Timing()
    )
    opened: Any = SimpleNamespace(
        calls=calls,
        spec=SimpleNamespace(
            gates=Gates(**gates), load=Load(samples_per_s=10.0), device_name="host", device=device or HostSpec()
        ),
        baseline=BASELINE,
        reference=FLOAT_ANSWERS,
        device=SimpleNamespace(power_model=HOST_POWER),
        context=SimpleNamespace(digest="context"),
        delegates=delegates or {},
    )
    return CellPlans(opened, baseline_accuracy=0.9, reference=reference, pace=reference and MachinePace(2.0))


def answer(call: StageCall, timing: list[dict[str, Any]], counted: Mapping[str, Any] = DELEGATED) -> StageRecord:
    """What a stage leaves; the latency stage these rounds."""
    facts: dict[str, dict[str, Any]] = {
        "base": {"format": "keras"},
        "float_tflite": {},
        "quantized": {"counted": {}, "figures": {"size_bytes": figure(1000.0, "bytes")}},
        "accuracy": {"counted": counted, "figures": {"accuracy": figure(0.9, "fraction")}},
        "latency": counted
        | {
            "rounds": timing,
            "cold_starts": [{"load_ms": 1.0, "first_call_ms": 1.0, "peak_memory_bytes": 100}],
            "last_level_cache_bytes": 0,
            "load_average": 0.5,
            "steal_s": 0.0,
        },
    }
    objects = {
        "base": {"model": "b.keras"},
        "float_tflite": {"tflite": "f.tflite"},
        "quantized": {"tflite": "q.tflite"},
    }
    return StageRecord(call.stage, call.key, objects.get(call.stage, {}), facts[call.stage], 1.0)


def figure(value: float, unit: str) -> dict[str, Any]:
    return Measurement(value, unit, Provenance.MEASURED, "made by hand").to_json()


def drive(plan: Plan, *timings: list[dict[str, Any]] | Exception, **counted: Any) -> tuple[list[StageCall], CellRecord]:
    """The latency calls that a plan makes when these rounds, or errors, are what comes of them, and its record."""
    counted = {**DELEGATED, **counted}
    waiting, asked = list(timings), []
    try:
        call = next(plan)
        while True:
            timing = STEADY
            if call.stage == "latency":
                asked.append(call)
                assert waiting, "the plan asks for more timings than were foreseen"
                timing = waiting.pop(0)  # type: ignore[assignment]
            call = plan.throw(timing) if isinstance(timing, Exception) else plan.send(answer(call, timing, counted))
    except StopIteration as end:
        assert not waiting, "the plan asks for fewer timings than were foreseen"
        return asked, end.value


def measured(*timings: list[dict[str, Any]], **gates: float) -> CellRecord:
    return drive(plans(**gates).plan(CONFIG), *timings)[1]


def test_a_steady_timing_is_taken_once() -> None:
    calls, record = drive(plans().plan(CONFIG), STEADY)
    assert len(calls) == 1
    assert (record.state, record.value("latency_ms"), record.noisy) == (CellState.MEASURED, 1.0, None)
    assert [timing["latency_ms"] for timing in record.facts["timings"]] == [1.0]
    assert record.facts["timings"][0] | {"load_average": 0.5, "steal_s": 0.0} == record.facts["timings"][0]


def test_a_noisy_timing_is_taken_again_until_one_is_steady() -> None:
    calls, record = drive(plans().plan(CONFIG), WIDE, STEADY)
    assert [call.params["attempt"] for call in calls] == [0, 1]
    assert len({call.key for call in calls}) == 2
    assert (record.value("latency_ms"), record.noisy, len(record.facts["timings"])) == (1.0, None, 2)


def test_three_noisy_timings_are_enough_and_the_record_says_so() -> None:
    record = measured(BESIDE_OTHERS, WIDE, BESIDE_OTHERS)
    assert record.value("latency_ms") == 2.0
    assert record.noisy is not None and record.noisy.startswith("interval")


def test_the_reference_is_timed_beside_every_cell_but_itself() -> None:
    (call,), record = drive(plans().plan(CONFIG), STEADY)
    assert call.inputs["reference"] == "r.tflite"
    assert call.params["reference"] == {"delegate": "xnnpack", "num_threads": 1}
    assert record.facts["reference_ms"] == 2.0
    (call,), record = drive(plans(reference=None).plan(BASELINE), ALONE)
    assert "reference" not in call.inputs
    assert record.facts["reference_ms"] == 1.0


def test_a_machine_at_half_its_speed_is_seen_and_waited_for() -> None:
    slow = rounds(*[3.0] * 7, reference_ms=4.0)
    calls, record = drive(plans().plan(CONFIG), slow, STEADY)
    # A repeat comes later, and waits for other work to end.
    assert [call.params["timing"]["calm_max_s"] for call in calls] == [0.0, Timing().repeat_calm_max_s]
    assert (record.value("latency_ms"), record.noisy) == (1.0, None)
    assert [timing["machine_speed"] for timing in record.facts["timings"]] == [0.5, 1.0]


def test_a_machine_that_stays_at_half_its_speed_is_corrected_and_the_record_says_so() -> None:
    slow = rounds(*[3.0] * 7, reference_ms=4.0)
    record = measured(slow, slow, slow)
    assert record.value("latency_ms") == 1.5
    assert record.figures["latency_ms"].interval == (0.75, 3.0)
    assert record.noisy == "the machine was at 0.50 of its speed, which is corrected roughly"


def test_a_further_measurement_pools_with_the_first_and_all_that_hangs_on_it_follows() -> None:
    before = measured(STEADY)
    calls, after = drive(plans().remeasure(before, QUANTIZED), STEADY, rounds(*[1.2] * 7))
    assert [call.params["attempt"] for call in calls] == [0, 1]
    assert after.value("latency_ms") == 1.1
    assert after.value("power_mw") > before.value("power_mw")
    assert after.value("accuracy") == before.value("accuracy")
    assert (after.facts["remeasured"], len(after.facts["timings"])) == (1, 2)
    assert (after.cell, after.stages["quantized"]) == (before.cell, before.stages["quantized"])


def test_a_cell_that_a_further_measurement_puts_above_a_gate_is_rejected() -> None:
    before = measured(STEADY, max_latency_ms=1.05)
    _, after = drive(plans(max_latency_ms=1.05).remeasure(before, QUANTIZED), STEADY, rounds(*[1.2] * 7))
    assert (before.state, after.state, after.rejected_by) == (CellState.MEASURED, CellState.REJECTED, "latency")


def test_a_further_measurement_that_fails_leaves_the_cell_as_it_was() -> None:
    before = measured(STEADY)
    _, after = drive(plans().remeasure(before, QUANTIZED), STEADY, CandidateError("hung"))
    assert after.figures == before.figures
    assert after.facts["remeasured"] == 1


def test_the_baseline_s_first_timing_is_found_again_though_nothing_stood_beside_it() -> None:
    (first,), before = drive(plans(reference=None).plan(BASELINE), ALONE)
    calls, _ = drive(plans().remeasure(before, QUANTIZED), ALONE, STEADY)
    assert first.params == calls[0].params
    assert calls[1].inputs["reference"] == "r.tflite"


def test_a_cell_is_judged_anew_by_a_pace_that_was_found_later() -> None:
    studied = plans(max_latency_ms=0.9)
    before = drive(studied.plan(CONFIG), STEADY)[1]
    assert studied.pace is not None
    for name in "ab":
        # The reference took 2 ms beside the cell, and takes 1.6 ms now: the cell was measured on a slow machine.
        studied.pace.note(replace(before, cell=name, facts={"timings": [{"beside_ms": 1.6, "disturbed": False}]}))
    assert not studied.pace.has_judged(before)
    calls, after = drive(studied.judge_anew(before, QUANTIZED), STEADY)
    assert [call.params["attempt"] for call in calls] == [0]
    assert (before.rejected_by, after.state) == ("latency", CellState.MEASURED)
    assert after.value("latency_ms") == 0.8
    assert studied.pace.has_judged(after)


def test_the_baseline_tells_the_machine_s_speed_at_its_first_timing_itself() -> None:
    baseline = drive(plans(reference=None).plan(BASELINE), rounds(*[2.5] * 7, reference_ms=None))[1]
    _, after = drive(plans().judge_anew(baseline, QUANTIZED), rounds(*[2.5] * 7, reference_ms=None))
    assert (baseline.value("latency_ms"), after.value("latency_ms")) == (2.5, 2.0)
    assert after.facts["timings"][0]["machine_speed"] == 0.8


# ------------------------------------------------------------------------------------------------------ delegates

GPU = DeploymentConfig(delegate=Delegate.GPU)
REAL_GPU = {"gpu": DelegateFacts(implementation="Adreno, Vulkan")}
SOFTWARE_GPU = {"gpu": DelegateFacts(implementation="SwiftShader, Vulkan", is_software=True)}
FAITHFUL = asdict(Fidelity(rows=32, largest=0.001, mean=0.0001, same_argmax=1.0))
WRONG = asdict(Fidelity(rows=32, largest=0.9, mean=0.3, same_argmax=0.1))


def rejected(plan: Plan, **counted: Any) -> CellRecord:
    """The record of a cell that must end before it is timed."""
    record = drive(plan, **counted)[1]
    assert (record.state, record.rejected_by) == (CellState.REJECTED, "delegate")
    assert record.violation > 0
    return record


def test_a_gpu_that_ran_all_of_the_graph_is_timed() -> None:
    _, record = drive(plans(delegates=REAL_GPU).plan(GPU), STEADY, fidelity=FAITHFUL)
    assert (record.state, record.facts["fidelity"]) == (CellState.MEASURED, FAITHFUL)
    assert record.label() == "float32 sparsity 0 gpu 1 thread batch 1"
    assert "in software" not in record.figures["latency_ms"].source


@pytest.mark.parametrize("delegate", [Delegate.XNNPACK, Delegate.GPU])
def test_a_delegate_that_ran_nothing_is_rejected(delegate: Delegate) -> None:
    record = rejected(plans().plan(DeploymentConfig(delegate=delegate)), delegated_nodes=0)
    assert record.reason == f"{delegate}: asked for, but none of the graph's 3 nodes ran on it"


def test_a_gpu_that_ran_a_part_is_rejected_with_the_number_of_nodes() -> None:
    record = rejected(plans().plan(GPU), delegated_nodes=2)
    assert record.reason is not None
    assert record.reason.startswith("gpu: only 2 of the graph's 3 nodes ran on it; ")


def test_a_part_is_kept_under_its_true_name_if_the_study_says_so() -> None:
    made = plans(device=HostSpec(partial_delegation="keep"))
    _, record = drive(made.plan(GPU), STEADY, delegated_nodes=2)
    assert record.state is CellState.MEASURED
    assert record.label() == "float32 sparsity 0 gpu (2 of 3 nodes) 1 thread batch 1"


def test_a_part_is_xnnpacks_way_and_no_news() -> None:
    _, record = drive(plans().plan(CONFIG), STEADY, delegated_nodes=2)
    assert record.state is CellState.MEASURED
    assert record.label() == CONFIG.label()


@pytest.mark.parametrize("config", [GPU, CONFIG], ids=lambda config: str(config.delegate))
def test_wrong_answers_are_rejected_before_their_speed_is_asked(config: DeploymentConfig) -> None:
    record = rejected(plans().plan(config), fidelity=WRONG)
    assert record.reason is not None
    assert record.reason.startswith(f"{config.delegate}: its answers to 32 rows differ")


def test_a_gpu_in_software_has_answers_but_no_times() -> None:
    record = rejected(plans(delegates=SOFTWARE_GPU).plan(GPU), fidelity=FAITHFUL)
    assert record.reason is not None
    assert record.reason.startswith("gpu: it is software here (SwiftShader, Vulkan), so its times mean nothing; ")
    assert record.figures.keys() == {"size_bytes", "accuracy"}
    assert record.label() == "float32 sparsity 0 gpu (in software) 1 thread batch 1"


def test_times_of_a_gpu_in_software_are_marked_where_they_are_asked_for() -> None:
    made = plans(device=HostSpec(software_delegates=True), delegates=SOFTWARE_GPU)
    _, record = drive(made.plan(GPU), STEADY, fidelity=FAITHFUL)
    assert record.state is CellState.MEASURED
    marked = {name for name, found in record.figures.items() if found.source.endswith(", in software")}
    assert marked == record.figures.keys() - {"size_bytes", "accuracy"}
    # Judged once more, they are not marked twice.
    again = drive(made.judge_anew(record, QUANTIZED), STEADY, fidelity=FAITHFUL)[1]
    assert again.figures["latency_ms"].source == record.figures["latency_ms"].source
