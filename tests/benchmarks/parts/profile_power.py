"""Modelled power and energy against published ones: power by time, with times as they were published.

Nothing was fitted to the boards' runs but `u`, the power of float and integer kernels (on the Raspberry Pi 4), and the
Coral board's core power; MLPerf Tiny's microcontrollers have no parameters here, so that they tell of the model's form
alone: power from a system's other models times time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from harness.errors import error_words, relative_errors
from harness.figures import figure
from harness.ranks import kendall_tau, rank_correlation

from litefront.objectives.power import POWER_MODELS, PowerInputs, PowerModel
from litefront.spaces.delegate import Delegate
from litefront.spaces.quantization import Quantization
from parts.published import latencies, read_table

__all__ = ["measure"]

_Row = dict[str, str]

_MACS = {"mobilenet_v1": 568.8e6, "mobilenet_v2": 300.8e6, "mobilenet_v1_025_128": 13.6e6}
# Bare arithmetic at 7 nm (Jouppi et al., ISCA 2021), pJ a multiply-accumulate: less than that would be no physics.
_FLOOR_PJ = {"float32": 1.69, "int8": 0.10}
_BOARD_MAX_W = {"raspberry-pi-4": 7.2}


def measure() -> None:
    """Prints the checks."""
    boards = read_table("deepedgebench.csv")
    _ranks_within_boards(boards)
    _a_priori(boards)
    _edge_tpus(boards)
    _phones()
    _tiny()
    _pooled_ranks(boards)
    _sanity(boards)


# ------------------------------------------------------------------------------------------------------- boards


def _ranks_within_boards(rows: Sequence[_Row]) -> None:
    """Energy of a profile's boards by the profile, of others by one power for all their runs, which ranks by time."""
    for board, of_board in _grouped(rows, "board"):
        predicted = [_board_energy_mj(row) if row["profile"] else float(row["latency_ms"]) for row in of_board]
        published = _numbers(of_board, "energy_mj")
        rank = rank_correlation(predicted, published)
        found = {"spearman": round(rank, 3), "kendall": round(kendall_tau(predicted, published), 3)}
        figure(f"energy, DeepEdgeBench within {board}: rank correlation", found, "", "spearman >= 0.9", rank >= 0.9)
    engines = [part for _, part in _grouped(rows, "board", "engine") if len(part) > 1]
    predicted = [_by_other_runs(row, part) for part in engines for row in part]
    published = [energy for part in engines for energy in _numbers(part, "energy_mj")]
    _tell_left_out("energy, DeepEdgeBench, each run left out of its board's and engine's power", predicted, published)


def _by_other_runs(row: _Row, rows: Sequence[_Row]) -> float:
    """Energy of a run by the median power of the others, mJ."""
    others = [float(other["board_w"]) for other in rows if other is not row]
    return float(np.median(others)) * float(row["latency_ms"])


def _a_priori(rows: Sequence[_Row]) -> None:
    """The Raspberry Pi 4's runs by its profile: idle power with LAN as measured, the rest not from these runs."""
    runs = [row for row in rows if row["profile"] == "raspberry-pi-4" and row["delegate"] == "none"]
    predicted = [_board_energy_mj(row) for row in runs]
    published = _numbers(runs, "energy_mj")
    worst = float(relative_errors(predicted, published).max())
    figure("energy, Raspberry Pi 4 a priori: largest error", round(worst, 3), "", "<= 0.15", worst <= 0.15)
    coral = [row for row in rows if row["profile"] == "coral-dev-board" and row["delegate"] == "none"]
    errors = error_words([_board_energy_mj(row) for row in coral], _numbers(coral, "energy_mj"))
    figure("energy, Coral's cores, their power fitted to one of these runs: error", errors, "", "told", None)


def _board_energy_mj(row: _Row) -> float:
    """Energy of the whole board for a published time: what it takes when idle, and what the model adds."""
    return float(row["idle_w"]) * float(row["latency_ms"]) + _incremental_mj(row)


def _incremental_mj(row: _Row) -> float:
    # Engines other than LiteRT's ran on the cores.
    delegate = Delegate(row["delegate"] or "none")
    on_cores = delegate is Delegate.NONE
    inputs = _inputs(row["quantization"], float(row["latency_ms"]), delegate, busy_cores=float(on_cores))
    return POWER_MODELS[row["profile"]].call_energy_mj(inputs)


def _edge_tpus(rows: Sequence[_Row]) -> None:
    coral = [row for row in rows if row["delegate"] == "npu"]
    ratios = [_board_energy_mj(row) / float(row["energy_mj"]) for row in coral]
    # Pixel 6, MobileNetEdgeTPU: 1.35 ms and 3.85 mJ of the whole phone (android_device_google_raviole); by the Edge
    # TPU's 2 W and a phone's static power, since the flagship's own figure was read off this very run.
    generic = POWER_MODELS["coral-dev-board"].call_energy_mj(_inputs("int8", 1.35, Delegate.NPU, busy_cores=0.0))
    static_w = POWER_MODELS["flagship-2023-phone"].static_w
    ratios.append((generic + static_w * 1.35) / 3.85)
    worst = max(max(ratio, 1 / ratio) for ratio in ratios)
    figure("energy, Edge TPUs a priori: largest factor", round(worst, 2), "x", "<= 2", worst <= 2)


# ------------------------------------------------------------------------------------------------------- phones


