"""A data sheet of round numbers."""

from __future__ import annotations

from typing import Any

__all__ = ["made_profile", "number"]


def number(value: float) -> dict[str, Any]:
    return {"value": value, "source": "made up"}


def rates(float32: float, int8: float) -> dict[str, Any]:
    return {"float32": number(float32), "int8": number(int8)}


SHARE = number(0.5) | {"sigma": 0.3}


def made_profile(**changes: Any) -> dict[str, Any]:
    """Two big cores of 1 GHz that reach half of 4 (float32) and 16 (int8) products a cycle, two little ones of half
    that, 1 GB/s of memory behind 1 kB of cache, and an accelerator each for float32 and int8."""
    return {
        "name": "made-up",
        "summary": "Made up",
        "machine": "aarch64",
        "clusters": [
            {
                "core": "big",
                "cores": number(2),
                "ghz": number(1.0),
                "macs_per_cycle": rates(4, 16),
                "kernel_share": {"float32": SHARE, "int8": SHARE},
                "core_w": number(1.0),
            },
            {
                "core": "little",
                "cores": number(2),
                "ghz": number(0.5),
                "macs_per_cycle": rates(4, 16),
                "kernel_share": {"float32": SHARE, "int8": SHARE},
                "core_w": number(0.2),
            },
        ],
        "memory": {
            "gb_per_s": number(1.0),
            "last_level_cache_bytes": number(1000),
            "pj_per_byte": number(64),
        },
        "accelerators": {
            "gpu": {
                "implementation": "made-up GPU",
                "gmacs_per_s": {"float32": number(10)},
                "gb_per_s": number(1.0),
                "call_ms": number(1.0),
                "load_ms": number(100),
                "watts": number(2.0),
                "cpu_energy_ratio": number(0.29),
                "error": number(0.7),
            },
            "npu": {
                "implementation": "made-up NPU",
                "gmacs_per_s": {"int8": number(1000)},
                "gb_per_s": number(2.0),
                "keeps_values": True,
                "call_ms": number(0.5),
                "load_ms": number(10),
                "watts": number(2.0),
                "max_batch_size": 1,
                "error": number(0.5),
            },
        },
        "static_w": number(2.0),
        "wake_us": number(100),
    } | changes
