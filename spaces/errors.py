"""What can go wrong, split by what the caller can do about it.

LitefrontError
|-- InputError      the user can mend it: study file, task, model, data, directory (exit code 2)
|-- CandidateError  one configuration cannot be built or run; costs one cell, with its reason
|-- StoreError      the artifact store cannot be written or read (full disk, damaged file)
`-- WorkersError    what runs the stages is gone (Ray was killed, the cluster cannot be reached)
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["CandidateError", "InputError", "LitefrontError", "StoreError", "WorkersError"]


class LitefrontError(Exception):
    """Base of every error that litefront raises on purpose."""


class InputError(LitefrontError):
    """Something that the user gave cannot be used.

    Args:
        problems: One sentence a problem, each the rule and then what came; a single string is one problem.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)


class CandidateError(LitefrontError):
    """One configuration could not be built, or did not run; the message is the reason that the report shows."""


class StoreError(LitefrontError):
    """The artifact store could not be written or read; the run cannot go on, finished cells stay."""


class WorkersError(LitefrontError):
    """What runs the stages is gone; the run cannot go on, finished cells stay."""
