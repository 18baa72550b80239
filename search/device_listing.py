"""What devices can measure, delegate by delegate, and why not the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from litefront.objectives.devices import DeviceFacts
from litefront.search.device_spec import DEVICE_SPECS, BaseDeviceSpec
from litefront.spaces.delegate import Delegate
from litefront.spaces.errors import InputError

__all__ = ["device_rows"]

_RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


def device_rows(devices: Mapping[str, BaseDeviceSpec] | None = None) -> list[dict[str, str]]:
    """A row for each device, each delegate on it, and energy counters: whether it is there, and what or why not.

    Args:
        devices: The devices by their names, as a study describes them; by default one of each kind that needs no
            description, and what the other kinds need.
    """
    if devices is None:
        needs = {kind: _required_keys(spec) for kind, spec in DEVICE_SPECS.items()}
        rows = device_rows({kind: DEVICE_SPECS[kind](kind=kind) for kind, keys in needs.items() if not keys})
        words = {kind: f"it needs an entry in a study, with {', '.join(keys)}" for kind, keys in needs.items() if keys}
        return rows + [_row(kind, refusal=text) for kind, text in words.items()]
    rows = []
    for name, device in devices.items():
        try:
            facts = device.open().probe(tuple(Delegate))
        except InputError as error:
            rows.append(_row(name, refusal=str(error)))
            continue
        detail = f"{facts.processor}, {facts.cores} cores, {facts.machine}, {facts.runtime}"
        rows.append(_row(name, detail))
        refusals = facts.refusals()
        rows += [
            _row(f"{name}, delegate {delegate}", _implementation(facts, delegate), refusals.get(delegate))
            for delegate in Delegate
        ]
        if device.kind == "host":
            rows.append(_row(f"{name}, energy counters", refusal=_counter_refusal()))
    return rows


def _required_keys(spec: type[BaseDeviceSpec]) -> list[str]:
    return [name for name, key in spec.model_fields.items() if key.is_required()]


def _row(what: str, found: str = "", refusal: str | None = None) -> dict[str, str]:
    return {
        "what": what,
        "can_measure": "yes" if refusal is None else "no",
        "because": found if refusal is None else refusal,
    }


def _implementation(facts: DeviceFacts, delegate: Delegate) -> str:
    found = facts.delegates.get(delegate)
    if found is None:
        return ""
    text = found.implementation or f"built into {facts.runtime}"
    return f"{text}, in software: its times mean nothing" if found.is_software else text


def _counter_refusal() -> str:
    """Why power is modelled here."""
    if not _RAPL.exists():
        return f"the kernel shows none ({_RAPL.parent} is absent): power is modelled"
    return "the kernel shows RAPL counters, which this version does not read: power is modelled"
