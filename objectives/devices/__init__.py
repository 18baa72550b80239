"""The devices that measure, one module a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from litefront.objectives.devices.android import AndroidDevice
from litefront.objectives.devices.device import Candidate, DelegateFacts, Device, DeviceFacts
from litefront.objectives.devices.host import HostDevice
from litefront.objectives.devices.profile import ProfileDevice
from litefront.objectives.devices.ssh import SshDevice

__all__ = [
    "DEVICE_KINDS",
    "AndroidDevice",
    "Candidate",
    "DelegateFacts",
    "Device",
    "DeviceFacts",
    "HostDevice",
    "ProfileDevice",
    "SshDevice",
    "open_device",
]

DEVICE_KINDS: dict[str, Callable[..., Device]] = {
    "host": HostDevice,
    "ssh": SshDevice,
    "android": AndroidDevice,
    "profile": ProfileDevice,
}
"""What makes each device kind, by its name in a study file."""


def open_device(settings: Mapping[str, Any]) -> Device:
    """Makes the device that an entry of a study describes.

    Args:
        settings: Its `kind`, and what that kind's constructor takes, as plain values.
    """
    return DEVICE_KINDS[settings["kind"]](**{name: value for name, value in settings.items() if name != "kind"})
