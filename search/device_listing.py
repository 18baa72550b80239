"""What this machine can measure, and why not the rest."""

from __future__ import annotations

from pathlib import Path

from litefront.objectives.devices import DeviceFacts
from litefront.search.device_spec import DEVICE_SPECS
from litefront.spaces.delegate import Delegate
from litefront.spaces.errors import InputError

__all__ = ["device_rows"]

_RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


def device_rows() -> list[dict[str, str]]:
    """One row a device kind, its delegates and its energy counters: whether it is there, and what or why not."""
    rows = []
    for kind, spec in DEVICE_SPECS.items():
        if needed := [name for name, key in spec.model_fields.items() if key.is_required()]:
            because = f"it needs an entry in a study, with {', '.join(needed)}"
            rows.append({"what": kind, "can_measure": "no", "because": because})
            continue
        try:
            facts = spec(kind=kind).open().probe()
        except InputError as error:
            rows.append({"what": kind, "can_measure": "no", "because": str(error)})
            continue
        detail = f"{facts.processor}, {facts.cores} cores, {facts.machine}, {facts.runtime}"
        rows.append({"what": kind, "can_measure": "yes", "because": detail})
        refusals = facts.refusals()
        rows += [
            {
                "what": f"{kind}, delegate {delegate}",
                "can_measure": "no" if delegate in refusals else "yes",
                "because": refusals.get(delegate) or _implementation(facts, delegate),
            }
            for delegate in Delegate
        ]
    rows.append({"what": "host, energy counters", "can_measure": "no", "because": _counter_refusal()})
    return rows


def _implementation(facts: DeviceFacts, delegate: Delegate) -> str:
    found = facts.delegates[delegate]
    text = found.implementation or f"built into {facts.runtime}"
    return f"{text}, in software: its times mean nothing" if found.is_software else text


def _counter_refusal() -> str:
    """Why power is modelled here."""
    if not _RAPL.exists():
        return f"the kernel shows none ({_RAPL.parent} is absent): power is modelled"
    return "the kernel shows RAPL counters, which this version does not read: power is modelled"
