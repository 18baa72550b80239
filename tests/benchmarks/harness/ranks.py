"""How alike two lists of figures are ranked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["rank_correlation"]


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation; figures that are measured have no ties."""
    ranks = [np.argsort(np.argsort(values)) for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])
