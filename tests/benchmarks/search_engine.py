"""What the search engine promises: against other searches, against lower bounds, and when things go wrong.

    .venv/bin/python tests/benchmarks/search_engine.py [PART ...] [--folder DIR] [--quick]

Runs the parts that are named, or all: about an hour and a quarter on two cores, most of it for the runs that several
parts share (each is made once, and found again in DIR) and for the search that litefront is compared with. One line of
JSON a figure, the machine first. `--quick` takes every part once in a short form; its figures promise nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness.figures import machine
from harness.shared_runs import FULL, QUICK, SharedRuns
from parts import against_ray_tune, cluster, cost_awareness, engine_cost, kills, repeatability, whole_run

PARTS: dict[str, Callable[[SharedRuns], None]] = {
    "whole-run": whole_run.measure,
    "ray-tune": against_ray_tune.measure,
    "repeatability": repeatability.measure,
    "cost-awareness": cost_awareness.measure,
    "engine-cost": engine_cost.measure,
    "kills": kills.measure,
    "cluster": cluster.measure,
}


def main() -> None:
    """Prints the figures of the parts that are asked for."""
    parser = argparse.ArgumentParser(description="Measures the search engine.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; all by default")
    parser.add_argument("--folder", type=Path, help="keeps the runs here, and takes finished ones from here")
    parser.add_argument("--quick", action="store_true", help="a short form, to see that all parts run")
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"a part must be one of {', '.join(PARTS)}, but got {', '.join(sorted(unknown))}")
    machine()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.folder or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        runs = SharedRuns(folder, QUICK if options.quick else FULL)
        for name in options.parts or PARTS:
            PARTS[name](runs)


if __name__ == "__main__":
    main()
