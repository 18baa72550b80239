"""How long a candidate is timed: what the runner's request says, and the modes that a measurement may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

__all__ = ["MODES", "Mode", "Timing"]

# What a measurement may take beside its rounds: loading and calling a large model again and again.
_ASIDE_S = 180.0


@dataclass(frozen=True)
class Timing:
    """How long the runner times a candidate.

    Attributes:
        min_rounds: Rounds that are always taken.
        round_s: Length of a round, seconds; a round has at least three calls.
        reference_round_s: Length of the reference's round beside each, seconds.
        min_calls: Rounds go on until undisturbed ones hold so many calls.
        min_s: Rounds go on until undisturbed ones have lasted so long, seconds.
        max_s: After this the rounds end, steady or not, seconds.
        warm_up_max_s: Longest warm-up, seconds.
        target_half_width: Rounds go on until the interval is this narrow, as a fraction of the median.
        cold_starts: Fresh processes that load the model and call it once.
        calm_max_s: How long the rounds may wait, in all, for other work on the machine to end, seconds.
        repeat_calm_max_s: The same where a candidate is timed again because its first figures did not hold.
        soak_s: After the rounds the candidate is called for so long without a pause, seconds, and then come rounds once
            more: how fast it still is on a device that has become hot. 0 leaves that out.
    """

    min_rounds: int = 7
    round_s: float = 0.04
    reference_round_s: float = 0.015
    min_calls: int = 0
    min_s: float = 0.0
    max_s: float = 3.0
    warm_up_max_s: float = 1.0
    target_half_width: float = 0.02
    cold_starts: int = 3
    calm_max_s: float = 0.0
    repeat_calm_max_s: float = 5.0
    soak_s: float = 0.0

    @property
    def longest_s(self) -> float:
        """After this a runner that has not answered hangs, seconds."""
        rounds_s = (self.max_s + self.calm_max_s) * (2 if self.soak_s else 1)
        return _ASIDE_S + 2 * self.warm_up_max_s + rounds_s + self.soak_s

    def of_attempt(self, attempt: int) -> Timing:
        """The settings of a candidate's timings, counted from 0.

        The first takes the machine as it is, which is calm as a rule. Later ones are there since it was not, and wait.
        """
        return replace(self, calm_max_s=self.repeat_calm_max_s) if attempt else self

    def to_json(self) -> dict[str, float]:
        """The settings as the runner's request holds them."""
        return asdict(self)


class Mode(StrEnum):
    """How thoroughly a candidate is timed."""

    SEARCH = "search"
    """As many rounds as the interval needs: under a second for a small model on a quiet machine."""
    QUICK = "quick"
    """At least 128 calls and 10 s: the quick mode of MLPerf Mobile."""
    SUBMIT = "submit"
    """At least 1,024 calls and 60 s: what MLPerf Mobile asks of a single-stream result."""


MODES: Mapping[Mode, Timing] = {
    Mode.SEARCH: Timing(),
    Mode.QUICK: Timing(
        round_s=0.3,
        reference_round_s=0.06,
        min_calls=128,
        min_s=10.0,
        max_s=60.0,
        warm_up_max_s=3.0,
        cold_starts=5,
        calm_max_s=60.0,
    ),
    # MLPerf Mobile ends a run after 600 s, however many calls it had.
    Mode.SUBMIT: Timing(
        round_s=0.5,
        reference_round_s=0.1,
        min_calls=1024,
        min_s=60.0,
        max_s=600.0,
        warm_up_max_s=5.0,
        cold_starts=10,
        calm_max_s=300.0,
    ),
}
"""The settings of each mode."""
