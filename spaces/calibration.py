"""Calibration: how the ranges of activations are found on the representative rows, and on how many of them."""

from __future__ import annotations

from enum import StrEnum

from litefront.spaces.dimension import Capabilities, Dimension, checked_choice, checked_whole_number

__all__ = ["CALIBRATION", "CALIBRATION_ROWS", "Calibration"]


class Calibration(StrEnum):
    """How a tensor's range follows from the values seen; the values are the names in study files and bundles."""

    MIN_MAX = "min_max"
    """The lowest and the highest."""
    PERCENTILE = "percentile"
    """What all but one in ten thousand lie within."""
    MOVING_AVERAGE = "moving_average"
    """The extremes of each call, averaged with those of the calls before."""


def _parse(value: object) -> Calibration:
    return checked_choice(value, Calibration, name="calibration")


def _parse_rows(value: object) -> int:
    return checked_whole_number(value, name="calibration_rows", low=1)


def _refusal(_choice: object, _capabilities: Capabilities) -> str | None:
    return None


CALIBRATION = Dimension("calibration", default=Calibration.MIN_MAX, parse=_parse, refusal=_refusal)
CALIBRATION_ROWS = Dimension("calibration_rows", default=200, parse=_parse_rows, refusal=_refusal)
