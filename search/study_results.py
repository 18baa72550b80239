"""Reads what a run has found so far; needs neither TensorFlow nor Ray, nor the task itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from litefront.search.cell_record import CellRecord, CellState
from litefront.search.confirmation import Confirmation, read_confirmations
from litefront.search.run_directory import RunDirectory, read_json_lines
from litefront.search.study_spec import StudySpec
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.errors import InputError
from litefront.spaces.search_space import canonical

__all__ = ["StageEntry", "StudyContext", "StudyResults", "read_records"]


@dataclass(frozen=True)
class StudyContext:
    """What a study turned out to be when it met its model and device.

    Attributes:
        digest: Digest of all that a cell's figures depend on beside its configuration.
        device: What the device says of itself.
        versions: Versions of the tools, by name.
        model: What the model turned out to be: format, inputs, outputs, metric.
        baseline: The configuration that every figure is compared with.
        cells: Number of distinct configurations that can work.
        configurations: Number of configurations of the space as written.
        refusals: For each reason the number of configurations that it rules out before anything is spent.
        started_at: When its latest run started, as an ISO time in UTC.
    """

    digest: str
    device: Mapping[str, Any]
    versions: Mapping[str, str]
    model: Mapping[str, Any]
    baseline: Mapping[str, Any]
    cells: int
    configurations: int
    refusals: Mapping[str, int]
    started_at: str


@dataclass(frozen=True)
class StageEntry:
    """One line of the ledger of stages.

    Attributes:
        stage: The stage's name.
        key: Its key.
        event: `run`, `hit` (reused from the store or from a run under way) or `failed`.
        seconds: What the run took; for a hit, what it saved.
    """

    stage: str
    key: str
    event: str
    seconds: float


@dataclass(frozen=True)
class StudyResults:
    """A run as it stands.

    Attributes:
        directory: Where it lies.
        spec: The study as it was run.
        context: What it turned out to be.
        records: The latest record of each finished cell, in the order in which they finished.
        ledger: Every stage that was run or reused, all runs together.
        confirmations: The latest confirmed figures of each cell that was measured again, by cell.
    """

    directory: RunDirectory
    spec: StudySpec
    context: StudyContext
    records: tuple[CellRecord, ...]
    ledger: tuple[StageEntry, ...]
    confirmations: Mapping[str, Confirmation] = field(default_factory=dict)

    @classmethod
    def read(cls, directory: RunDirectory) -> StudyResults:
        """Reads a run directory.

        Raises:
            InputError: If there is no run in it, or one of another version of litefront.
        """
        try:
            content = json.loads(directory.study.read_text(encoding="utf-8"))
            spec = StudySpec.model_validate(content["spec"])
            context = StudyContext(**content["context"])
            records = tuple(read_records(directory, context.digest).values())
            ledger = tuple(StageEntry(**line) for line in read_json_lines(directory.stages))
            confirmations = read_confirmations(directory, context.digest)
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(
                f"There must be a run to read, but there is none in {directory.path}; `litefront run STUDY` makes one."
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{directory.path} cannot be read by this version of litefront: {error}") from None
        return cls(directory, spec, context, records, ledger, confirmations)

    @cached_property
    def baseline(self) -> CellRecord | None:
        """The baseline's record; None as long as it is not measured."""
        config = DeploymentConfig.from_params(self.context.baseline)
        return next((record for record in self.records if record.config == config and _is_complete(record)), None)

    @cached_property
    def measured(self) -> tuple[CellRecord, ...]:
        """The cells of the study's space that have all their figures and hold what the study asks.

        A baseline outside the space is measured to compare with, but it is no choice.
        """
        return tuple(record for record in self.deployable if record.state is CellState.MEASURED)

    @cached_property
    def deployable(self) -> tuple[CellRecord, ...]:
        """The measured cells, and those that only the study's load rules out: a tier may have a lower one."""
        space = {canonical(config) for config in self.spec.space.search_space().configurations()}
        kept = (r for r in self.records if r.state is CellState.MEASURED or r.rejected_by == "load")
        return tuple(record for record in kept if record.config in space)


def _is_complete(record: CellRecord) -> bool:
    return "latency_ms" in record.figures


def read_records(directory: RunDirectory, context_digest: str) -> dict[str, CellRecord]:
    """The latest record of each cell that belongs to this context, by cell."""
    lines = read_json_lines(directory.cells)
    records = (CellRecord.from_json(line["record"]) for line in lines if line.get("context") == context_digest)
    return {record.cell: record for record in records}
