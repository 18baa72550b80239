"""What a study says of its devices: one model a kind, whose keys are what that kind of device is made from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from litefront.objectives.devices import DEVICE_KINDS, Device, open_device

__all__ = ["DEVICE_SPECS", "BaseDeviceSpec", "DelegatesSpec", "DeviceSpec", "ExternalDelegateSpec", "HostSpec"]

# What the search makes of a device's answers; the device itself does not need to know.
_POLICY = ("kind", "missing_delegates", "partial_delegation", "software_delegates")


class ExternalDelegateSpec(BaseModel):
    """A delegate as a library of its own.

    Attributes:
        library: Its path on the device.
        options: What it is created with, by name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    library: str
    options: dict[str, str | bool | int | float] = Field(default_factory=dict)


class DelegatesSpec(BaseModel):
    """What the delegates of a device that runs LiteRT are created with; one that is left out takes its defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    external: ExternalDelegateSpec | None = None


class BaseDeviceSpec(BaseModel):
    """What every kind of device may say.

    Attributes:
        kind: Which kind it is.
        missing_delegates: What becomes of a delegate of the space that is not there: its cells are left out, or the
            study ends with an error before anything is built.
        partial_delegation: What becomes of a cell of which a delegate ran only a part: rejected, or kept with the
            number of nodes that it ran.
        software_delegates: Whether cells on a delegate that a processor's code stands in for may be chosen; their
            times mean nothing, so they are otherwise measured for their answers alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: str
    missing_delegates: Literal["leave_out", "error"] = "leave_out"
    partial_delegation: Literal["reject", "keep"] = "reject"
    software_delegates: bool = False

    def settings(self) -> dict[str, Any]:
        """What the device is made from, as plain values; see `open_device`."""
        settings = self.model_dump(mode="json", exclude_none=True)
        kept = {name: value for name, value in settings.items() if name not in _POLICY}
        return {"kind": self.kind} | kept

    def open(self) -> Device:
        """Makes the device."""
        return open_device(self.settings())


class HostSpec(BaseDeviceSpec):
    """This machine, or a node of a cluster that offers the device.

    Attributes:
        delegates: Options of its delegates.
    """

    kind: Literal["host"] = "host"
    delegates: DelegatesSpec = DelegatesSpec()


DEVICE_SPECS: dict[str, type[BaseDeviceSpec]] = {"host": HostSpec}
"""What an entry says, by its kind."""


def _check_kind(entry: Any) -> Any:
    kind = _kind_of(entry)
    if kind not in DEVICE_KINDS:
        raise ValueError(f"`kind` must be one of {', '.join(DEVICE_KINDS)}, but got {kind!r}.")
    return entry


def _kind_of(entry: Any) -> Any:
    return entry.get("kind") if isinstance(entry, dict) else getattr(entry, "kind", None)


DeviceSpec = Annotated[
    Annotated[HostSpec, Tag("host")],
    Discriminator(_kind_of),
    BeforeValidator(_check_kind),
]
"""One device of a study."""
