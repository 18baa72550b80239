"""Picks one cell per device tier, and says why."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from litefront.objectives.catalogue import FIGURES, OBJECTIVES, Direction, Objective
from litefront.objectives.power import PowerInputs, utilisation
from litefront.search.cell_record import CellRecord
from litefront.search.confirmation import Confirmation
from litefront.search.study_results import StudyResults
from litefront.search.study_spec import BALANCED, StudySpec, TierSpec
from litefront.search.tables import figure_text, record_row, value_text
from litefront.spaces.errors import InputError

__all__ = ["Pick", "at_load", "baseline_at_load", "compare", "pick", "pick_all", "pick_row", "power_inputs"]


@dataclass(frozen=True)
class Pick:
    """A tier's choice.

    Attributes:
        tier: The tier's name.
        chosen: The cell, with power for the tier's own load; None if no cell holds the tier's limits.
        runner_up: The next best cell; None if there is none.
        reason: Why the choice is what it is, in a sentence or two.
        trade: What the runner-up would give instead.
        eligible: Number of cells that hold everything that the tier asks.
        confirmed: What measuring the choice again gave; None if nobody has.
        broken: The first of the rules that the confirmed figures break; None if they hold.
    """

    tier: str
    chosen: CellRecord | None
    runner_up: CellRecord | None
    reason: str
    trade: str
    eligible: int
    confirmed: Confirmation | None = None
    broken: str | None = None


def pick_all(results: StudyResults) -> list[Pick]:
    """A pick for every tier of the study, in its order."""
    return [pick(results, name) for name in results.spec.tiers]


def pick(results: StudyResults, tier_name: str) -> Pick:
    """Picks a tier's cell among all measured ones.

    A cell is eligible if it is one of the tier's choices, sustains the tier's load and holds its limits. Of these, the
    best in the preferred figure wins; cells within the tier's tolerance of it count as equally good, and the lowest
    product of the other objectives' ratios to the baseline decides among them. `balanced` takes that product over all
    objectives, accuracy by its error.

    Raises:
        InputError: If the study has no such tier.
    """
    tier = results.spec.tiers.get(tier_name)
    if tier is None:
        raise InputError(f"A tier must be one of {', '.join(results.spec.tiers) or '(none)'}, but got {tier_name!r}.")
    cells, misses = _eligible(results, tier)
    if not cells:
        return Pick(tier_name, None, None, _why_none(results, misses), "", 0)
    ranked = _ranked(cells, tier, results)
    chosen, runner_up = ranked[0], ranked[1] if len(ranked) > 1 else None
    confirmed = results.confirmations.get(chosen.cell)
    return Pick(
        tier=tier_name,
        chosen=chosen,
        runner_up=runner_up,
        reason=_why(chosen, cells, tier),
        trade=compare(runner_up, chosen, results.spec) if runner_up else "no other cell is eligible",
        eligible=len(cells),
        confirmed=confirmed,
        broken=_broken_rule(chosen, confirmed, tier, results.spec) if confirmed else None,
    )


def pick_row(entry: Pick, results: StudyResults) -> dict[str, Any]:
    """A pick as plain values."""

    def row(record: CellRecord | None) -> dict[str, Any] | None:
        return record_row(record, baseline, sorted(record.figures)) if record else None

    baseline = baseline_at_load(results, entry.tier)

    return {
        "tier": entry.tier,
        "chosen": row(entry.chosen),
        "reason": entry.reason,
        "runner_up": row(entry.runner_up),
        "runner_up_gives": entry.trade,
        "eligible": entry.eligible,
        "confirmed": entry.confirmed and entry.confirmed.to_json(),
        "confirmed_breaks": entry.broken,
    }


def compare(other: CellRecord, one: CellRecord, spec: StudySpec) -> str:
    """What `other` gives where `one` was chosen, objective by objective."""
    parts = []
    for objective in spec.chosen_objectives():
        theirs, ours = other.value(objective.figure), one.value(objective.figure)
        if objective.figure == "accuracy":
            called = objective.called(one.figures[objective.figure].unit)
            parts.append(f"{theirs - ours:+.4f} {called}")
        elif ours > 0:
            parts.append(f"{theirs / ours:.2f}x {objective.name}")
    return ", ".join(parts)


def _eligible(results: StudyResults, tier: TierSpec) -> tuple[list[CellRecord], dict[str, int]]:
    """The cells that hold what the tier asks, and for each rule how many it rules out."""
    cells: list[CellRecord] = []
    misses: dict[str, int] = {}
    for record in results.deployable:
        for_tier, miss = _for_tier(record, tier, results.spec)
        if miss is None:
            cells.append(for_tier)
        else:
            misses[miss] = misses.get(miss, 0) + 1
    return cells, misses


def _for_tier(record: CellRecord, tier: TierSpec, spec: StudySpec) -> tuple[CellRecord, str | None]:
    """The record with power for the tier's load, and the first rule that it breaks."""
    for name, choices in tier.where.items():
        if getattr(record.config, name) not in choices:
            return record, f"where {name} is one of {', '.join(map(str, choices))}"
    load = tier.samples_per_s or (spec.load.samples_per_s if spec.load else None)
    if load is not None:
        if utilisation(power_inputs(record), load) > 1:
            return record, f"a load of {load:g} samples/s"
        record = at_load(record, tier.samples_per_s, spec)
    for figure, limit in tier.limits.items():
        if not _holds(record, FIGURES[figure], limit):
            return record, _limit_text(FIGURES[figure], limit)
    return record, None


