"""What a study may say of a device, and the device that comes of it."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from litefront.objectives.devices import DEVICE_KINDS, HostDevice
from litefront.search.device_spec import DEVICE_SPECS, BaseDeviceSpec, DeviceSpec

READER: TypeAdapter[BaseDeviceSpec] = TypeAdapter(DeviceSpec)


def test_every_kind_of_device_can_be_said_in_a_study() -> None:
    assert DEVICE_SPECS.keys() == DEVICE_KINDS.keys()


def test_a_device_is_made_from_its_settings_and_not_from_what_the_search_makes_of_it() -> None:
    spec = READER.validate_python({"kind": "host", "missing_delegates": "error", "software_delegates": True})
    assert spec.settings() == {"kind": "host", "delegates": {}}
    assert isinstance(spec.open(), HostDevice)


def test_a_spec_goes_through_json_whole() -> None:
    spec = READER.validate_python({"kind": "host", "partial_delegation": "keep"})
    assert READER.validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize("entry", [{"kind": "toaster"}, {}, 3, {"kind": "host", "serial": "1"}])
def test_what_is_no_device_is_refused(entry: object) -> None:
    with pytest.raises(ValidationError):
        READER.validate_python(entry)
