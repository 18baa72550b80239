"""Measures a cell of a finished search again, in a mode of its own, and keeps what it finds beside the search's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from litefront.objectives.cold_start import measure_cold_start
from litefront.objectives.devices import Candidate, Device
from litefront.objectives.latency import (
    Rounds,
    beside_itself,
    measure_latency,
    noisy_reason,
    pace_correction,
    timing_facts,
)
from litefront.objectives.measurement import Measurement, Provenance
from litefront.objectives.timing import MODES, Mode, Timing
from litefront.search.cell_draft import in_software
from litefront.search.cell_record import CellRecord
from litefront.search.confirmation import Confirmation
from litefront.search.release import measured_file
from litefront.search.run_directory import JsonLineAppender
from litefront.search.store import ArtifactStore
from litefront.search.study_results import StudyResults
from litefront.spaces.errors import CandidateError, InputError

__all__ = ["cell_of", "confirm"]


def cell_of(results: StudyResults, prefix: str) -> CellRecord:
    """The cell whose digest begins so.

    Raises:
        InputError: If there is none with a latency, or more than one.
    """
    timed = [record for record in results.records if "latency_ms" in record.figures]
    found = [record for record in timed if record.cell.startswith(prefix)]
    if len(found) != 1:
        raise InputError(
            f"`--cell` must be the beginning of one timed cell's id, but {len(found)} of {len(timed)} begin with "
            f"{prefix!r}; `litefront front --format json` shows them."
        )
    return found[0]


def confirm(
    results: StudyResults, record: CellRecord, mode: Mode, *, soak_s: float = 0.0, timing: Timing | None = None
) -> Confirmation:
    """Measures a cell with the baseline beside it, and keeps what it finds in the run directory.

    Nothing else should run on the device's machine meanwhile; the runner waits a while for what does.

    Args:
        results: The run; none may be under way in its directory.
        record: The cell.
        mode: How thoroughly.
        soak_s: If above 0, the cell is then called for so long without a pause and measured once more, seconds.
        timing: The mode's settings; by default those of `MODES`.

    Raises:
        InputError: If another process runs in the directory, the device is not the one that measured before or none
            that measures, or the files that were measured are gone.
        StoreError: If the disk does not take what was found.
    """
    if record.is_modelled:
        source = record.figures["latency_ms"].source
        raise InputError(f"A device that measures must be there to measure again, but this run's is a model: {source}.")
    timing = replace(timing or MODES[mode], soak_s=soak_s)
    with results.directory.lock():
        device = results.spec.device.open()
        _check_is_same(device, results)
        reply = _benchmark(results, record, device, timing)
        if soak_s and "soaked" not in reply:
            kind = results.spec.device.kind
            raise InputError(f"`--sustained` needs a device that runs litefront's own runner, but {kind} does not.")
        confirmation = _confirmation(results, record, mode, timing, reply)
        with JsonLineAppender(results.directory.confirmations) as lines:
            lines.append({"context": results.context.digest, "confirmation": confirmation.to_json()})
    return confirmation


def _check_is_same(device: Device, results: StudyResults) -> None:
    here, there = device.probe().identity(), dict(results.context.device)
    if different := [name for name in there if here.get(name) != there[name]]:
        was = ", ".join(f"{name} {there[name]}" for name in different)
        now = ", ".join(f"{name} {here.get(name)}" for name in different)
        raise InputError(
            f"A cell must be measured on the device that the search measured on, {was}, but this is {now}."
        )


def _benchmark(results: StudyResults, record: CellRecord, device: Device, timing: Timing) -> Mapping[str, Any]:
    baseline = results.baseline
    assert baseline is not None, "no cell is timed before the baseline"
    reference = None
    if record.cell != baseline.cell:
        reference = Candidate(measured_file(results, baseline), baseline.config)
    candidate = Candidate(measured_file(results, record), record.config)
    try:
        reply = device.benchmark(candidate, _rows(results), timing, reference)
    except CandidateError as error:
        raise InputError(f"{record.label()} must run to be measured, but it {error}") from error
    now, then = reply["delegated_nodes"], record.facts["delegated_nodes"]
    if now != then:
        raise InputError(f"As many nodes must run on {record.config.delegate} as in the search, {then}, but {now} did.")
    return reply


def _rows(results: StudyResults) -> Path:
    """The evaluation rows that the search called its candidates with."""
    store = ArtifactStore(results.directory.store)
    digest = results.context.model.get("evaluation_inputs")
    if digest is None or not store.path(digest).is_file():
        raise InputError(
            f"The evaluation rows must be in {store.root}, but they are missing; `litefront run` puts them there."
        )
    return store.path(digest)


def _confirmation(
    results: StudyResults, record: CellRecord, mode: Mode, timing: Timing, reply: Mapping[str, Any]
) -> Confirmation:
    baseline = results.baseline
    assert baseline is not None, "no cell is timed before the baseline"
    pace_ms = baseline.facts.get("reference_ms")
    is_baseline = record.cell == baseline.cell
    rounds: Rounds = beside_itself(reply["rounds"]) if is_baseline else reply["rounds"]
    correction = pace_correction(rounds, pace_ms)
    alone, facts = timing_facts(rounds, pace_ms), _facts(reply)
    latency = measure_latency([rounds], record.config.batch_size, reference_ms=pace_ms)
    if "all_calls" in reply:
        # A device whose tool sums its calls up itself gives none of them: its p90 stays that of the rounds.
        latency["latency_p90_ms"] = _p90(reply["all_calls"], correction)
    soaked = {}
    if "soaked" in reply:
        # As they are: that the reference beside them has become slower as well is what a soak is to show.
        facts["before_soak_ms"] = timing_facts(reply["rounds"])["latency_ms"]
        soaked = measure_latency([reply["soaked"]["rounds"]], record.config.batch_size)
        soaked["latency_p90_ms"] = _p90(reply["soaked"]["all_calls"], correction=1.0)
    figures = latency | measure_cold_start(reply["cold_starts"])
    if "software" in record.facts:
        figures, soaked = in_software(figures), in_software(soaked)
    return Confirmation(
        cell=record.cell,
        mode=mode,
        figures=figures,
        beside_ms=None if is_baseline else alone["beside_ms"] * correction,
        facts=facts | {"machine_speed": alone["machine_speed"]},
        noisy=_shortfall(facts, timing) or noisy_reason([rounds], pace_ms),
        soak_s=timing.soak_s,
        soaked=soaked,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _facts(reply: Mapping[str, Any]) -> dict[str, Any]:
    calm = [entry for entry in reply["rounds"] if not entry["disturbed"]]
    counted = {
        "calls": sum(int(entry["calls"]) for entry in calm),
        "seconds": sum(float(entry["wall_s"]) for entry in calm),
        "rounds": len(calm),
        "disturbed_rounds": len(reply["rounds"]) - len(calm),
    }
    further = ("all_calls", "waited_s", "load_average", "steal_s")
    return counted | {name: reply[name] for name in further if name in reply}


def _p90(all_calls: Mapping[str, Any], correction: float) -> Measurement:
    """The 90th percentile of all calls, told for the same pace of the machine as the p50."""
    low, high = (correction * end for end in all_calls["p90_interval_ms"])
    source = f"p90 of all {all_calls['calls']:,} calls"
    return Measurement(correction * all_calls["p90_ms"], "ms", Provenance.MEASURED, source, (low, high))


def _shortfall(facts: Mapping[str, Any], timing: Timing) -> str | None:
    """What the mode asks and did not get, since the machine was not calm or the model is too slow."""
    if facts["calls"] >= timing.min_calls and facts["seconds"] >= timing.min_s:
        return None
    return (
        f"{facts['calls']:,} undisturbed calls in {facts['seconds']:.0f} s where the mode asks for "
        f"{timing.min_calls:,} and {timing.min_s:g} s"
    )
