"""Accelerators in software, and a delegate of our own: what the tests of delegates run on."""

from __future__ import annotations

import ctypes.util
import importlib.util
import shutil
import subprocess
from pathlib import Path

__all__ = ["NPU_ON_CPU", "SOFTWARE_GPU", "build_external_delegate", "compiler_refusal", "gpu_refusal", "npu_refusal"]

_DRIVER = Path("/usr/lib/chromium/vk_swiftshader_icd.json")

SOFTWARE_GPU = {"VK_DRIVER_FILES": str(_DRIVER), "VK_ICD_FILENAMES": str(_DRIVER)}
"""The environment in which the Vulkan loader finds SwiftShader, the software GPU that comes with Debian's Chromium."""

NPU_ON_CPU = {"vendor": "intel_openvino", "backend": "CPU"}
"""Options of the NPU delegate that have OpenVINO compile for the processor."""


def gpu_refusal() -> str | None:
    """Why there is no software GPU here, or None."""
    if not _DRIVER.is_file():
        return f"SwiftShader is not installed: there is no {_DRIVER}"
    return None if ctypes.util.find_library("vulkan") else "the Vulkan loader (libvulkan1) is not installed"


def npu_refusal() -> str | None:
    """Why the NPU's path cannot run here, or None."""
    return None if importlib.util.find_spec("openvino") else "ai-edge-litert-sdk-intel is not installed"


def compiler_refusal() -> str | None:
    """Why no external delegate can be built here, or None."""
    return None if shutil.which("cc") else "there is no C compiler"


def build_external_delegate(folder: Path) -> Path:
    """Builds the delegate of tests/data/external_delegate.c."""
    source, library = Path(__file__).parent / "data" / "external_delegate.c", folder / "external_delegate.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source], check=True)
    return library