def _phones() -> None:
    """One big core by published times: between half the least and twice the most of DeepEn2023's networks."""
    families = {"MobileNetV1": "mobilenet_v1", "MobileNetV2": "mobilenet_v2"}
    inside, outside = 0, []
    for row in read_table("deepen2023.csv"):
        model = families.get(row["family"])
        for published in latencies():
            if published.model != model or published.threads != 1 or not published.profile.startswith("pixel"):
                continue
            inputs = _inputs("float32", published.latency_ms, Delegate.XNNPACK, busy_cores=1.0)
            energy_mj = POWER_MODELS[published.profile].call_energy_mj(inputs)
            fits = 0.5 * float(row["cpu_low_mj"]) <= energy_mj <= 2 * float(row["cpu_high_mj"])
            inside += fits
            if not fits:
                outside.append(f"{published.profile} {model} {energy_mj:.0f} mJ")
    figure("energy, Pixels' big cores within DeepEn2023's ranges, half to twice", inside, "of 6", "6", not outside)


# --------------------------------------------------------------------------------------------- microcontrollers


def _tiny() -> None:
    rows = read_table("mlperf_tiny.csv")
    systems = [part for _, part in _grouped(rows, "round", "system")]
    ranks = [
        rank_correlation(_numbers(part, "latency_ms"), _numbers(part, "energy_uj"))
        for part in systems
        if len(part) >= 4
    ]
    found = {"systems": len(ranks), "lowest": round(min(ranks), 3), "below 0.9": sum(rank < 0.9 for rank in ranks)}
    figure("energy, MLPerf Tiny within a system: rank correlation", found, "", "none below 0.9", min(ranks) >= 0.9)
    by_time = [_left_out(row, part, "latency_ms") for part in systems for row in part]
    by_macs = [_left_out(row, part, "macs") for part in systems for row in part]
    published = [energy for part in systems for energy in _numbers(part, "energy_uj")]
    _tell_left_out("energy, MLPerf Tiny, each model left out of its system's power", by_time, published)
    errors = relative_errors(by_macs, published)
    beaten = float(np.median(relative_errors(by_time, published))) < float(np.median(errors))
    found = error_words(by_macs, published)
    figure("energy, MLPerf Tiny, energy a multiply-accumulate in its place", found, "", "worse than by time", beaten)


def _left_out(row: _Row, rows: Sequence[_Row], by: str) -> float:
    """Energy of a row by what the system's other models take for each unit of time or work, in the median."""
    per_unit = [float(other["energy_uj"]) / float(other[by]) for other in rows if other is not row]
    return float(np.median(per_unit)) * float(row[by])


def _tell_left_out(what: str, predicted: Sequence[float], published: Sequence[float]) -> None:
    errors = error_words(predicted, published)
    figure(what, errors, "", "median <= 0.10, p90 <= 0.25", errors["median"] <= 0.10 and errors["p90"] <= 0.25)


# ------------------------------------------------------------------------------------------------------ together


def _pooled_ranks(boards: Sequence[_Row]) -> None:
    """All published rows of all devices: power of each by its system's other runs."""
    tiny = read_table("mlperf_tiny.csv")
    predicted = [
        _left_out(row, part, "latency_ms") / 1e3 for _, part in _grouped(tiny, "round", "system") for row in part
    ]
    published = [
        energy / 1e3 for _, part in _grouped(tiny, "round", "system") for energy in _numbers(part, "energy_uj")
    ]
    for _, part in _grouped(boards, "board"):
        predicted += [_by_other_runs(row, part) for row in part]
        published += _numbers(part, "energy_mj")
    rank = rank_correlation(predicted, published)
    figure("energy, all devices together: rank correlation", round(rank, 3), "", ">= 0.85", rank >= 0.85)


def _sanity(boards: Sequence[_Row]) -> None:
    """Energy above bare arithmetic, power below the board's most, and both rising with time."""
    known = [row for row in boards if row["profile"] and row["delegate"] == "none"]
    problems: list[Any] = []
    for row in known:
        above_idle_mj = _incremental_mj(row)
        if above_idle_mj <= _MACS[row["model"]] * _FLOOR_PJ[row["quantization"]] * 1e-9:
            problems.append(f"{row['board']} below its floor")
        power_w = _board_energy_mj(row) / float(row["latency_ms"])
        if power_w > _BOARD_MAX_W.get(row["profile"], power_w):
            problems.append(f"{row['board']} above its most")
        model = POWER_MODELS[row["profile"]]
        if not _rises_with_time(model, row):
            problems.append(f"{row['board']} does not rise with time")
    figure("energy, boards: implausible figures", len(problems), "", "0", not problems)


def _rises_with_time(model: PowerModel, row: _Row) -> bool:
    times = [float(row["latency_ms"]) * factor for factor in (0.5, 1.0, 2.0)]
    energies = [
        model.call_energy_mj(_inputs(row["quantization"], time, Delegate.NONE, busy_cores=1.0)) for time in times
    ]
    return energies == sorted(energies)


def _inputs(quantization: str, latency_ms: float, delegate: Delegate, *, busy_cores: float) -> PowerInputs:
    """One call by a published time; what it moves from memory was not published, and costs nothing here."""
    return PowerInputs(
        quantization=Quantization(quantization),
        batch_size=1,
        latency_ms=latency_ms,
        busy_cores=busy_cores,
        model_bytes=0,
        last_level_cache_bytes=0,
        delegate=delegate,
    )


def _grouped(rows: Iterable[_Row], *names: str) -> list[tuple[Any, list[_Row]]]:
    def key(row: _Row) -> tuple[str, ...]:
        return tuple(row[name] for name in names)

    return [(" ".join(found), list(part)) for found, part in groupby(sorted(rows, key=key), key)]


def _numbers(rows: Iterable[_Row], name: str) -> list[float]:
    return [float(row[name]) for row in rows]
