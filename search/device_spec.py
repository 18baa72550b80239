"""What a study says of its devices: one model a kind, whose keys are what that kind of device is made from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from litefront.objectives.device_profile import is_profile_file, profile_names, read_profile
from litefront.objectives.devices import DEVICE_KINDS, Device, open_device
from litefront.objectives.power import POWER_MODELS

__all__ = [
    "DEVICE_SPECS",
    "AndroidDelegatesSpec",
    "AndroidGpuSpec",
    "AndroidNnapiSpec",
    "AndroidSpec",
    "BaseDeviceSpec",
    "DelegatesSpec",
    "DeviceSpec",
    "ExternalDelegateSpec",
    "GpuDelegateSpec",
    "HostSpec",
    "NpuDelegateSpec",
    "ProfileSpec",
    "SshSpec",
]

# What the search makes of a device's answers; the device itself does not need to know.
_POLICY = ("kind", "missing_delegates", "partial_delegation", "software_delegates")


class GpuDelegateSpec(BaseModel):
    """How LiteRT's GPU accelerator computes.

    Attributes:
        precision: `auto` lets it compute in half precision where the GPU can; `float32` does not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    precision: Literal["auto", "float32"] = "auto"


class NpuDelegateSpec(BaseModel):
    """Which vendor's dispatch library runs the graph, and how.

    Attributes:
        vendor: The vendor's name as LiteRT has it (`intel_openvino`, `qualcomm`, ...); by default the first whose
            libraries are installed.
        backend: What Intel's OpenVINO compiles for; its NPU by default. Its CPU counts as software.
        dispatch_library: The folder of the dispatch library on the device, where it is not LiteRT's own.
        compiler_plugin: The folder of the compiler plugin likewise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    vendor: str | None = None
    backend: Literal["CPU", "GPU", "NPU"] | None = None
    dispatch_library: str | None = None
    compiler_plugin: str | None = None

    @model_validator(mode="after")
    def _check_backend(self) -> Self:
        if self.backend is not None and self.vendor not in (None, "intel_openvino"):
            raise ValueError(f"`backend` is for the vendor intel_openvino, but got the vendor {self.vendor}.")
        return self


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

    gpu: GpuDelegateSpec | None = None
    npu: NpuDelegateSpec | None = None
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

    def beside(self, folder: Path) -> Self:
        """The same with the external delegate's library found from anywhere; see `BaseDeviceSpec`."""
        external = self.delegates.external
        # A bare name that is no file is for the system's loader to find.
        if external is None or not (folder / external.library).is_file():
            return self
        found = external.model_copy(update={"library": str((folder / external.library).resolve())})
        return self.model_copy(update={"delegates": self.delegates.model_copy(update={"external": found})})


class AndroidGpuSpec(BaseModel):
    """How `benchmark_model` makes its GPU delegate; what is left out is the tool's own default.

    Attributes:
        precision_loss_allowed: Whether float32 may be computed in float16.
        backend: OpenCL (`cl`) or OpenGL (`gl`), with an error where that one is not there.
        sustained_speed: Whether it prepares for many calls instead of one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    precision_loss_allowed: bool | None = None
    backend: Literal["cl", "gl"] | None = None
    sustained_speed: bool | None = None


class AndroidNnapiSpec(BaseModel):
    """How `benchmark_model` makes its NNAPI delegate; what is left out is the tool's own default.

    Attributes:
        accelerator_name: The accelerator; without one any but NNAPI's own CPU kernels.
        execution_preference: What the accelerator is to save.
        allow_fp16: Whether float32 may be computed in float16.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    accelerator_name: str | None = None
    execution_preference: Literal["fast_single_answer", "sustained_speed", "low_power"] | None = None
    allow_fp16: bool | None = None


