"""Starts `litefront run` in a process group of its own, and watches it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["end_group", "litefront_run", "run_and_watch", "run_to_its_end", "started"]

_LITEFRONT = Path(sys.executable).with_name("litefront")


@contextlib.contextmanager
def started(command: Sequence[object], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a command in a process group of its own, which does not outlive the block.

    Args:
        command: The command and its arguments.
        log: Takes what it prints.
    """
    with open(log, "ab") as file:
        process = subprocess.Popen([str(part) for part in command], stdout=file, stderr=file, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            end_group(process)


def litefront_run(
    study: str, folder: Path, *options: str
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """Starts a study; what it prints goes to `<folder>.txt`."""
    command = [_LITEFRONT, "run", study, "--run-dir", folder, *options]
    return started(command, folder.with_name(f"{folder.name}.txt"))


def run_to_its_end(study: str, folder: Path, *options: str) -> float:
    """Runs a study and gives the seconds that it took, from the start of its process to its end."""
    started_at = time.monotonic()
    with litefront_run(study, folder, *options) as process:
        code = process.wait()
    assert code == 0, f"litefront run {study} ended with {code}; see {folder}.txt"
    return time.monotonic() - started_at


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kills the process and all that stayed in its group with SIGKILL, and waits for its end."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_and_watch(study: str, folder: Path) -> tuple[float, int]:
    """Seconds that a run took, and the most memory that its processes held together (proportional set size)."""
    known = _processes()
    peak = 0
    ended = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(1.0):
            peak = max(peak, sum(_memory_bytes(pid) for pid in _processes() - known))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        seconds = run_to_its_end(study, folder)
    finally:
        ended.set()
        watcher.join()
    return seconds, peak


def _processes() -> set[int]:
    """All processes of this machine; Ray's daemons leave their parent's tree, so a tree would miss them."""
    return {int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()}


def _memory_bytes(pid: int) -> int:
    """Proportional set size: pages that several processes share count once."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except (OSError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
