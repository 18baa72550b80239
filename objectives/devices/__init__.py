"""The devices that measure, one module a kind."""

from __future__ import annotations

from litefront.objectives.devices.device import Candidate, Device, DeviceFacts
from litefront.objectives.devices.host import HostDevice

__all__ = ["DEVICE_KINDS", "Candidate", "Device", "DeviceFacts", "HostDevice"]

DEVICE_KINDS: dict[str, type[HostDevice]] = {"host": HostDevice}
"""Every device kind by its name in a study file."""
