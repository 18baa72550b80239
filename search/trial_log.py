"""The Optuna study that is the record of a search's trials: begun and ended with as few writes as can be.

A write to a journal waits for the disk, and one to a database for a server. An `ask` would write a trial and then each
of its parameters, after a look at every trial of the study; here a trial is begun with all that it has in one write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from litefront.search.trial_outcome import TrialOutcome
from litefront.search.trial_storage import storage_errors

__all__ = ["TrialLog"]

_OWNER = "run"


class TrialLog:
    """A study in a storage, which runs elsewhere may share.

    Args:
        storage: Where the study is kept.
        name: Its name there.
        metrics: What its values are, each with its direction.
        distributions: The distribution of each parameter.
        owner: This run's mark on its trials where others share the storage; None if it is this run's alone.

    Raises:
        StoreError: By every method, if the storage does not take or give what it should.
    """

    def __init__(
        self,
        storage: BaseStorage,
        name: str,
        metrics: Mapping[str, StudyDirection],
        distributions: Mapping[str, BaseDistribution],
        *,
        owner: str | None = None,
    ) -> None:
        self._storage = storage
        self._distributions = dict(distributions)
        self._owner = {} if owner is None else {_OWNER: owner}
        with storage_errors():
            self._study = optuna.create_study(
                study_name=name,
                storage=storage,
                directions=list(metrics.values()),
                load_if_exists=True,
                # Chooses nothing: the parameters are chosen before a trial is begun.
                sampler=optuna.samplers.RandomSampler(),
            )
            self._study_id = storage.get_study_id_from_name(name)
            if self._study.metric_names != list(metrics):
                # For the dashboard, which would show numbers in their place.
                self._study.set_metric_names(list(metrics))

    def start(self, params: Mapping[str, Any]) -> Trial:
        """Begins a trial of these parameters."""
        template = create_trial(
            state=TrialState.RUNNING,
            params=dict(params),
            distributions=self._distributions,
            user_attrs=dict(self._owner),
        )
        with storage_errors():
            return Trial(self._study, self._storage.create_new_trial(self._study_id, template))

    def tell(self, trial: Trial, outcome: TrialOutcome) -> None:
        """Ends a trial."""
        with storage_errors():
            outcome.tell(self._study, trial)

    def add(self, params: Mapping[str, Any], outcome: TrialOutcome) -> None:
        """Adds a trial that has ended already."""
        with storage_errors():
            self._study.add_trial(outcome.as_trial(params, self._distributions, self._owner))

    def close_orphans(self) -> None:
        """Ends the trials that a killed run of the same owner left open, which would count as running for ever."""
        with storage_errors():
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if self._owner.items() <= trial.user_attrs.items():
                    self._study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)

    def finished(self) -> Sequence[FrozenTrial]:
        """The trials that teach something, whoever began them: those that are complete and those that are pruned."""
        with storage_errors():
            return self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
