"""What compression promises: smaller and faster at a stated loss, on the models of the ready-made studies.

    .venv/bin/python tests/benchmarks/compression.py [STUDY ...] [--folder DIR]

Runs the studies that are named, or all: about two hours on two idle cores; the data of `mobilenet`, `minilm` and
`faces` is fetched before, by their `fetch.py`. Runs are kept in DIR and found there again. Every ratio is against the
study's own float32, on XNNPACK, with the same threads and batch. One line of JSON a figure, the machine first; for each
goal the cell that comes nearest to it, whether it holds or not.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness.compressed_runs import CompressedRun, Member, run_study
from harness.figures import figure, machine
from parts.compression_goals import Goal, tell
from parts.compression_recovery import tell_recovery


def _whole(member: Member) -> bool:
    return not member.record.config.sparsity


_QUANTIZED = Goal("mobilenet at a quarter", size=0.27, latency=0.34, lost=0.01)
_PLAIN = Goal("mobilenet quantized, whole", size=0.27, latency=0.34, lost=0.01, counts=_whole)
_STRUCTURED = Goal("mobilenet with channels removed", size=0.10, latency=0.20, lost=0.03)
_TEXT = Goal("minilm", size=0.125, latency=0.20, lost=0.05, as_share=True)


def _half_the_channels(member: Member) -> bool:
    config = member.record.config
    return config.sparsity.value == "channel:0.5" and config.quantization.value == "float32" and not config.clusters


_CHANNELS_ALONE = Goal("mnist with half the channels", latency=0.45, lost=0.01, counts=_half_the_channels)


def mobilenet(folder: Path) -> None:
    """MobileNetV1: static int8, and structured pruning with it."""
    run = run_study("mobilenet", folder)
    trained = [entry.seconds for entry in run.results.ledger if entry.stage == "base" and entry.event == "run"]
    if trained:
        figure("mobilenet: training", round(sum(trained)), "s", "<= 1200", sum(trained) <= 1200)
    for goal in (_QUANTIZED, _PLAIN, _STRUCTURED):
        tell(goal, run.members)
    _tell_run("mobilenet", run)


def minilm(folder: Path) -> None:
    """A BERT: an eighth of the size, five times the speed; what int8 loses and what wins it back."""
    run = run_study("minilm", folder)
    tell(_TEXT, run.members)
    tell_recovery(run)
    _tell_run("minilm", run, most_s=3600)


def mnist(folder: Path) -> None:
    """The demo's net: structured pruning alone."""
    space = {"sparsity": [0.0, "channel:0.5"], "quantization": ["float32"], "delegate": ["xnnpack"]}
    changes = {"space": space | {"num_threads": [1], "batch_size": [1]}, "budget": {}, "tiers": {}}
    run = run_study("mnist", folder, changes=changes, as_name="mnist_channels")
    tell(_CHANNELS_ALONE, run.members)


def faces(folder: Path) -> None:
    """A packaged `.tflite` without training data: a front by fidelity."""
    run = run_study("faces", folder)
    _tell_run("faces", run, most_s=300)


def _tell_run(name: str, run: CompressedRun, most_s: float | None = None) -> None:
    """Prints how long the run took, and its front."""
    if run.seconds is not None:
        goal = "" if most_s is None else f"<= {most_s:g}"
        figure(f"{name}: whole run", round(run.seconds), "s", goal, None if most_s is None else run.seconds <= most_s)
    figure(f"{name}: cells on the front", len(run.front), "cells", "> 0", bool(run.front))
    for member in sorted((member for member in run.members if member.on_front), key=lambda member: member.latency):
        figure(f"{name}: front member", member.words(), "", "", None)


STUDIES: dict[str, Callable[[Path], None]] = {
    "mobilenet": mobilenet,
    "minilm": minilm,
    "mnist": mnist,
    "faces": faces,
}


def main() -> None:
    """Prints the figures of the studies that are asked for."""
    parser = argparse.ArgumentParser(description="Measures compression.")
    parser.add_argument("studies", nargs="*", metavar="STUDY", help=f"any of {', '.join(STUDIES)}; all by default")
    parser.add_argument("--folder", type=Path, help="keeps the runs here, and takes those that are here")
    options = parser.parse_args()
    if unknown := set(options.studies) - STUDIES.keys():
        parser.error(f"a study must be one of {', '.join(STUDIES)}, but got {', '.join(sorted(unknown))}")
    machine()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.folder or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for name in options.studies or STUDIES:
            STUDIES[name](folder)


if __name__ == "__main__":
    main()
