"""Storage: whether zeros are stored, or left out as `EXPERIMENTAL_SPARSITY` does."""

from __future__ import annotations

from enum import StrEnum

from litefront.spaces.dimension import Capabilities, Dimension, checked_choice
from litefront.spaces.quantization import Quantization

__all__ = ["STORAGE", "Storage", "storage_refusal"]


class Storage(StrEnum):
    """How weights lie in the file; the values are the names in study files and bundles."""

    DENSE = "dense"
    SPARSE = "sparse"


# XNNPACK refuses a graph of sparsely stored dynamic-range weights whole (ai-edge-litert 2.3).
_STORED_SPARSELY = (Quantization.FLOAT32, Quantization.FLOAT16, Quantization.INT8)


def storage_refusal(storage: Storage, quantization: Quantization) -> str | None:
    """Why weights of a quantization cannot lie in the file so, or None if they can."""
    if storage is Storage.DENSE or quantization in _STORED_SPARSELY:
        return None
    return f"{quantization}: weights are stored sparsely only as {', '.join(_STORED_SPARSELY)}"


def _parse(value: object) -> Storage:
    return checked_choice(value, Storage, name="storage")


def _refusal(_storage: Storage, _capabilities: Capabilities) -> str | None:
    return None


STORAGE = Dimension("storage", default=Storage.DENSE, parse=_parse, refusal=_refusal)
