"""What this machine can measure: real answers of the real runner."""

from __future__ import annotations

import os
from importlib.metadata import version

import pytest

from litefront.search.device_listing import device_rows
from litefront.search.device_spec import DelegatesSpec, ExternalDelegateSpec, HostSpec, NpuDelegateSpec
from litefront.spaces.delegate import Delegate


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, str]]:
    return {row["what"]: row for row in device_rows()}


def rows_of(host: HostSpec) -> dict[str, dict[str, str]]:
    return {row["what"]: row for row in device_rows({"host": host})}


def test_the_host_can_measure_and_says_what_it_is(rows: dict[str, dict[str, str]]) -> None:
    host = rows["host"]
    assert host["can_measure"] == "yes"
    assert f"{len(os.sched_getaffinity(0))} cores" in host["because"]
    assert f"ai-edge-litert {version('ai-edge-litert')}" in host["because"]


def test_every_delegate_of_a_study_file_is_listed(rows: dict[str, dict[str, str]]) -> None:
    assert {f"host, delegate {delegate}" for delegate in Delegate} <= rows.keys()


def test_what_cannot_be_measured_has_a_reason(rows: dict[str, dict[str, str]]) -> None:
    counters = rows["host, energy counters"]
    assert counters["can_measure"] == "no"
    assert "power is modelled" in counters["because"]


def test_a_kind_that_needs_an_entry_says_what_it_must_hold(rows: dict[str, dict[str, str]]) -> None:
    assert rows["android"] == {
        "what": "android",
        "can_measure": "no",
        "because": "it needs an entry in a study, with power",
    }


def test_delegates_of_the_machine_without_an_entry(rows: dict[str, dict[str, str]]) -> None:
    for delegate in ("none", "xnnpack"):
        assert rows[f"host, delegate {delegate}"]["can_measure"] == "yes"
        assert rows[f"host, delegate {delegate}"]["because"].startswith("built into ai-edge-litert")
    for delegate in ("nnapi", "external"):
        assert rows[f"host, delegate {delegate}"]["can_measure"] == "no"
        assert rows[f"host, delegate {delegate}"]["because"].startswith(f"{delegate} is not there: ")


@pytest.mark.usefixtures("software_gpu", "openvino")
def test_accelerators_in_software_are_listed_as_such() -> None:
    npu = NpuDelegateSpec(vendor="intel_openvino", backend="CPU")
    rows = rows_of(HostSpec(delegates=DelegatesSpec(npu=npu)))
    for delegate, name in (("gpu", "SwiftShader"), ("npu", "IntelOpenVINO")):
        row = rows[f"host, delegate {delegate}"]
        assert row["can_measure"] == "yes", row
        assert row["because"].startswith(name)
        assert row["because"].endswith(", in software: its times mean nothing")


def test_an_external_delegate_that_cannot_be_loaded_is_listed_with_the_reason() -> None:
    external = ExternalDelegateSpec(library="nowhere.so")
    row = rows_of(HostSpec(delegates=DelegatesSpec(external=external)))["host, delegate external"]
    assert row["can_measure"] == "no"
    assert "nowhere.so" in row["because"]
