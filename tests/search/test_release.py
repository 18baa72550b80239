"""Release bundles: the very file that was measured with all that is known about it, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from litefront.objectives.timing import Mode
from litefront.search.confirmation import Confirmation
from litefront.search.release import check_bundle, export_tier
from litefront.search.run_directory import RunDirectory
from litefront.search.store import ArtifactStore
from litefront.search.study_results import StudyResults
from litefront.search.tiers import pick
from litefront.spaces.errors import InputError
from litefront.spaces.quantization import Quantization
from tests.search.made_run import BATCHED, INT8, make_run
from tests.search.records import CONTEXT

Files = dict[tuple[Quantization, int], Path]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, candidate_files: Files) -> StudyResults:
    return make_run(tmp_path_factory.mktemp("made") / "run", candidate_files)


@pytest.fixture(scope="module")
def exported(results: StudyResults, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_tier(results, "entry", tmp_path_factory.mktemp("exported") / "bundle")


@pytest.fixture
def bundle(exported: Path, tmp_path: Path) -> Path:
    """A bundle of the test's own, to spoil."""
    return Path(shutil.copytree(exported, tmp_path / "bundle"))


def manifest_of(bundle: Path) -> dict[str, Any]:
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert isinstance(manifest, dict)
    return manifest


def rewrite(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = manifest_of(bundle)
    change(manifest)
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# --------------------------------------------------------------------------------------------------- export


def test_a_bundle_is_the_measured_file_and_its_manifest(bundle: Path, candidate_files: Files) -> None:
    assert files_below(bundle) == {"model.tflite", "manifest.json"}
    assert (bundle / "model.tflite").read_bytes() == candidate_files[Quantization.INT8, 1].read_bytes()


def test_the_manifest_describes_the_file(bundle: Path) -> None:
    content, model = (bundle / "model.tflite").read_bytes(), manifest_of(bundle)["model"]
    assert (model["file"], model["sha256"]) == ("model.tflite", hashlib.sha256(content).hexdigest())
    assert model["size_bytes"] == len(content)
    (taken,), (given,) = model["inputs"], model["outputs"]
    assert (taken["type"], taken["shape"]) == ("FLOAT32", [1, 8, 8, 1])
    assert (given["type"], given["shape"]) == ("FLOAT32", [1, 3])


def test_the_manifest_holds_each_figure_with_its_provenance(bundle: Path) -> None:
    figures = manifest_of(bundle)["figures"]
    measured = {"unit": "ms", "provenance": "measured", "source": "made by hand"}
    assert figures["latency_ms"] == {"value": 1.0} | measured
    assert figures["power_mw"]["provenance"] == "modelled"  # for the tier's own load; the study has none


def test_the_manifest_says_what_was_chosen_and_why(bundle: Path) -> None:
    manifest = manifest_of(bundle)
    assert (manifest["schema"], manifest["version"]) == ("litefront-manifest", 1)
    assert manifest["configuration"] == INT8.params()
    tier = manifest["tier"]
    assert (tier["name"], tier["prefer"], tier["limits"]) == ("entry", "size", {"latency_ms": 3.0})
    assert "lowest size" in tier["reason"]
    assert tier["runner_up"] == BATCHED.params()
    assert tier["runner_up_gives"] == "+0.0500 accuracy, 2.00x size, 2.00x latency"


def test_the_manifest_says_what_it_was_made_with_and_compared_with(bundle: Path) -> None:
    manifest = manifest_of(bundle)
    assert manifest["tools"] == CONTEXT.versions
    assert manifest["device"] == {"name": "host", **CONTEXT.device, "delegates": {}}
    assert manifest["study"] == {"name": "by-hand", "context": CONTEXT.digest, "seed": 3}
    assert manifest["baseline"]["configuration"] == CONTEXT.baseline
    assert manifest["baseline"]["figures"]["size_bytes"]["value"] == 4000
    assert manifest["measured_at"] == "2025-01-01T01:00:00+00:00"


def test_a_bundle_may_be_read_by_everyone(exported: Path) -> None:
    assert exported.stat().st_mode & 0o777 == 0o755


def test_missing_parent_folders_are_made(results: StudyResults, tmp_path: Path) -> None:
    assert files_below(export_tier(results, "entry", tmp_path / "a" / "b")) == {"model.tflite", "manifest.json"}


def test_a_folder_that_exists_is_refused_and_left_alone(results: StudyResults, tmp_path: Path) -> None:
    out = tmp_path / "theirs"
    out.mkdir()
    (out / "model.tflite").write_bytes(b"theirs")
    with pytest.raises(InputError, match="written into a new folder, but .*theirs exists already"):
        export_tier(results, "entry", out)
    assert files_below(out) == {"model.tflite"}
    assert (out / "model.tflite").read_bytes() == b"theirs"


def test_a_tier_without_a_pick_is_refused_with_the_reason(results: StudyResults, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="The tier nobody has no cell to export: none of 3 .* latency <= 0.001 ms rules out 3"
    ):
        export_tier(results, "nobody", tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_an_unknown_tier_is_refused_with_the_known_ones(results: StudyResults, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one of entry, flagship, nobody, but got 'other'"):
        export_tier(results, "other", tmp_path / "bundle")


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"other")])
def test_a_model_that_is_not_the_measured_one_is_never_exported(
    results: StudyResults, tmp_path: Path, damage: Callable[[Path], object], candidate_files: Files
) -> None:
    run = RunDirectory(Path(shutil.copytree(results.directory.path, tmp_path / "run")))
    sha256 = hashlib.sha256(candidate_files[Quantization.INT8, 1].read_bytes()).hexdigest()
    damage(ArtifactStore(run.store).path(f"{sha256}.tflite"))
    with pytest.raises(InputError, match="missing or damaged; `litefront run` builds it again"):
        export_tier(StudyResults.read(run), "entry", tmp_path / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_place_that_cannot_be_written_is_told_and_nothing_is_left(results: StudyResults, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="must be writable: .*not a directory|must be writable: .*file exists"):
        export_tier(results, "entry", tmp_path / "file" / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# ---------------------------------------------------------------------------------------------------- check


def test_an_untouched_bundle_holds(bundle: Path) -> None:
    assert check_bundle(bundle) == []


def test_a_bundle_holds_wherever_it_is_moved(bundle: Path, tmp_path: Path) -> None:
    assert check_bundle(bundle.rename(tmp_path / "moved")) == []


@pytest.mark.parametrize("tier", ["entry", "flagship"])
def test_bundles_of_every_tier_hold(results: StudyResults, tmp_path: Path, tier: str) -> None:
    assert check_bundle(export_tier(results, tier, tmp_path / tier)) == []


def test_one_changed_byte_is_found(bundle: Path) -> None:
    model = bundle / "model.tflite"
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    (problem,) = check_bundle(bundle)
    assert hashlib.sha256(content).hexdigest() in problem and manifest_of(bundle)["model"]["sha256"] in problem


def test_a_missing_model_is_found(bundle: Path) -> None:
    (bundle / "model.tflite").unlink()
    assert check_bundle(bundle) == ["model.tflite is missing"]


def test_another_number_of_delegated_nodes_is_found(bundle: Path) -> None:
    here = manifest_of(bundle)["counted"]["delegated_nodes"]
    assert here > 0
    rewrite(bundle, lambda manifest: manifest["counted"].update(delegated_nodes=here + 7))
    (problem,) = check_bundle(bundle)
    assert problem == f"{here} nodes ran on xnnpack here, but {here + 7} where it was measured"


def test_a_model_that_does_not_run_is_found(bundle: Path) -> None:
    content = b"\0\0\0\0TFL3 this is no model"
    (bundle / "model.tflite").write_bytes(content)
    rewrite(bundle, lambda manifest: manifest["model"].update(sha256=hashlib.sha256(content).hexdigest()))
    (problem,) = check_bundle(bundle)
    assert problem.startswith("the model does not run on this machine: ")


def test_what_is_no_bundle_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="A bundle must hold manifest.json, but .*: no such file or directory"):
        check_bundle(tmp_path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "must be JSON"),
        ("{", "must be JSON"),
        ("\N{GREEK SMALL LETTER MU}", "must be JSON"),
        ("[]", "must be a litefront-manifest, but it says 'list'"),
        ("{}", "must be a litefront-manifest, but it says None"),
        ('{"schema": "other"}', "must be a litefront-manifest, but it says 'other'"),
        ('{"schema": "litefront-manifest", "version": 2}', "must be of version 1 to be checked, but it is of 2"),
        ('{"schema": "litefront-manifest", "version": 1, "tier": {}}', "study, cell, .* are missing"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_told(bundle: Path, content: str, told: str) -> None:
    (bundle / "manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=told):
        check_bundle(bundle)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.pop("counted"),
        lambda manifest: manifest.update(model="model.tflite"),
        lambda manifest: manifest["model"].pop("sha256"),
        lambda manifest: manifest["model"].update(inputs=[]),
        lambda manifest: manifest["model"].update(inputs=[{"shape": "all"}]),
        lambda manifest: manifest["configuration"].pop("delegate"),
        lambda manifest: manifest["configuration"].update(delegate="abacus"),
        lambda manifest: manifest.update(configuration=None),
    ],
)
def test_a_manifest_with_parts_missing_or_strange_is_told(bundle: Path, change: Callable[[Any], object]) -> None:
    rewrite(bundle, change)
    with pytest.raises(InputError, match="manifest.json"):
        check_bundle(bundle)


def test_the_manifest_holds_what_measuring_the_pick_again_gave(results: StudyResults, tmp_path: Path) -> None:
    picked = pick(results, "entry").chosen
    assert picked is not None
    found = Confirmation(picked.cell, Mode.SUBMIT, {"latency_ms": replace(picked.figures["latency_ms"], value=9.0)})
    confirmed = replace(results, confirmations={picked.cell: found})
    manifest = manifest_of(export_tier(confirmed, "entry", tmp_path / "bundle"))
    assert manifest["confirmed"] == found.to_json()
    assert manifest["confirmed_breaks"] == "latency <= 3 ms"
    unconfirmed = manifest_of(export_tier(results, "entry", tmp_path / "other"))
    assert (unconfirmed["confirmed"], unconfirmed["confirmed_breaks"]) == (None, None)
