"""Screening: whether a part of the evaluation rows already tells on which side of the accuracy gate a candidate lies.

A candidate and the baseline answer the same rows, drawn in the order of one fixed permutation, since data may be sorted
by class. After each look the interval of the mean drop is compared with the gate. The looks share the error between
them (Bonferroni), so a candidate that holds the gate is rejected in at most 5 % of cases however often it is looked at;
that rows are drawn without replacement makes the intervals wider than they need be, never narrower.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from litefront.objectives.accuracy import wilson_interval

__all__ = ["PairedScores", "Verdict", "look_ends", "row_order"]

_SHARES = (1 / 16, 1 / 8, 1 / 4)
_FEWEST_ROWS = 100  # the intervals below are approximations for large samples
_ERROR = 0.05


class Verdict(StrEnum):
    """Where a candidate lies."""

    BELOW = "below"  # its drop is larger than the gate allows
    ABOVE = "above"  # its drop is smaller
    OPEN = "open"  # the rows do not tell


def look_ends(rows: int) -> list[int]:
    """The rows that have been seen after each look.

    Args:
        rows: All evaluation rows.

    Returns:
        A sixteenth, an eighth and a quarter of them, without those that are fewer than 100 rows.
    """
    return [int(rows * share) for share in _SHARES if rows * share >= _FEWEST_ROWS]


def row_order(rows: int) -> NDArray[np.int64]:
    """The order in which the rows are looked at, shape `(rows,)`; always the same for as many rows."""
    return np.random.default_rng(0).permutation(rows)


@dataclass(frozen=True)
class PairedScores:
    """What is kept of the scores of a candidate and the baseline on the same rows; looks add up.

    Attributes:
        rows: Number of rows.
        score_sum: Sum of the candidate's scores.
        score_squares: Sum of their squares.
        drop_sum: Sum of the drops, the baseline's score less the candidate's.
        drop_squares: Sum of their squares.
        right_or_wrong: Whether every score of both is 0 or 1.
    """

    rows: int = 0
    score_sum: float = 0.0
    score_squares: float = 0.0
    drop_sum: float = 0.0
    drop_squares: float = 0.0
    right_or_wrong: bool = True

    @classmethod
    def of(cls, scores: NDArray[np.float64], baseline: NDArray[np.float64]) -> PairedScores:
        """Sums up the scores of some rows.

        Args:
            scores: The candidate's, shape `(rows,)`.
            baseline: The baseline's on the same rows, shape `(rows,)`.
        """
        drops = baseline - scores
        return cls(
            rows=len(scores),
            score_sum=float(scores.sum()),
            score_squares=float(np.square(scores).sum()),
            drop_sum=float(drops.sum()),
            drop_squares=float(np.square(drops).sum()),
            right_or_wrong=bool(np.isin(scores, (0.0, 1.0)).all() and np.isin(baseline, (0.0, 1.0)).all()),
        )

    def __add__(self, other: PairedScores) -> PairedScores:
        return PairedScores(
            rows=self.rows + other.rows,
            score_sum=self.score_sum + other.score_sum,
            score_squares=self.score_squares + other.score_squares,
            drop_sum=self.drop_sum + other.drop_sum,
            drop_squares=self.drop_squares + other.drop_squares,
            right_or_wrong=self.right_or_wrong and other.right_or_wrong,
        )

    @property
    def accuracy(self) -> float:
        """The candidate's mean score."""
        return self.score_sum / self.rows

    @property
    def drop(self) -> float:
        """The mean drop."""
        return self.drop_sum / self.rows

    def accuracy_interval(self) -> tuple[float, float]:
        """The 95 % interval of the candidate's mean score: Wilson's for right-or-wrong scores, else Student's."""
        if self.right_or_wrong:
            return wilson_interval(self.score_sum, self.rows)
        return _student_interval(self.score_sum, self.score_squares, self.rows, error=0.05)

    def drop_interval(self, looks: int) -> tuple[float, float]:
        """The interval of the mean drop.

        For right-or-wrong scores it is the adjusted Wald interval for paired proportions: Agresti and Min, Statistics
        in Medicine 24 (2005), p. 729-740, half a row more in each cell of the table of both models' rights and wrongs.
        The rows that only one of them gets right are what the squared drops count. For other scores it is Student's
        interval of the mean of paired differences.

        Args:
            looks: Number of looks that share the error.

        Returns:
            An interval that fails, at any of so many looks, in at most 5 % of cases, half of them on either side.
        """
        error = _ERROR / looks
        if not self.right_or_wrong:
            return _student_interval(self.drop_sum, self.drop_squares, self.rows, error=error)
        rows = self.rows + 2
        centre = self.drop_sum / rows
        deviation = math.sqrt(self.drop_squares + 1 - self.drop_sum**2 / rows) / rows
        half_width = _normal_quantile(error) * deviation
        return max(-1.0, centre - half_width), min(1.0, centre + half_width)

    def verdict(self, max_drop: float, looks: int) -> Verdict:
        """On which side of the gate the interval of the drop lies.

        Args:
            max_drop: The largest mean drop that the gate allows.
            looks: Number of looks that share the error.
        """
        low, high = self.drop_interval(looks)
        if low > max_drop:
            return Verdict.BELOW
        return Verdict.ABOVE if high <= max_drop else Verdict.OPEN


def _normal_quantile(error: float) -> float:
    return NormalDist().inv_cdf(1 - error / 2)


def _student_interval(total: float, squares: float, rows: int, *, error: float) -> tuple[float, float]:
    """Student's interval of a mean; its quantile by Abramowitz and Stegun 26.7.5, within 0.1 % for 100 rows or more."""
    mean, freedom = total / rows, rows - 1
    variance = max(0.0, squares - rows * mean**2) / freedom
    z = _normal_quantile(error)
    half_width = (z + (z**3 + z) / (4 * freedom)) * math.sqrt(variance / rows)
    return mean - half_width, mean + half_width
