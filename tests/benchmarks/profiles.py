"""How good the profiles' modelled times and energies are, against what others published.

`profiles.py` prints all figures, a line of JSON each; `profiles.py latency` those of one part. `profiles.py shares`
prints the kernel shares that the profiles hold, fitted anew to the published latencies of MobileNetV1 and V2.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from harness.figures import machine
from parts import profile_latency, profile_power

PARTS: dict[str, Callable[[], None]] = {
    "latency": profile_latency.measure,
    "power": profile_power.measure,
    "shares": profile_latency.print_shares,
}


def main() -> None:
    """Prints the figures of the parts that are asked for."""
    parser = argparse.ArgumentParser(description="Compares the profiles with published figures.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; latency and power else")
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"a part must be one of {', '.join(PARTS)}, but got {', '.join(sorted(unknown))}")
    machine()
    for name in options.parts or ("latency", "power"):
        PARTS[name]()


if __name__ == "__main__":
    main()