class AndroidDelegatesSpec(BaseModel):
    """What a phone's delegates are created with; NNAPI and an external delegate are offered only if they stand here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gpu: AndroidGpuSpec | None = None
    nnapi: AndroidNnapiSpec | None = None
    external: ExternalDelegateSpec | None = None

    @model_validator(mode="after")
    def _check_external(self) -> Self:
        if self.external is None:
            return self
        if not self.external.library.startswith("/"):
            raise ValueError(
                f"`external.library` must be a whole path on the phone, but got {self.external.library!r}."
            )
        # The tool splits them there, and leaves out without a word what does not come to a name and a value.
        pairs = self.external.options.items()
        if wrong := [name for name, value in pairs if set(":;") & set(f"{name}{value}")]:
            raise ValueError(f"`external.options` must not hold `:` or `;`, but {', '.join(wrong)} does.")
        return self


def _power_model(name: str) -> str:
    if name not in POWER_MODELS:
        raise ValueError(f"`power` must be one of {', '.join(POWER_MODELS)}, but got {name!r}.")
    return name


_ON_A_PHONE = "/data/local/tmp/"


class AndroidSpec(BaseDeviceSpec):
    """A phone, through `adb` and LiteRT's `benchmark_model`.

    Attributes:
        serial: The phone's, as `adb devices` lists it; needed where several are attached.
        benchmark_model: The tool: a file on this machine, or on the phone under /data/local/tmp.
        adb: The adb client.
        cpu_mask: Cores that candidates may use, hexadecimal as `taskset` takes it, in quotes.
        max_thermal_status: Highest thermal status at which figures are taken: 0 none, 1 light, ... 6 shutdown.
        cool_down_s: How long a hotter phone is waited for, seconds.
        fixed_performance: Whether Android's fixed-performance mode is on while figures are taken (Android 11).
        power: How power is estimated there.
        delegates: Options of its delegates.
    """

    kind: Literal["android"] = "android"
    serial: str | None = Field(default=None, min_length=1)
    benchmark_model: str = f"{_ON_A_PHONE}benchmark_model"
    adb: str = "adb"
    cpu_mask: str | None = Field(default=None, pattern="^(0x)?0*[1-9a-fA-F][0-9a-fA-F]*$")
    max_thermal_status: int = Field(default=0, ge=0, le=6)
    cool_down_s: float = Field(default=300.0, ge=0)
    fixed_performance: bool = False
    power: Annotated[str, AfterValidator(_power_model)]
    delegates: AndroidDelegatesSpec = AndroidDelegatesSpec()

    def beside(self, folder: Path) -> Self:
        """The same with the tool, and a client that is a path, taken from the study's folder."""
        changes = {"benchmark_model": str(folder / self.benchmark_model)}
        if "/" in self.adb:
            changes["adb"] = str(folder / self.adb)
        return self.model_copy(update=changes)


class SshSpec(BaseDeviceSpec):
    """A Linux board that the user's own OpenSSH client reaches.

    Attributes:
        host: The board, as ssh takes it: a name, `user@name`, or a host of the ssh configuration.
        power: What its power is modelled with.
        python: Its Python, with numpy and ai-edge-litert: on its path, absolute, or relative to its home directory.
        folder: Where files are kept there, relative to its home directory.
        delegates: Options of its delegates; paths in them are the board's.
        connect_timeout_s: How long it may take to answer.
        config: An ssh configuration in the place of the user's own, relative to the study's folder.
        max_absence_s: How long a board that is lost during a study is waited for.
        cool_down_s: Pause before a measurement is taken again that throttling has spoilt.
    """

    kind: Literal["ssh"] = "ssh"
    # What begins with a hyphen would be an option of ssh.
    host: str = Field(pattern=r"^[^\s-]\S*$")
    power: Annotated[str, AfterValidator(_power_model)]
    python: str = Field(default="python3", min_length=1)
    folder: str = Field(default=".cache/litefront", min_length=1)
    delegates: DelegatesSpec = DelegatesSpec()
    connect_timeout_s: int = Field(default=10, ge=1)
    config: str | None = None
    max_absence_s: float = Field(default=180.0, ge=0)
    cool_down_s: float = Field(default=60.0, ge=0)

    def beside(self, folder: Path) -> Self:
        """The same with `config` taken from the study's folder."""
        if self.config is None:
            return self
        return self.model_copy(update={"config": str(folder / Path(self.config).expanduser())})


class ProfileSpec(BaseDeviceSpec):
    """A device that is not at hand: its figures are modelled from a data sheet.

    Attributes:
        profile: A profile's name, a `.yaml` file relative to the study, or what such a file holds.
    """

    kind: Literal["profile"] = "profile"
    profile: str | dict[str, Any]

    @field_validator("profile")
    @classmethod
    def _check_name(cls, profile: str | dict[str, Any]) -> str | dict[str, Any]:
        if isinstance(profile, str) and not is_profile_file(profile) and profile not in profile_names():
            known = ", ".join(profile_names())
            raise ValueError(f"`profile` must be a .yaml file, or one of {known}, but got {profile!r}.")
        return profile

    def beside(self, folder: Path) -> Self:
        """The same with the contents of the user's file in its place: a run is whole without it."""
        if isinstance(self.profile, str) and not is_profile_file(self.profile):
            return self
        source = folder / self.profile if isinstance(self.profile, str) else self.profile
        return self.model_copy(update={"profile": read_profile(source).model_dump(mode="json", exclude_none=True)})


DEVICE_SPECS: dict[str, type[BaseDeviceSpec]] = {
    "host": HostSpec,
    "ssh": SshSpec,
    "android": AndroidSpec,
    "profile": ProfileSpec,
}
"""What an entry says, by its kind."""


def _check_kind(entry: Any) -> Any:
    kind = _kind_of(entry)
    if kind not in DEVICE_KINDS:
        raise ValueError(f"`kind` must be one of {', '.join(DEVICE_KINDS)}, but got {kind!r}.")
    return entry


def _kind_of(entry: Any) -> Any:
    return entry.get("kind") if isinstance(entry, dict) else getattr(entry, "kind", None)


DeviceSpec = Annotated[
    Annotated[HostSpec, Tag("host")]
    | Annotated[SshSpec, Tag("ssh")]
    | Annotated[AndroidSpec, Tag("android")]
    | Annotated[ProfileSpec, Tag("profile")],
    Discriminator(_kind_of),
    BeforeValidator(_check_kind),
]
"""One device of a study."""
