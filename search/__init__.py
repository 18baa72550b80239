"""The study: its stages and workers, the search, the front, the tiers, the release, the report, the command line.

What a task file needs is here: `from litefront.search import ChannelPruning, Dataset, FineTuning, Task`.
"""

from __future__ import annotations

from litefront.search.task import Dataset, Task
from litefront.spaces.channel_pruning import ChannelPruning
from litefront.spaces.training.fine_tuning import FineTuning

__all__ = ["ChannelPruning", "Dataset", "FineTuning", "Task"]
