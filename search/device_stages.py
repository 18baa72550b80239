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
from litefront.objectives.measurement import Measurement
from litefront.objectives.screening import PairedScores, row_order
from litefront.objectives.timing import Timing
from litefront.search.stage_calls import StageCall
from litefront.search.workplace import StageOutput, Workplace
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.errors import CandidateError, InputError
from litefront.spaces.rows import Rows, load_rows, pick_output, save_rows, take_rows
from litefront.spaces.tflite.graph import TfliteGraph
from litefront.spaces.tflite.sparse_storage import sparse_kernels

__all__ = ["DEVICE_STAGES"]


def _reference(call: StageCall, workplace: Workplace, folder: Path) -> StageOutput:
    outputs, _ = _infer(call, workplace, folder)
    return StageOutput({"outputs": outputs})


def _accuracy(call: StageCall, workplace: Workplace, folder: Path) -> StageOutput:
    outputs, reply = _infer(call, workplace, folder)
    task, given = workplace.task, load_rows(outputs)
    labels, float_outputs = (load_rows(workplace.store.path(call.inputs[name])) for name in ("labels", "float_outputs"))
    accuracy = measure_accuracy(given, labels, task.scored_by, output=task.output, answers=reply.get("answers"))
    fidelity = _fidelity(call, workplace, folder, given, float_outputs)
    counted = _delegation(reply) | fidelity | _sparse_kernels(call, workplace, reply)
    figures = {"accuracy": accuracy.figure} | _churn(given, float_outputs, task.output)
    facts = {"figures": {name: figure.to_json() for name, figure in figures.items()}, "counted": counted}
    if accuracy.scores is None:
        return StageOutput(facts=facts)
    np.save(folder / "scores.npy", accuracy.scores)
    return StageOutput({"scores": folder / "scores.npy"}, facts)


def _churn(outputs: Rows, float_outputs: Rows, output: str | None) -> dict[str, Measurement]:
    """Of the output that is scored; none of several is the prediction by itself."""
    if isinstance(outputs, Mapping) and output is None:
        return {}
    churn = measure_churn(pick_output(outputs, output), pick_output(float_outputs, output))
    return {} if churn is None else {"churn": churn}


def _screening(call: StageCall, workplace: Workplace, folder: Path) -> StageOutput:
    outputs, reply = _infer(call, workplace, folder)
    task, given = workplace.task, load_rows(outputs)
    labels, float_outputs = (load_rows(workplace.store.path(call.inputs[name])) for name in ("labels", "float_outputs"))
    baseline = np.load(workplace.store.path(call.inputs["baseline_scores"]))
    first, last = call.params["first"], call.params["last"]
    picked = row_order(len(baseline))[first:last]
    accuracy = measure_accuracy(given, take_rows(labels, picked), task.scored_by, output=task.output)
    if accuracy.scores is None:
        raise InputError("The metric must score each row of any rows, but it gave one number for some of them.")
    return StageOutput(
        facts={
            "paired_scores": asdict(PairedScores.of(accuracy.scores, baseline[picked])),
            "unit": accuracy.figure.unit,
            "source": accuracy_source(
                task.scored_by, f"{last} of {len(baseline)} rows", reply.get("answers"), output=task.output
            ),
            "counted": _delegation(reply) | _fidelity(call, workplace, folder, given, take_rows(float_outputs, picked)),
        }
    )


def _delegation(reply: Mapping[str, Any]) -> dict[str, Any]:
    # Who answered stands there where it was not the delegate itself.
    return {name: reply[name] for name in ("delegated_nodes", "nodes", "answered_by") if name in reply}


def _sparse_kernels(call: StageCall, workplace: Workplace, reply: Mapping[str, Any]) -> dict[str, Any]:
    """Whether sparse kernels may have run a file that is stored sparsely, by the rules of XNNPACK; it does not tell."""
    if "machine" not in reply or call.params["delegate"] != Delegate.XNNPACK:
        return {}
    content = workplace.store.path(call.inputs["tflite"]).read_bytes()
    flags = ("avx",) if reply["has_avx"] else ()
    found = sparse_kernels(content, architecture=reply["machine"], cpu_flags=flags)
    return {} if found is None else {"sparse_kernels": asdict(found)}


def _fidelity(
    call: StageCall, workplace: Workplace, folder: Path, outputs: Rows, float_outputs: Rows
) -> dict[str, Any]:
    """How a delegate's answers to the first rows differ from the built-in kernels'; nothing for those themselves."""
    candidate = _candidate(call, workplace)
    if candidate.config.delegate is Delegate.NONE:
        return {}
    built_in = replace(candidate, config=replace(candidate.config, delegate=Delegate.NONE))
    first = slice(FIDELITY_ROWS)
    rows = save_rows(take_rows(load_rows(workplace.store.path(call.inputs["rows"])), first), folder / "fidelity_rows")
    expected = _answers_file(candidate, folder / "fidelity_outputs")
    try:
        workplace.device.infer(built_in, rows, expected)
    except CandidateError as error:
        raise CandidateError(f"its answers cannot be compared with the built-in kernels', which {error}") from error
    fidelity = Fidelity.of(take_rows(outputs, first), load_rows(expected), take_rows(float_outputs, first))
    return {"fidelity": asdict(fidelity)}


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
    candidate, rows = _candidate(call, workplace), workplace.store.path(call.inputs["rows"])
    outputs = _answers_file(candidate, folder / "outputs")
    return outputs, workplace.device.infer(candidate, rows, outputs)


def _answers_file(candidate: Candidate, stem: Path) -> Path:
    """Where a candidate's answers go: an array, or several by name."""
    several = len(TfliteGraph(candidate.model.read_bytes()).outputs) > 1
    return stem.with_suffix(".npz" if several else ".npy")


def _candidate(call: StageCall, workplace: Workplace) -> Candidate:
    return Candidate(workplace.store.path(call.inputs["tflite"]), _config(call.params))


def _config(execution: Mapping[str, Any]) -> DeploymentConfig:
    """The configuration that a call's params fix; what they leave open does not matter to how a file is run."""
    chosen = {name: execution[name] for name in ("delegate", "num_threads")}
    return DeploymentConfig.from_params(DeploymentConfig().params() | chosen)
