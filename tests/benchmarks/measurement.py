"""What the measurements promise: against LiteRT's own tool, against themselves, and beside other work.

    .venv/bin/python tests/benchmarks/measurement.py [PART ...] [--quick]

Runs the parts that are named, or all: about ten minutes on an idle machine, two of them for building the models. One
line of JSON a figure, the machine first. `--quick` takes every part once in a short form; its figures promise nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness.figures import machine
from harness.measured_models import FULL, QUICK, MeasuredModels
from parts import against_litert, campaigns, isolation

PARTS: dict[str, Callable[[MeasuredModels], None]] = {
    "against-litert": against_litert.measure,
    "campaigns": campaigns.measure,
    "disturbance": campaigns.measure_disturbed,
    "isolation": isolation.measure,
}


def main() -> None:
    """Prints the figures of the parts that are asked for."""
    parser = argparse.ArgumentParser(description="Measures the measurements.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="a short form, to see that all parts run")
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"a part must be one of {', '.join(PARTS)}, but got {', '.join(sorted(unknown))}")
    machine()
    with tempfile.TemporaryDirectory() as scratch:
        models = MeasuredModels(Path(scratch), QUICK if options.quick else FULL)
        for name in options.parts or PARTS:
            PARTS[name](models)


if __name__ == "__main__":
    main()
