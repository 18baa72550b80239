"""Runs one stage, in whichever process it is, and keeps what it leaves."""

from __future__ import annotations

import errno
import time
import traceback
from dataclasses import dataclass

from litefront.search.building_stages import BUILDING_STAGES
from litefront.search.device_stages import DEVICE_STAGES
from litefront.search.run_directory import explain_os_error
from litefront.search.stage_calls import StageCall
from litefront.search.store import ArtifactStore, StageRecord
from litefront.search.task_loading import explain_user_error
from litefront.search.workplace import Workplace
from litefront.spaces.errors import CandidateError, LitefrontError, StoreError

__all__ = ["StageDone", "run_stage"]

_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})

_STAGES = {**BUILDING_STAGES, **DEVICE_STAGES}


@dataclass(frozen=True)
class StageDone:
    """How one call of a stage ended: with a record, with an error, or with neither, by nobody's fault.

    Attributes:
        call: The call.
        record: What it left; None if it failed.
        error: Why it failed; None if it did not.
        details: The traceback of an error that nobody foresaw, for the log.
        lost: What took the stage away, such as its machine's end; empty if it came to an end of its own.
        began: Whether it ran at all before it was lost.
    """

    call: StageCall
    record: StageRecord | None = None
    error: LitefrontError | None = None
    details: str = ""
    lost: str = ""
    began: bool = True


def run_stage(call: StageCall, workplace: Workplace) -> StageDone:
    """Runs one stage and keeps what it leaves; whatever goes wrong comes back as an error of ours."""
    start = time.perf_counter()
    try:
        with workplace.store.scratch() as folder:
            output = _STAGES[call.stage](call, workplace, folder)
            objects = {name: workplace.store.add_object(path) for name, path in output.files.items()}
        record = StageRecord(call.stage, call.key, objects, dict(output.facts), time.perf_counter() - start)
        workplace.store.add(record)
        return StageDone(call, record)
    except LitefrontError as error:
        return StageDone(call, error=error, details=traceback.format_exc())
    except OSError as error:
        return StageDone(call, error=_blame(error, call, workplace.store), details=traceback.format_exc())
    except Exception as error:
        # The tools of a stage raise whatever their layers raise; it costs the cell that asked, with the reason.
        reason = f"{call.stage}: {explain_user_error(error)}"
        return StageDone(call, error=CandidateError(reason), details=traceback.format_exc())


def _blame(error: OSError, call: StageCall, store: ArtifactStore) -> LitefrontError:
    """The disk's own troubles end the run, since no candidate can be blamed for them."""
    if error.errno in _DISK_ERRORS:
        return StoreError(f"{store.root} cannot be written: {explain_os_error(error)}")
    return CandidateError(f"{call.stage}: {error.strerror or error}")
