"""The stages that run a candidate on the device: what it answers, how well, and how fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from litefront.objectives.accuracy import accuracy_source, measure_accuracy
from litefront.objectives.churn import measure_churn
from litefront.objectives.devices import Candidate
from litefront.objectives.fidelity import FIDELITY_ROWS, Fidelity
from litefront.objectives.screening import PairedScores, row_order
from litefront.objectives.timing import Timing
from litefront.search.stage_calls import StageCall
from litefront.search.workplace import StageOutput, Workplace
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.errors import CandidateError, InputError

__all__ = ["DEVICE_STAGES"]


def _reference(call: StageCall, workplace: Workplace, folder: Path) -> StageOutput:
    outputs, _ = _infer(call, workplace, folder)
    return StageOutput({"outputs": outputs})


def _accuracy(call: StageCall, workplace: Workplace, folder: Path) -> StageOutput:
    outputs, reply = _infer(call, workplace, folder)
    labels = np.load(workplace.store.path(call.inputs["labels"]))
    accuracy = measure_accuracy(np.load(outputs), labels, workplace.task.scored_by, answers=reply.get("answers"))
    counted = _delegation(reply) | _fidelity(call, workplace, folder, np.load(outputs))
    figures = {"accuracy": accuracy.figure}
    churn = measure_churn(np.load(outputs), np.load(workplace.store.path(call.inputs["float_outputs"])))
    if churn is not None:
        figures["churn"] = churn
    facts = {"figures": {name: figure.to_json() for name, figure in figures.items()}, "counted": counted}
    if accuracy.scores is None:
        return StageOutput(facts=facts)
    np.save(folder / "scores.npy", accuracy.scores)
    return StageOutput({"scores": folder / "scores.npy"}, facts)


def _screening(call: StageCall, workplace: Workplace, folder: Path) -> StageOutput:
    outputs, reply = _infer(call, workplace, folder)
    labels, baseline = (np.load(workplace.store.path(call.inputs[name])) for name in ("labels", "baseline_scores"))
    first, last = call.params["first"], call.params["last"]
    picked = row_order(len(labels))[first:last]
    metric = workplace.task.scored_by
    accuracy = measure_accuracy(np.load(outputs), labels[picked], metric)
    if accuracy.scores is None:
        raise InputError("The metric must score each row of any rows, but it gave one number for some of them.")
    return StageOutput(
        facts={
            "paired_scores": asdict(PairedScores.of(accuracy.scores, baseline[picked])),
            "unit": accuracy.figure.unit,
            "source": accuracy_source(metric, f"{last} of {len(labels)} rows", reply.get("answers")),
            "counted": _delegation(reply) | _fidelity(call, workplace, folder, np.load(outputs)),
        }
    )


def _delegation(reply: Mapping[str, Any]) -> dict[str, Any]:
    # Who answered stands there where it was not the delegate itself.
    return {name: reply[name] for name in ("delegated_nodes", "nodes", "answered_by") if name in reply}


def _fidelity(call: StageCall, workplace: Workplace, folder: Path, outputs: np.ndarray) -> dict[str, Any]:
    """How a delegate's answers to the first rows differ from the built-in kernels'; nothing for those themselves."""
    candidate = _candidate(call, workplace)
    if candidate.config.delegate is Delegate.NONE:
        return {}
    built_in = replace(candidate, config=replace(candidate.config, delegate=Delegate.NONE))
    rows, expected = folder / "fidelity_rows.npy", folder / "fidelity_outputs.npy"
    np.save(rows, np.load(workplace.store.path(call.inputs["rows"]), mmap_mode="r")[:FIDELITY_ROWS])
    try:
        workplace.device.infer(built_in, rows, expected)
    except CandidateError as error:
        raise CandidateError(f"its answers cannot be compared with the built-in kernels', which {error}") from error
    return {"fidelity": asdict(Fidelity.of(outputs[:FIDELITY_ROWS], np.load(expected)))}


def _latency(call: StageCall, workplace: Workplace, folder: Path) -> StageOutput:
    candidate, reference = _candidate(call, workplace), None
    if "reference" in call.params:
        config = _config(call.params["reference"])
        reference = Candidate(workplace.store.path(call.inputs["reference"]), config)
    rows, timing = workplace.store.path(call.inputs["rows"]), Timing(**call.params["timing"])
    return StageOutput(facts=dict(workplace.device.benchmark(candidate, rows, timing, reference)))


DEVICE_STAGES: Mapping[str, Callable[[StageCall, Workplace, Path], StageOutput]] = {
    "reference": _reference,
    "screening": _screening,
    "accuracy": _accuracy,
    "latency": _latency,
}
"""Each stage's function by its name."""


def _infer(call: StageCall, workplace: Workplace, folder: Path) -> tuple[Path, Mapping[str, Any]]:
    outputs = folder / "outputs.npy"
    rows = workplace.store.path(call.inputs["rows"])
    return outputs, workplace.device.infer(_candidate(call, workplace), rows, outputs)


def _candidate(call: StageCall, workplace: Workplace) -> Candidate:
    return Candidate(workplace.store.path(call.inputs["tflite"]), _config(call.params))


def _config(execution: Mapping[str, Any]) -> DeploymentConfig:
    """The configuration that a call's params fix; what they leave open does not matter to how a file is run."""
    chosen = {name: execution[name] for name in ("delegate", "num_threads")}
    return DeploymentConfig.from_params(DeploymentConfig().params() | chosen)
