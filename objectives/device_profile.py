"""A device's data sheet as a file: what a model of its time and power needs, each number with its source.

The profiles that come with litefront lie in `profiles/`; a study may name one of them, or a file of its own in the same
form. Unknown keys are errors, and so is a number without a source. Numbers that nobody published are marked `assumed`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from litefront.spaces.errors import InputError

__all__ = [
    "AcceleratorSheet",
    "ClusterSheet",
    "DeviceProfile",
    "MemorySheet",
    "RateSheet",
    "SheetNumber",
    "is_profile_file",
    "profile_names",
    "read_profile",
]

_FOLDER = Path(__file__).parent / "profiles"
_SUFFIXES = (".yaml", ".yml")


class _Sheet(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SheetNumber(_Sheet):
    """One number.

    Attributes:
        value: The number, in the unit that its key names.
        source: Where it comes from: a publication, a table, or what it was fitted to.
        assumed: Whether nobody published it.
        sigma: How far off it may be: standard deviation of its logarithm; None for the usual of its kind.
    """

    value: float = Field(ge=0)
    source: str = Field(min_length=1)
    assumed: bool = False
    sigma: float | None = Field(default=None, ge=0)


class RateSheet(_Sheet):
    """A number for each kind of arithmetic."""

    float32: SheetNumber
    int8: SheetNumber


class ClusterSheet(_Sheet):
    """Cores of one kind.

    Attributes:
        core: What they are called.
        cores: How many.
        ghz: Clock under load, GHz.
        macs_per_cycle: Multiply-accumulates that a core can issue each cycle.
        kernel_share: The share of these that XNNPACK's matrix kernels reach there with one thread. Its `sigma` is the
            error of the times on these cores.
        core_w: Power of one busy core above idle, on scalar integer code, W.
    """

    core: str
    cores: SheetNumber
    ghz: SheetNumber
    macs_per_cycle: RateSheet
    kernel_share: RateSheet
    core_w: SheetNumber


class MemorySheet(_Sheet):
    """Memory and the caches before it.

    Attributes:
        gb_per_s: What the cores can stream from and to memory together, GB/s.
        last_level_cache_bytes: The largest cache that the cores share.
        pj_per_byte: Energy of moving a byte from or to memory, pJ.
    """

    gb_per_s: SheetNumber
    last_level_cache_bytes: SheetNumber
    pj_per_byte: SheetNumber


class AcceleratorSheet(_Sheet):
    """What computes beside the cores.

    Attributes:
        implementation: What it is.
        gmacs_per_s: Billions of multiply-accumulates a second that its kernels reach, by arithmetic; operators in one
            that is not there stay on the cores.
        gb_per_s: What it reads weights with, and values that it does not keep to itself, GB/s.
        keeps_values: Whether values between operators stay inside it.
        call_ms: Cost of handing a call over, ms.
        load_ms: Cost of starting it, ms.
        watts: Power above idle of the whole device while it computes, W.
        cpu_energy_ratio: Energy of a call as a share of what one core takes for the same; used in place of `watts`
            where the core's time is known.
        max_batch_size: Rows a call at most; None for no limit.
        error: How far off its times may be: standard deviation of their logarithm.
    """

    implementation: str
    gmacs_per_s: dict[Literal["float32", "int8"], SheetNumber] = Field(min_length=1)
    gb_per_s: SheetNumber
    keeps_values: bool = False
    call_ms: SheetNumber
    load_ms: SheetNumber
    watts: SheetNumber
    cpu_energy_ratio: SheetNumber | None = None
    max_batch_size: int | None = Field(default=None, ge=1)
    error: SheetNumber


class DeviceProfile(_Sheet):
    """A device that is known from its data sheet.

    Attributes:
        name: Its name, which its figures bear.
        summary: What it is, in a line.
        machine: The cores' architecture.
        clusters: Its cores, in the order in which threads take them.
        memory: Its memory.
        accelerators: What it has beside them.
        static_w: Power when idle, W; no part of any figure above idle.
        wake_us: Time to leave the deepest idle state, microseconds.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    summary: str
    machine: str
    clusters: tuple[ClusterSheet, ...] = Field(min_length=1)
    memory: MemorySheet
    accelerators: dict[Literal["gpu", "npu"], AcceleratorSheet] = Field(default_factory=dict)
    static_w: SheetNumber
    wake_us: SheetNumber

    @property
    def cores(self) -> int:
        """Number of all cores."""
        return sum(int(cluster.cores.value) for cluster in self.clusters)

    @property
    def cores_in_order(self) -> tuple[ClusterSheet, ...]:
        """The cluster of each core, in the order in which threads take them."""
        return tuple(cluster for cluster in self.clusters for _ in range(int(cluster.cores.value)))

    def accelerator(self, delegate: str) -> AcceleratorSheet | None:
        """What a delegate computes on; None for one that computes on the cores."""
        return next((sheet for name, sheet in self.accelerators.items() if name == delegate), None)

    @property
    def digest(self) -> str:
        """Changes with every number."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


def profile_names() -> tuple[str, ...]:
    """The profiles that come with litefront."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def is_profile_file(profile: str) -> bool:
    """Whether a name stands for a file of the user's, not for one of `profile_names`."""
    return profile.endswith(_SUFFIXES)


