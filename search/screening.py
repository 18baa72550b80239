"""Screens candidates on parts of the evaluation rows, so that a hopeless one ends before it is run on all of them."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from litefront.objectives.measurement import Measurement, Provenance
from litefront.objectives.screening import PairedScores, Verdict
from litefront.search.stage_calls import StageCall, StageCalls
from litefront.search.store import ArtifactStore, StageRecord
from litefront.spaces.deployment_config import DeploymentConfig

__all__ = ["Screened", "Screening", "worthwhile_screening"]

WORTHWHILE_S = 5.0
"""How long the baseline's accuracy run must take for screening to pay.

A look costs its rows and a runner's start, about 0.4 s. At 5 s a hopeless candidate is spared 4.3 s, and one that takes
all three looks in vain loses 2.4 s: it pays where more than one candidate in three is hopeless, at worst. The longer
the run, the less the starts count: one in five is enough then.
"""


@dataclass(frozen=True)
class Screened:
    """What was seen of a candidate that lies below the gate.

    Attributes:
        last: The stage record of the last look.
        seen: The scores of all looks.
        drop_interval: Of the mean drop against the baseline on the same rows.
        seconds: What the looks took.
    """

    last: StageRecord
    seen: PairedScores
    drop_interval: tuple[float, float]
    seconds: float

    def accuracy(self) -> Measurement:
        """The accuracy on the rows that were seen."""
        return Measurement(
            value=self.seen.accuracy,
            unit=self.last.facts["unit"],
            provenance=Provenance.MEASURED,
            source=self.last.facts["source"],
            interval=self.seen.accuracy_interval(),
        )


@dataclass(frozen=True)
class Screening:
    """Compares candidates with the baseline, look by look.

    Attributes:
        calls: Makes the study's stage calls.
        store: Asked whether a candidate has been run on all rows already.
        baseline_scores: Digest of the baseline's score of each row.
        reference: The float model's own answers, which stand in for labels where there are none.
    """

    calls: StageCalls
    store: ArtifactStore
    baseline_scores: str
    reference: StageRecord

    def run(
        self, quantized: StageRecord, config: DeploymentConfig, max_drop: float
    ) -> Generator[StageCall, StageRecord, Screened | None]:
        """Looks at more and more rows until they tell on which side of the gate the candidate lies.

        Args:
            quantized: The candidate.
            config: Its configuration.
            max_drop: The largest drop that the gate allows.

        Returns:
            What was seen if the candidate lies below the gate; None if it must be run on all rows.
        """
        on_all_rows = self.calls.accuracy(quantized, config, self.reference)
        if self.store.find(on_all_rows.stage, on_all_rows.key) is not None:
            return None
        seen, seconds = PairedScores(), 0.0
        for look in self.calls.looks:
            record = yield self.calls.screening(
                quantized, config, self.reference, look, baseline_scores=self.baseline_scores
            )
            seen += PairedScores(**record.facts["paired_scores"])
            seconds += record.seconds
            verdict = seen.verdict(max_drop, len(self.calls.looks))
            if verdict is Verdict.BELOW:
                return Screened(record, seen, seen.drop_interval(len(self.calls.looks)), seconds)
            if verdict is Verdict.ABOVE:
                break
        return None


def worthwhile_screening(
    calls: StageCalls, store: ArtifactStore, baseline: StageRecord, reference: StageRecord
) -> Screening | None:
    """The screening of a study, or None where it does not pay or cannot be.

    Args:
        calls: Makes the study's stage calls.
        store: Where results are found again.
        baseline: The baseline's accuracy stage.
        reference: The float model's own answers, which stand in for labels where there are none.
    """
    scores = baseline.objects.get("scores")
    if not calls.looks or scores is None or baseline.seconds < WORTHWHILE_S:
        return None
    return Screening(calls, store, scores, reference)
