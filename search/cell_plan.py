"""The life of one cell, from the base model to its figures, as a plan that the scheduler carries out.

A plan is a generator: it yields the stage that it needs next and is sent that stage's record, so it reads from top to
bottom while the scheduler runs many of them side by side and lets them share stages.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from litefront.objectives.catalogue import FIGURES
from litefront.objectives.fidelity import Fidelity
from litefront.objectives.latency import is_enough
from litefront.objectives.modelled_timing import ModelledTiming
from litefront.objectives.power import utilisation
from litefront.search.cell_draft import CellDraft
from litefront.search.cell_record import CellRecord, CellState
from litefront.search.digests import digest_of_json
from litefront.search.machine_pace import MachinePace
from litefront.search.scheduler import Plan
from litefront.search.screening import Screening
from litefront.search.stage_calls import Reference, StageCall
from litefront.search.store import StageRecord
from litefront.search.study_opening import OpenStudy
from litefront.search.tables import figure_text, value_text
from litefront.search.tiers import power_inputs
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.errors import CandidateError
from litefront.spaces.quantization import Quantization

__all__ = ["CellPlans"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CellPlans:
    """Makes the plans of one study's cells.

    Attributes:
        study: The study.
        baseline_accuracy: What the gate compares with; None until the baseline is measured.
        reference: What is timed beside each candidate; None until the baseline, which it is, is measured.
        pace: What the reference's call takes at the machine's pace; None until it is measured.
        screening: Compares candidates with the baseline on a part of the rows first; None where that does not pay.
    """

    study: OpenStudy
    baseline_accuracy: float | None = None
    reference: Reference | None = None
    pace: MachinePace | None = None
    screening: Screening | None = None

    @property
    def reference_ms(self) -> float | None:
        """What the reference's call takes at the machine's pace; None until it is measured."""
        return None if self.pace is None else self.pace.reference_ms

    def cell_digest(self, config: DeploymentConfig) -> str:
        """The cell's identity."""
        return digest_of_json([self.study.context.digest, config.params()])[:16]

    def plan(self, config: DeploymentConfig) -> Plan:
        """The plan of one cell. It ends with a record whatever happens to the candidate."""
        draft = CellDraft(self.cell_digest(config), config, self.study.spec.device_name)
        try:
            return (yield from _judged(draft, self._build_and_measure(draft)))
        except CandidateError as error:
            return draft.record(CellState.FAILED, reason=str(error))

    def remeasure(self, record: CellRecord, quantized: StageRecord) -> Plan:
        """The plan of one more measurement of a cell, pooled with those that it has.

        Args:
            record: The cell as it is known.
            quantized: What its `.tflite` came from.
        """
        draft = CellDraft.of(record)
        draft.facts["remeasured"] = record.facts.get("remeasured", 0) + 1
        try:
            return (yield from _judged(draft, self._measure_again(draft, quantized, further=1)))
        except CandidateError as error:
            # What was measured before still holds.
            _log.info("%s could not be measured again: %s", record.label(), error)
            return replace(record, facts=draft.facts)

    def judge_anew(self, record: CellRecord, quantized: StageRecord) -> Plan:
        """The plan of a timed cell whose measurements are judged once more, by the pace as it is known now.

        Args:
            record: The cell as it is known.
            quantized: What its `.tflite` came from.
        """
        draft = CellDraft.of(record)
        return (yield from _judged(draft, self._measure_again(draft, quantized, further=0)))

    def _build_and_measure(self, draft: CellDraft) -> Generator[StageCall, StageRecord, None]:
        """Cheapest first, so that a hopeless candidate ends before the device is touched."""
        quantized = yield from self._build(draft)
        draft.take_counts(quantized)
        self._check_limits(draft)
        yield from self._screen(draft, quantized)
        accuracy = draft.note((yield self.study.calls.accuracy(quantized, draft.config, self.study.reference)))
        draft.take_counts(accuracy)
        self._check_delegate(draft)
        self._check_accuracy_gate(draft)
        self._check_limits(draft)
        yield from self._measure(draft, quantized)

    def _build(self, draft: CellDraft) -> Generator[StageCall, StageRecord, StageRecord]:
        """From the base model to the file that ships."""
        calls, config = self.study.calls, draft.config
        model = yield from self._train(draft)
        if config.quantization is Quantization.QAT_INT8:
            return draft.note((yield calls.converted(model, config)))
        float_tflite = draft.note((yield calls.float_tflite(model, config.batch_size)))
        sensitivity = None
        if config.quantization.is_mixed:
            sensitivity = draft.note((yield calls.sensitivity(float_tflite, config)))
        return draft.note((yield calls.quantized(float_tflite, config, sensitivity)))

    def _train(self, draft: CellDraft) -> Generator[StageCall, StageRecord, StageRecord]:
        """Everything that is done to the weights before they are converted."""
        calls, config = self.study.calls, draft.config
        model = base = draft.note((yield calls.base()))
        for from_level, level in calls.pruning_path(config.sparsity):
            step = replace(config.sparsity, level=level)
            model = draft.note((yield calls.pruned(base, model, step, from_level)))
            draft.take_pruning(model, from_level)
        if config.clusters:
            model = draft.note((yield calls.clustered(base, model, config)))
        if config.quantization is Quantization.QAT_INT8:
            model = draft.note((yield calls.quantization_aware(base, model, config)))
            draft.take_training(model)
        return model

    def _measure(self, draft: CellDraft, quantized: StageRecord) -> Generator[StageCall, StageRecord, None]:
        """Has the candidate timed, and timed again while that is noisy."""
        timings: list[StageRecord] = []
        while not _are_enough(timings, self.reference_ms):
            call = self.study.calls.latency(quantized, draft.config, self.reference, attempt=len(timings))
            timings.append(draft.note((yield call)))
        self._judge(draft, timings)

    def _measure_again(
        self, draft: CellDraft, quantized: StageRecord, *, further: int
    ) -> Generator[StageCall, StageRecord, None]:
        """Finds the timings that there are, and has further ones taken."""
        timings: list[StageRecord] = []
        for timing in (*draft.facts["timings"], *[None] * further):
            # The baseline's first timings had nothing beside them.
            beside = self.reference if timing is None or timing["had_reference"] else None
            call = self.study.calls.latency(quantized, draft.config, beside, attempt=len(timings))
            timings.append(draft.note((yield call)))
        self._judge(draft, timings)

    def _judge(self, draft: CellDraft, timings: Sequence[StageRecord]) -> None:
        """Sums the timings up, and asks what hangs on them."""
        modelled = ModelledTiming.from_reply(timings[-1].facts)
        if modelled is not None:
            draft.take_modelled_latency(modelled, timings[-1])
        else:
            draft.take_latency(timings, self.reference_ms, is_reference=draft.config == self.study.baseline)
        self._estimate_power(draft)
        self._check_delegate(draft)
        self._check_limits(draft)
        self._check_load(draft)

    def _check_limits(self, draft: CellDraft) -> None:
        """The gates of the figures that are there by now; the baseline is what others are compared with, and passes."""
        if draft.config == self.study.baseline:
            return
        for figure, limit in self.study.spec.gates.limits().items():
            if figure in draft.figures and draft.figures[figure].value > limit:
                name, found = FIGURES[figure].name, draft.figures[figure]
                allowed = value_text(figure, limit, found.unit)
                raise _RejectionError(
                    f"{name} {figure_text(figure, found)} is above the gate's {allowed}",
                    gate=name,
                    violation=found.value / limit - 1,
                )

    def _screen(self, draft: CellDraft, quantized: StageRecord) -> Generator[StageCall, StageRecord, None]:
        """The accuracy gate, asked on a part of the rows; the candidate passes unless they leave no doubt."""
        max_drop = self.study.spec.gates.max_accuracy_drop
        if max_drop is None or self.screening is None:
            return
        screened = yield from self.screening.run(quantized, draft.config, max_drop)
        if screened is None:
            return
        draft.take_screening(screened)
        self._check_delegate(draft)
        seen, (low, high) = screened.seen, screened.drop_interval
        raise _RejectionError(
            f"accuracy {seen.accuracy:.4f} on {seen.rows} rows is {seen.drop:.4f} ({low:.4f} to {high:.4f}) below the "
            f"baseline's on the same rows; the gate allows {max_drop:g}",
            gate="accuracy",
            violation=seen.drop - max_drop,
        )

    def _check_delegate(self, draft: CellDraft) -> None:
        """A delegate is what ran, not what was asked for; its answers come before its speed."""
        if draft.config.delegate is Delegate.NONE:
            return
        device = self.study.spec.device
        problem = _share_problem(draft, keeps_part=device.partial_delegation == "keep")
        if problem is None and "fidelity" in draft.facts:
            problem = Fidelity.from_json(draft.facts["fidelity"]).refusal(draft.config.quantization)
        found = self.study.delegates.get(draft.config.delegate)
        if found is not None and found.is_software:
            draft.mark_software(found.implementation)
            if problem is None and not device.software_delegates:
                problem = (
                    f"it is software here ({found.implementation}), so its times mean nothing; "
                    "`software_delegates: true` lets such cells be chosen"
                )
        if problem is not None:
            raise _RejectionError(f"{draft.config.delegate}: {problem}", gate="delegate", violation=1.0)

    def _check_accuracy_gate(self, draft: CellDraft) -> None:
        max_drop = self.study.spec.gates.max_accuracy_drop
        if max_drop is None or self.baseline_accuracy is None:
            return
        accuracy = draft.figures["accuracy"].value
        drop = self.baseline_accuracy - accuracy
        if drop > max_drop:
            raise _RejectionError(
                f"accuracy {accuracy:.4f} is {drop:.4f} below the baseline's {self.baseline_accuracy:.4f}; "
                f"the gate allows {max_drop:g}",
                gate="accuracy",
                violation=drop - max_drop,
            )

    def _estimate_power(self, draft: CellDraft) -> None:
        inputs = power_inputs(draft.record(CellState.MEASURED))
        draft.figures["energy_mj"] = self.study.device.power_model.energy(inputs)
        if self.study.spec.load is not None:
            draft.figures["power_mw"] = self.study.device.power_model.power(inputs, self.study.spec.load.samples_per_s)

    def _check_load(self, draft: CellDraft) -> None:
        if self.study.spec.load is None:
            return
        load = self.study.spec.load.samples_per_s
        inputs = power_inputs(draft.record(CellState.MEASURED))
        if (needed := utilisation(inputs, load)) > 1:
            raise _RejectionError(
                f"a load of {load:g} samples/s needs {needed:.0%} of the time, at {inputs.latency_ms:.4g} ms a call "
                f"of {inputs.batch_size}",
                gate="load",
                violation=needed - 1,
            )


