"""Threads: how many the delegate may use for one call."""

from __future__ import annotations

from litefront.spaces.dimension import Capabilities, Dimension, checked_whole_number

__all__ = ["NUM_THREADS"]


def _parse(value: object) -> int:
    return checked_whole_number(value, name="num_threads", low=1)


def _refusal(num_threads: int, capabilities: Capabilities) -> str | None:
    if num_threads <= capabilities.cores:
        return None
    return f"{num_threads} threads on a device of {capabilities.cores} cores would only wait for each other"


NUM_THREADS = Dimension("num_threads", default=1, parse=_parse, refusal=_refusal)
