"""Goals of compression, each held against the cell of a run that comes nearest to it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from harness.compressed_runs import Member
from harness.figures import figure

__all__ = ["Goal", "nearest", "tell"]


def _any(member: Member) -> bool:
    return True


@dataclass(frozen=True)
class Goal:
    """What one cell should reach, against the float model as it is.

    Attributes:
        name: What it is called.
        latency: The most that its latency may be, as a share of the baseline's.
        lost: The most that it may lose in accuracy.
        size: The most that its file may be, as a share of the baseline's; None for any.
        as_share: Whether `lost` is a share of the baseline's accuracy instead of a fraction of all rows.
        counts: Which cells can reach it.
    """

    name: str
    latency: float
    lost: float
    size: float | None = None
    as_share: bool = False
    counts: Callable[[Member], bool] = _any

    def shares(self, member: Member) -> dict[str, tuple[float, float]]:
        """What the cell has, and what it may have, by quantity."""
        lost = member.lost_share if self.as_share else member.lost
        shares = {"latency": (member.latency, self.latency), "accuracy lost": (lost, self.lost)}
        return shares if self.size is None else {"size": (member.size, self.size)} | shares

    def miss(self, member: Member) -> float:
        """The largest ratio of what the cell has to what it may have; at most 1 where it reaches the goal."""
        return max(value / limit for value, limit in self.shares(member).values())


def nearest(goal: Goal, members: Collection[Member]) -> Member | None:
    """The cell that reaches the goal by most or misses it by least, first of all of the front; None if none counts."""
    counting = [member for member in members if goal.counts(member)]
    return min(
        counting, key=lambda member: (goal.miss(member) > 1, not member.on_front, goal.miss(member)), default=None
    )


def tell(goal: Goal, members: Collection[Member]) -> None:
    """Prints how near the run came: a figure for each quantity of its nearest cell, and which cell that is."""
    member = nearest(goal, members)
    if member is None:
        figure(f"{goal.name}: cells that count", 0, "cells", "> 0", False)
        return
    for quantity, (value, limit) in goal.shares(member).items():
        of_float32 = "x float32's" if quantity != "accuracy lost" or goal.as_share else "of all rows"
        figure(f"{goal.name}: {quantity}", round(value, 4), of_float32, f"<= {limit:g}", value <= limit)
    figure(f"{goal.name}: nearest cell", member.words(), "", "", None)