def _are_enough(timings: Sequence[StageRecord], reference_ms: float | None) -> bool:
    """Whether a candidate needs no further timing; what was modelled is never asked for twice."""
    if timings and ModelledTiming.from_reply(timings[-1].facts) is not None:
        return True
    return is_enough([timing.facts["rounds"] for timing in timings], reference_ms)


def _judged(
    draft: CellDraft, steps: Generator[StageCall, StageRecord, None]
) -> Generator[StageCall, StageRecord, CellRecord]:
    """Goes through the steps; the record of what they come to, if only the candidate does not fail."""
    try:
        yield from steps
    except _RejectionError as rejection:
        record = draft.record(CellState.REJECTED, reason=str(rejection))
        return replace(record, rejected_by=rejection.gate, violation=rejection.violation)
    return draft.record(CellState.MEASURED)


class _RejectionError(Exception):
    """The candidate works, but it does not hold what the study asks.

    Args:
        reason: What it does not hold.
        gate: Which rule it is.
        violation: By how much, in the rule's own unit, above 0.
    """

    def __init__(self, reason: str, *, gate: str, violation: float) -> None:
        super().__init__(reason)
        self.gate = gate
        self.violation = violation


def _share_problem(draft: CellDraft, *, keeps_part: bool) -> str | None:
    """What is wrong with the share of the graph that the delegate ran, or None."""
    ran, nodes = draft.facts["delegated_nodes"], draft.facts["nodes"]
    if ran == 0:
        return f"asked for, but none of the graph's {nodes} nodes ran on it"
    # XNNPACK is LiteRT's default: it takes what it has kernels for, and the built-in kernels do the rest.
    if ran < nodes and draft.config.delegate is not Delegate.XNNPACK and not keeps_part:
        return (
            f"only {ran} of the graph's {nodes} nodes ran on it; `partial_delegation: keep` lets such cells be chosen"
        )
    return None
