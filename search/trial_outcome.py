"""What an Optuna trial is told of a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from litefront.objectives.catalogue import Objective
from litefront.search.cell_record import CellRecord, CellState

__all__ = ["TrialOutcome"]

_VIOLATION = "violation"


@dataclass(frozen=True)
class TrialOutcome:
    """How a trial ended.

    Attributes:
        state: COMPLETE for a measured cell, PRUNED for one that does not hold what the study asks, else FAIL.
        values: The objectives' values in the study's order; None if the trial is not COMPLETE.
        violation: By how much it misses, above 0 if it is PRUNED.
        reason: Why it has no values.
    """

    state: TrialState
    values: tuple[float, ...] | None = None
    violation: float = 0.0
    reason: str | None = None

    @classmethod
    def of_record(cls, record: CellRecord, objectives: Sequence[Objective]) -> TrialOutcome:
        """What a cell's record teaches."""
        match record.state:
            case CellState.MEASURED:
                values = tuple(record.value(objective.figure) for objective in objectives)
                return cls(TrialState.COMPLETE, values, record.violation)
            case CellState.REJECTED:
                return cls(TrialState.PRUNED, violation=record.violation, reason=record.reason)
            case CellState.FAILED:
                return cls(TrialState.FAIL, reason=record.reason)

    @classmethod
    def of_trial(cls, trial: FrozenTrial) -> TrialOutcome:
        """What a finished trial was told."""
        values = tuple(trial.values) if trial.state is TrialState.COMPLETE else None
        return cls(trial.state, values, max(trial.constraints.values(), default=0.0), trial.user_attrs.get("reason"))

    def tell(self, study: Study, trial: Trial) -> None:
        """Ends a trial that is under way; each attribute is a write of its own, so there is none without a need."""
        if self.reason is not None:
            trial.set_user_attr("reason", self.reason)
        if self.violation > 0:
            trial.set_constraint(_VIOLATION, self.violation)
        study.tell(trial, self.values, self.state)

    def as_trial(
        self, params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution], owner: Mapping[str, str]
    ) -> FrozenTrial:
        """A finished trial of these parameters, to be added to a study in one write."""
        reason = {} if self.reason is None else {"reason": self.reason}
        return create_trial(
            state=self.state,
            params=dict(params),
            distributions=dict(distributions),
            values=self.values,
            user_attrs={**owner, **reason},
            constraints={_VIOLATION: self.violation} if self.violation > 0 else None,
        )
