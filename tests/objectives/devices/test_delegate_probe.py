"""What a device says of its delegates: by the words of a runner, and of the real one on accelerators in software."""

from __future__ import annotations

import ctypes.util
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from litefront.objectives.devices import DelegateFacts, HostDevice
from litefront.objectives.devices.delegate_probe import Ask, probe_delegates
from litefront.objectives.devices.device import BUILT_IN
from litefront.objectives.runner_server import RunnerServer
from litefront.spaces.delegate import Delegate
from litefront.spaces.errors import CandidateError
from tests.accelerators import NPU_ON_CPU


def answering(reply: Mapping[str, Any]) -> Callable[..., Mapping[str, Any]]:
    return lambda request, *, timeout_s: reply


def fails(_request: Mapping[str, Any], *, timeout_s: float) -> Mapping[str, Any]:
    raise CandidateError("crashed with SIGABRT: no such instruction")


def no_runner(_request: Mapping[str, Any], *, timeout_s: float) -> Mapping[str, Any]:
    raise AssertionError("there is nothing to ask")


def probed(delegates: Collection[Delegate], ask: Ask, **options: dict[str, Any]) -> dict[str, DelegateFacts]:
    return probe_delegates(delegates, options, ask, model="probe.tflite")


WORKS = answering({"implementation": "a GPU, Vulkan", "is_software": False})


def test_what_litert_brings_with_it_is_there_unasked() -> None:
    assert probed([Delegate.NONE, Delegate.XNNPACK], no_runner) == BUILT_IN


def test_a_delegate_that_runs_the_model_is_described() -> None:
    assert probed([Delegate.GPU], WORKS)[Delegate.GPU] == DelegateFacts(None, "a GPU, Vulkan", False)


def test_how_a_delegate_is_made_to_run_is_a_part_of_what_it_is() -> None:
    found = probed([Delegate.GPU], WORKS, gpu={"precision": "float32"})
    assert found[Delegate.GPU].implementation == 'a GPU, Vulkan {"precision": "float32"}'


def test_a_delegate_that_fails_costs_itself_alone() -> None:
    found = probed([Delegate.GPU, Delegate.XNNPACK], fails)
    assert found[Delegate.GPU].refusal == "its probe crashed with SIGABRT: no such instruction"
    assert found[Delegate.XNNPACK].refusal is None


def test_what_cannot_be_asked_for_is_refused_unasked() -> None:
    found = probed([Delegate.NNAPI, Delegate.EXTERNAL], no_runner)
    assert "Android" in str(found[Delegate.NNAPI].refusal)
    assert "names no library" in str(found[Delegate.EXTERNAL].refusal)


@pytest.mark.usefixtures("software_gpu")
def test_a_gpu_in_software_is_found_and_called_by_its_name() -> None:
    gpu = HostDevice().probe([Delegate.GPU]).delegates[Delegate.GPU]
    assert (gpu.refusal, gpu.is_software) == (None, True)
    assert "SwiftShader" in gpu.implementation
    assert "Vulkan" in gpu.implementation


@pytest.mark.usefixtures("software_gpu")
def test_a_machine_without_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("VK_DRIVER_FILES", "VK_ICD_FILENAMES"):
        monkeypatch.setenv(name, str(tmp_path / "none.json"))
    refusal = HostDevice().probe([Delegate.GPU]).delegates[Delegate.GPU].refusal
    assert refusal is not None
    assert refusal.startswith("its probe refused: ")
    assert "No adapters found" in refusal


@pytest.mark.usefixtures("openvino")
def test_an_npu_on_the_processor_counts_as_software() -> None:
    npu = HostDevice({"npu": NPU_ON_CPU}).probe([Delegate.NPU]).delegates[Delegate.NPU]
    assert (npu.refusal, npu.is_software) == (None, True)
    assert npu.implementation.startswith("IntelOpenVINO")
    assert "on CPU" in npu.implementation


@pytest.mark.usefixtures("openvino")
def test_an_npu_that_is_not_there_is_not_mistaken_for_the_processor() -> None:
    # Asked for beside the processor, LiteRT would run it there and call it fully accelerated.
    refusal = HostDevice({"npu": {"backend": "NPU"}}).probe([Delegate.NPU]).delegates[Delegate.NPU].refusal
    assert refusal is not None
    assert refusal.startswith("its probe refused: ")


def test_a_vendor_whose_library_is_not_installed_is_named() -> None:
    npu = HostDevice({"npu": {"vendor": "qualcomm"}}).probe([Delegate.NPU]).delegates[Delegate.NPU]
    assert npu.refusal == "its probe refused: no dispatch library for qualcomm is installed with LiteRT"


class TestExternalDelegates:
    """A real library that does what it is told to."""

    def probed(self, library: Path | str, ask: Any = None, **options: str) -> DelegateFacts:
        device = HostDevice({"external": {"library": str(library), "options": options}}, ask=ask)
        return device.probe([Delegate.EXTERNAL]).delegates[Delegate.EXTERNAL]

    def test_it_is_called_by_its_file_and_what_stands_in_it(self, external_delegate: Path) -> None:
        found = self.probed(external_delegate, mode="copies")
        assert (found.refusal, found.is_software) == (None, False)
        assert found.implementation.startswith(f"{external_delegate.name} ")
        assert '"mode": "copies"' in found.implementation

    def test_one_that_aborts_is_refused_with_its_last_words(self, external_delegate: Path) -> None:
        refusal = self.probed(external_delegate, mode="aborts").refusal
        assert refusal == "its probe crashed with SIGABRT: external_delegate: no such instruction"

    def test_one_that_is_not_created_is_refused_with_what_it_says(self, external_delegate: Path) -> None:
        assert "there is no such device" in str(self.probed(external_delegate, mode="refuses").refusal)

    def test_one_that_hangs_is_given_up(self, external_delegate: Path, impatient: RunnerServer) -> None:
        def ask(request: Mapping[str, Any], *, timeout_s: float) -> Mapping[str, Any]:
            return impatient.ask(request, timeout_s=1.5 if request["action"] == "probe_delegate" else timeout_s)

        found = self.probed(external_delegate, ask, mode="hangs")
        assert found.refusal == "its probe hung: no answer within 1.5 s"
        # Whoever is asked next is answered.
        assert self.probed(external_delegate, ask, mode="copies").refusal is None

    @pytest.fixture
    def impatient(self) -> Iterator[RunnerServer]:
        server = RunnerServer()
        yield server
        server.close()

    def test_a_library_that_is_no_delegate_is_refused(self) -> None:
        library = ctypes.util.find_library("m") or "libm.so.6"
        refusal = self.probed(library).refusal
        assert refusal == f"its probe refused: {library} is no delegate: it has no tflite_plugin_create_delegate"

    @pytest.mark.parametrize("library", ["nowhere.so", sys.executable])
    def test_what_is_no_library_is_refused(self, library: str) -> None:
        refusal = self.probed(library).refusal
        assert refusal is not None
        assert refusal.startswith("its probe refused: ")
        assert Path(library).name in refusal
