"""The release bundle of a tier: the very file that was measured, and a manifest of all that is known about it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from litefront.objectives.devices import Candidate, HostDevice
from litefront.objectives.devices.execution import DelegateOptions
from litefront.search.cell_record import CellRecord
from litefront.search.run_directory import explain_os_error
from litefront.search.store import ArtifactStore
from litefront.search.study_results import StudyResults
from litefront.search.tiers import Pick, pick
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.errors import CandidateError, InputError
from litefront.spaces.rows import Rows, by_name, load_rows, save_rows

__all__ = ["MANIFEST_SCHEMA", "MANIFEST_VERSION", "MODEL_NAME", "check_bundle", "export_tier", "measured_file"]

MANIFEST_SCHEMA = "litefront-manifest"
MANIFEST_VERSION = 1
MANIFEST_NAME = "manifest.json"
MODEL_NAME = "model.tflite"

_REQUIRED = (
    "schema",
    "version",
    "tier",
    "study",
    "cell",
    "configuration",
    "model",
    "figures",
    "counted",
    "tools",
    "device",
)


@dataclass(frozen=True)
class _Promise:
    """What a manifest says that can be checked."""

    sha256: str
    config: DeploymentConfig
    rows: Rows
    answers: int
    delegated_nodes: int
    delegates: DelegateOptions


def export_tier(results: StudyResults, tier: str, out: Path) -> Path:
    """Writes a tier's bundle: a folder with the `.tflite` and its manifest, whole or not at all.

    Args:
        results: The run.
        tier: The tier's name.
        out: The folder to make.

    Returns:
        The bundle's folder.

    Raises:
        InputError: If the tier has no pick, or the folder exists or cannot be written.
    """
    picked = pick(results, tier)
    if picked.chosen is None:
        raise InputError(f"The tier {tier} has no cell to export: {picked.reason}.")
    if out.exists():
        raise InputError(f"A bundle is written into a new folder, but {out} exists already.")
    content = measured_file(results, picked.chosen).read_bytes()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise InputError(f"The bundle's folder must be writable: {out}: {explain_os_error(error)}.") from error
    try:
        (partial / MODEL_NAME).write_bytes(content)
        manifest = json.dumps(_manifest(results, picked, picked.chosen, content), indent=2, allow_nan=False)
        (partial / MANIFEST_NAME).write_text(manifest + "\n", encoding="utf-8")
        partial.chmod(0o755)
        os.rename(partial, out)
    except OSError as error:
        raise InputError(f"The bundle cannot be written to {out}: {explain_os_error(error)}.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def check_bundle(folder: Path) -> list[str]:
    """What is wrong with a bundle; nothing if its files are those that were measured and the model still runs.

    Args:
        folder: The bundle.

    Raises:
        InputError: If it is no bundle that this version can read.
    """
    promise = _read_promise(folder)
    model = folder / MODEL_NAME
    if not model.is_file():
        return [f"{model.name} is missing"]
    content = model.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != promise.sha256:
        return [f"{model.name} has the SHA-256 {found}, but the manifest says {promise.sha256}"]
    return list(_run_problems(model, promise))


def measured_file(results: StudyResults, record: CellRecord) -> Path:
    """The `.tflite` that a cell was measured by, checked against the digest that was recorded with its figures.

    Raises:
        InputError: If it is missing or damaged.
    """
    store = ArtifactStore(results.directory.store)
    stage = store.find("quantized", record.stages["quantized"])
    if stage is None:
        raise InputError(
            f"The model of cell {record.cell} must be in {store.root}, but it is missing or damaged; "
            "`litefront run` builds it again."
        )
    return store.path(stage.objects["tflite"])


def _manifest(results: StudyResults, picked: Pick, record: CellRecord, content: bytes) -> dict[str, Any]:
    baseline = results.baseline
    return {
        "schema": MANIFEST_SCHEMA,
        "version": MANIFEST_VERSION,
        "tier": {
            "name": picked.tier,
            **results.spec.tiers[picked.tier].model_dump(mode="json"),
            "reason": picked.reason,
            "runner_up": picked.runner_up.config.params() if picked.runner_up else None,
            "runner_up_gives": picked.trade,
        },
        "study": {"name": results.spec.study, "context": results.context.digest, "seed": results.spec.seed},
        "cell": record.cell,
        "configuration": record.config.params(),
        "model": {
            "file": MODEL_NAME,
            "sha256": hashlib.sha256(content).hexdigest(),
            "size_bytes": len(content),
            **_interface(content),
        },
        "figures": {name: figure.to_json() for name, figure in sorted(record.figures.items())},
        "baseline": {
            "configuration": dict(results.context.baseline),
            "figures": {name: f.to_json() for name, f in sorted(baseline.figures.items())} if baseline else {},
        },
        "counted": dict(record.facts),
        "confirmed": picked.confirmed and picked.confirmed.to_json(),
        "confirmed_breaks": picked.broken,
        "noisy": record.noisy,
        "device": {
            "name": record.device,
            **results.context.device,
            "delegates": results.spec.device.settings().get("delegates", {}),
        },
        "tools": dict(results.context.versions),
        "measured_at": record.finished_at,
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _interface(content: bytes) -> dict[str, Any]:
    """What the app hands in and gets back."""
    from litefront.spaces.model_interface import tflite_interface

    interface = tflite_interface(content)
    return {
        which: [{"name": spec.name, "type": spec.dtype.upper(), "shape": list(spec.shape)} for spec in specs]
        for which, specs in (("inputs", interface.inputs), ("outputs", interface.outputs))
    }


def _read_manifest(folder: Path) -> Mapping[str, Any]:
    path = folder / MANIFEST_NAME
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"A bundle must hold {MANIFEST_NAME}, but {path}: {explain_os_error(error)}.") from error
    except ValueError as error:
        raise InputError(f"{path} must be JSON, but {error}.") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != MANIFEST_SCHEMA:
        raise InputError(f"{path} must be a {MANIFEST_SCHEMA}, but it says {_said_schema(manifest)!r}.")
    if manifest.get("version") != MANIFEST_VERSION:
        raise InputError(
            f"{path} must be of version {MANIFEST_VERSION} to be checked, but it is of {manifest.get('version')!r}."
        )
    if missing := [key for key in _REQUIRED if key not in manifest]:
        raise InputError(f"{path} must have {', '.join(_REQUIRED)}, but {', '.join(missing)} are missing.")
    return manifest


def _read_promise(folder: Path) -> _Promise:
    manifest = _read_manifest(folder)
    try:
        return _Promise(
            sha256=str(manifest["model"]["sha256"]),
            config=DeploymentConfig.from_params(manifest["configuration"]),
            rows=_zeros(manifest["model"]["inputs"]),
            answers=len(manifest["model"]["outputs"]),
            delegated_nodes=int(manifest["counted"]["delegated_nodes"]),
            delegates=dict(manifest["device"].get("delegates", {})),
        )
    except (LookupError, TypeError, ValueError) as error:
        problem = f"{folder / MANIFEST_NAME} cannot be checked: {type(error).__name__}: {error}"
        raise InputError(problem) from error


def _zeros(inputs: Sequence[Mapping[str, Any]]) -> Rows:
    """A call of zeros; an input without any dimension is given one row."""
    zeros = {each["name"]: np.zeros(each["shape"] or (1,), each["type"].lower()) for each in inputs}
    return zeros if len(zeros) > 1 else zeros[inputs[0]["name"]]


def _said_schema(manifest: Any) -> Any:
    return manifest.get("schema") if isinstance(manifest, dict) else type(manifest).__name__


def _run_problems(model: Path, promise: _Promise) -> Iterator[str]:
    """Runs the model as configured on this machine: it must load, delegate as many nodes, and answer finitely."""
    with tempfile.TemporaryDirectory() as scratch:
        rows = save_rows(promise.rows, Path(scratch) / "rows")
        outputs = Path(scratch) / ("outputs.npz" if promise.answers > 1 else "outputs.npy")
        try:
            reply = HostDevice(promise.delegates).infer(Candidate(model, promise.config), rows, outputs)
        except CandidateError as error:
            yield f"the model does not run on this machine: {error}"
            return
        if not all(np.isfinite(array).all() for array in by_name(load_rows(outputs), [""]).values()):
            yield "the model's outputs are not finite"
    here, there = reply["delegated_nodes"], promise.delegated_nodes
    if here != there:
        yield f"{here} nodes ran on {promise.config.delegate} here, but {there} where it was measured"