def read_profile(profile: str | Path | Mapping[str, Any]) -> DeviceProfile:
    """Reads a profile.

    Args:
        profile: The name of one that comes with litefront, a `.yaml` file, or what such a file holds.

    Raises:
        InputError: If there is none, or it is not valid: one problem a mistake.
    """
    if isinstance(profile, Mapping):
        return _checked(profile, str(profile.get("name", "the profile")))
    if is_profile_file(str(profile)):
        return _checked(_load(Path(profile)), str(profile))
    return _shipped(str(profile))


@cache
def _shipped(name: str) -> DeviceProfile:
    if name not in profile_names():
        known = ", ".join(profile_names())
        raise InputError(f"A profile must be a .yaml file, or one of {known}, but got {name!r}.")
    path = _FOLDER / f"{name}.yaml"
    return _checked(_load(path), path.name)


def _load(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"A profile must be a file that can be read, but {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"A profile must be YAML, but {path}: {' '.join(str(error).split())}.") from error


def _checked(content: Any, where: str) -> DeviceProfile:
    try:
        return DeviceProfile.model_validate(content)
    except ValidationError as error:
        raise InputError([f"{where}: {problem}" for problem in _problems(error)]) from None


def _problems(error: ValidationError) -> Iterator[str]:
    for detail in error.errors():
        # Where a dictionary's key is wrong, pydantic puts `[key]` behind it.
        place = [part for part in detail["loc"] if part != "[key]"]
        at = ".".join(map(str, place)) or "the profile"
        if detail["type"] == "extra_forbidden":
            yield f"{at}: Unknown key; valid here: {', '.join(_valid_keys(place[:-1]))}."
        elif detail["type"] == "missing":
            yield f"{at}: This key must be given."
        else:
            yield f"{at}: {detail['msg']}, but got {detail['input']!r}."


def _valid_keys(place: list[int | str]) -> list[str]:
    """The keys of the sheet at this place of a profile."""
    sheet: Any = DeviceProfile
    for part in place:
        field = sheet.model_fields.get(part)
        sheet = (field and _sheet_in(field.annotation)) or sheet
    return list(sheet.model_fields)


def _sheet_in(annotation: Any) -> Any:
    """The sheet that an annotation holds, inside whatever containers; None if it holds none."""
    if hasattr(annotation, "model_fields"):
        return annotation
    sheets = (_sheet_in(argument) for argument in getattr(annotation, "__args__", ()))
    return next((sheet for sheet in sheets if sheet is not None), None)
