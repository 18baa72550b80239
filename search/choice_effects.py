"""What each choice bought: cells that differ in one dimension alone, side by side.

A sparsity that makes nothing smaller or faster, or a quantization that the device has no kernels for, costs accuracy
for nothing. It is said here in as many words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from litefront.search.cell_record import CellRecord
from litefront.search.study_results import StudyResults
from litefront.spaces.deployment_config import BASELINE
from litefront.spaces.search_space import canonical

__all__ = ["ChoiceEffect", "choice_effects"]

_EXPLAINED = ("sparsity", "clusters", "quantization", "storage")
_COSTS = {"size_bytes": "size", "download_bytes": "download", "latency_ms": "latency"}
# A change that is smaller than this may be a machine's mood.
_GAIN = 0.05


@dataclass(frozen=True)
class ChoiceEffect:
    """How cells of one choice compare with those that differ from them in nothing else.

    Attributes:
        choice: The choice, such as `sparsity channel:0.5`.
        against: What it is compared with, such as `sparsity 0`.
        pairs: Pairs of cells that were compared.
        ratios: The median ratio of each cost: `size`, `download`, `latency`.
        accuracy: The median difference in accuracy.
    """

    choice: str
    against: str
    pairs: int
    ratios: dict[str, float]
    accuracy: float

    @property
    def gains(self) -> list[str]:
        """The costs that it lowers."""
        return [name for name, ratio in self.ratios.items() if ratio < 1 - _GAIN]

    def text(self) -> str:
        """The comparison in one line; it says so where the choice buys nothing."""
        costs = ", ".join(f"{ratio:.2f}x {name}" for name, ratio in self.ratios.items())
        verdict = f"buys {' and '.join(self.gains)}" if self.gains else "buys nothing"
        return f"{self.choice} {verdict}: {costs}, {100 * self.accuracy:+.1f} pt against {self.against}"


def choice_effects(results: StudyResults) -> list[ChoiceEffect]:
    """The effects of all choices of which there are pairs, in the order of the dimensions and of their choices."""
    by_config = {record.config: record for record in results.deployable if "accuracy" in record.figures}
    found = []
    for dimension in _EXPLAINED:
        usual = getattr(BASELINE, dimension)
        choices = {getattr(config, dimension) for config in by_config} - {usual}
        for choice in sorted(choices, key=_plain):
            pairs = list(_pairs(by_config, dimension, choice))
            if pairs:
                found.append(_effect(f"{dimension} {choice}", f"{dimension} {usual}", pairs))
    return found


def _pairs(by_config: dict[Any, CellRecord], dimension: str, choice: Any) -> Iterator[tuple[CellRecord, CellRecord]]:
    """Cells of a choice, each with the cell that has the baseline's choice there and all else alike."""
    usual = getattr(BASELINE, dimension)
    for config, record in by_config.items():
        if getattr(config, dimension) == choice:
            other = by_config.get(canonical(replace(config, **{dimension: usual})))
            if other is not None:
                yield record, other


def _effect(choice: str, against: str, pairs: Sequence[tuple[CellRecord, CellRecord]]) -> ChoiceEffect:
    ratios = {
        name: median(one.value(figure) / other.value(figure) for one, other in pairs)
        for figure, name in _COSTS.items()
        if all(figure in record.figures for pair in pairs for record in pair)
    }
    lost = median(one.value("accuracy") - other.value("accuracy") for one, other in pairs)
    return ChoiceEffect(choice, against, len(pairs), ratios, lost)


def _plain(choice: Any) -> tuple[str, float, str]:
    """Patterns together, levels in their order."""
    return (str(getattr(choice, "pattern", "")), float(getattr(choice, "level", 0.0)), str(choice))
