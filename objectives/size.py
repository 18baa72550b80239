"""Size: bytes as stored, and bytes as downloaded.

Zeros of a pruned model take as much room in a plain `.tflite` as any other weight; they show where the file is
deflated, as app stores and over-the-air updates do.
"""

from __future__ import annotations

import zlib

from litefront.objectives.measurement import Measurement, Provenance

__all__ = ["measure_size"]


def measure_size(content: bytes) -> dict[str, Measurement]:
    """Gives `size_bytes` as stored and `download_bytes` deflated (zlib, level 9) of a `.tflite`."""
    deflated = len(zlib.compress(content, level=9))
    return {
        "size_bytes": Measurement(len(content), "bytes", Provenance.MEASURED, "the file as stored"),
        "download_bytes": Measurement(deflated, "bytes", Provenance.MEASURED, "the file deflated, zlib level 9"),
    }
