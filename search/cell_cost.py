"""What a cell would cost, given what is in the store and what is under way."""

from __future__ import annotations

from collections.abc import Callable

from litefront.search.cell_plan import CellPlans
from litefront.search.stage_calls import STAGES
from litefront.search.store import ArtifactStore
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.quantization import Quantization

__all__ = ["CellCosts"]

_Shared = tuple[object, ...]

# What each stage depends on of a configuration: cells that agree in it share the stage.
_WEIGHTS = ("sparsity", "clusters")
_FLOAT_FILE = (*_WEIGHTS, "batch_size")
_FILE = (*_FLOAT_FILE, "quantization", "calibration", "calibration_rows", "storage")
_DEPENDS_ON = {
    "pruned": ("sparsity",),
    "clustered": _WEIGHTS,
    "quantization_aware": _WEIGHTS,
    "float_tflite": _FLOAT_FILE,
    "sensitivity": (*_FLOAT_FILE, "calibration", "calibration_rows"),
    "quantized": _FILE,
    "accuracy": (*_FILE, "delegate"),
    "latency": (*_FILE, "delegate", "num_threads"),
}

# Until a stage has run: its order of magnitude, seconds.
_FIRST_GUESS_S = {
    "pruned": 60.0,
    "clustered": 60.0,
    "quantization_aware": 60.0,
    "float_tflite": 5.0,
    "sensitivity": 30.0,
    "quantized": 1.0,
    "accuracy": 3.0,
    "latency": 2.0,
}


class CellCosts:
    """Knows what cells would still cost; a stage that another cell under way runs anyway costs nothing.

    Args:
        plans: The study's plans.
        store: Where the results of stages are.
        expected_s: The mean seconds of a stage so far; None if it has not run yet.
    """

    def __init__(self, plans: CellPlans, store: ArtifactStore, expected_s: Callable[[str], float | None]) -> None:
        self._plans = plans
        self._store = store
        self._expected_s = expected_s
        self._begun: set[_Shared] = set()
        # The stages that a cell needs, each with what it has in common with other cells.
        self._missing: dict[DeploymentConfig, tuple[tuple[str, _Shared], ...]] = {}

    def begin(self, config: DeploymentConfig) -> None:
        """A cell is under way: what it shares with others is paid for."""
        self._begun.update(_shared_as(stage, config) for stage in _DEPENDS_ON)
        self._missing.pop(config, None)

    def seconds(self, config: DeploymentConfig) -> float:
        """What the stages that this cell alone still needs are expected to take, in seconds of one worker."""
        # The store is asked once: what is added to it later comes from cells that have begun.
        if config not in self._missing:
            self._missing[config] = tuple((stage, _shared_as(stage, config)) for stage in self._look_up(config))
        return sum(self._stage_s(stage) for stage, shared in self._missing[config] if shared not in self._begun)

    def _look_up(self, config: DeploymentConfig) -> tuple[str, ...]:
        """The stages that are not in the store: the first that its plan does not find there, and those after it."""
        plan = self._plans.plan(config)
        try:
            call = next(plan)
            while (record := self._store.find(call.stage, call.key)) is not None:
                call = plan.send(record)
        except StopIteration:
            return ()
        finally:
            plan.close()
        reached = STAGES.index(call.stage)
        return tuple(stage for stage in _DEPENDS_ON if STAGES.index(stage) >= reached and _applies(stage, config))

    def _stage_s(self, stage: str) -> float:
        expected_s = self._expected_s(stage)
        return _FIRST_GUESS_S[stage] if expected_s is None else expected_s


def _applies(stage: str, config: DeploymentConfig) -> bool:
    match stage:
        case "pruned":
            return bool(config.sparsity)
        case "clustered":
            return config.clusters > 0
        case "quantization_aware":
            return config.quantization is Quantization.QAT_INT8
        case "sensitivity":
            return config.quantization.is_mixed
    return True


def _shared_as(stage: str, config: DeploymentConfig) -> _Shared:
    """What cells that share this stage have in common."""
    return (stage, *(getattr(config, name) for name in _DEPENDS_ON[stage]))