def _broken_rule(record: CellRecord, confirmed: Confirmation, tier: TierSpec, spec: StudySpec) -> str | None:
    """The first of the tier's rules that the cell breaks by its confirmed figures."""
    _, miss = _for_tier(replace(record, figures={**record.figures, **confirmed.figures}), tier, spec)
    return miss


def at_load(record: CellRecord, samples_per_s: float | None, spec: StudySpec) -> CellRecord:
    """The record with its power for a load; as it is for None. Powers for two loads do not compare."""
    if samples_per_s is None:
        return record
    power_model = spec.devices[record.device].open().power_model
    power = power_model.power(power_inputs(record), samples_per_s)
    return replace(record, figures={**record.figures, "power_mw": power})


def baseline_at_load(results: StudyResults, tier_name: str) -> CellRecord | None:
    """The baseline with its power for a tier's load; None as long as it is not measured."""
    baseline = results.baseline
    return baseline and at_load(baseline, results.spec.tiers[tier_name].samples_per_s, results.spec)


def power_inputs(record: CellRecord) -> PowerInputs:
    """What a record says that the power model takes."""
    return PowerInputs(
        quantization=record.config.quantization,
        batch_size=record.config.batch_size,
        latency_ms=record.value("latency_ms"),
        busy_cores=record.facts["busy_cores"],
        model_bytes=int(record.value("size_bytes")),
        last_level_cache_bytes=record.facts["last_level_cache_bytes"],
        delegate=record.config.delegate,
        num_threads=record.config.num_threads,
        latency_error=record.facts.get("latency_error", 0.0),
        core_latency_ms=record.facts.get("core_latency_ms"),
    )


def _holds(record: CellRecord, objective: Objective, limit: float) -> bool:
    if objective.figure not in record.figures:
        return False
    return objective.loss(record.value(objective.figure)) <= objective.loss(limit)


def _limit_text(objective: Objective, limit: float) -> str:
    sign = "<=" if objective.direction is Direction.MINIMIZE else ">="
    unit = objective.figure.removeprefix(objective.name).lstrip("_")
    return f"{objective.name} {sign} {value_text(objective.figure, limit, _UNITS.get(unit, unit))}"


_UNITS = {"mw": "mW", "mj": "mJ", "per_s": "1/s"}


def _ranked(cells: Sequence[CellRecord], tier: TierSpec, results: StudyResults) -> list[CellRecord]:
    product = _ratio_product(results, exclude=tier.prefer)
    if tier.prefer == BALANCED:
        return sorted(cells, key=product)
    preferred = OBJECTIVES[tier.prefer]
    best = min(preferred.loss(record.value(preferred.figure)) for record in cells)

    def order(record: CellRecord) -> tuple[float, float]:
        # Within the tolerance all count as the best; beyond it the figure itself decides.
        loss = preferred.loss(record.value(preferred.figure))
        return (best if loss <= best + tier.within else loss, product(record))

    return sorted(cells, key=order)


def _ratio_product(results: StudyResults, *, exclude: str) -> Callable[[CellRecord], float]:
    """Sum of the logarithms of the objectives' ratios to the baseline, lower is better."""
    baseline = results.baseline
    half_a_row = 0.5 / results.context.model.get("evaluation_rows", 1000)
    objectives = [objective for objective in results.spec.chosen_objectives() if objective.name != exclude]

    def total(record: CellRecord) -> float:
        logs = 0.0
        for objective in objectives:
            value = record.value(objective.figure)
            reference = baseline.value(objective.figure) if baseline else 1.0
            if objective.figure == "accuracy":
                # By error, and no error on so many rows may still be half a row's.
                value, reference = max(1.0 - value, half_a_row), max(1.0 - reference, half_a_row)
            ratio = max(value, 1e-9) / max(reference, 1e-9)
            smaller_is_better = objective.direction is Direction.MINIMIZE or objective.figure == "accuracy"
            logs += math.log(ratio) if smaller_is_better else -math.log(ratio)
        return logs

    return total


def _why(chosen: CellRecord, cells: Sequence[CellRecord], tier: TierSpec) -> str:
    rules = [_limit_text(FIGURES[figure], limit) for figure, limit in tier.limits.items()]
    held = f" that hold {', '.join(rules)}" if rules else ""
    if tier.prefer == BALANCED:
        return f"best balance of all objectives among {len(cells)} cells{held}"
    preferred = OBJECTIVES[tier.prefer]
    superlative = "lowest" if preferred.direction is Direction.MINIMIZE else "highest"
    figure = chosen.figures[preferred.figure]
    within = f", or within {tier.within:g} of it and better in the rest," if tier.within else ""
    best = f"{superlative} {preferred.called(figure.unit)} ({figure_text(preferred.figure, figure)})"
    return f"{best}{within} among {len(cells)} cells{held}"


def _why_none(results: StudyResults, misses: dict[str, int]) -> str:
    if not results.deployable:
        return "no cell is measured yet"
    ruled_out = ", ".join(f"{rule} rules out {count}" for rule, count in misses.items())
    return f"none of {len(results.deployable)} measured cells holds what the tier asks: {ruled_out}"
