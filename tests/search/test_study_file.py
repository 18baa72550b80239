"""Study files as people write them: what is read, and what is said where they go wrong."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from litefront.objectives.devices import DEVICE_KINDS
from litefront.search.study_file import read_study_file, ready_made_studies
from litefront.spaces.errors import InputError

GOOD = """\
study: mnist
task: {model: model.tflite, data: data.npz}
space:
  quantization: [float32, int8]
  delegate: [none, xnnpack]
"""

UGLY = """\
study: my study
taks: task.py:task
space:
  sparsity: [0.0, 1.5]
  quantization: [float32, int9]
  treads: [1]
  num_threads: [1, 1]
objectives: [accuracy, speed]
load: {samples_per_s: -3, unit: Hz}
sampler: grid
seed: 0
seed: 1
devices: {host: {kind: toaster}}
tiers:
  entry:
    device: host
    limits: {latency: 5}
    where: {threads: [1]}
    prefer: speed
  phone:
    colour: red
"""
OBJECTIVE_NAMES = "accuracy, size, download, latency, throughput, cold_start, memory, power, energy"
UGLY_PROBLEMS = {
    (12, "A key must stand once, but `seed` stands twice."),
    (1, "task: This key must be given."),
    (1, "study: String should match pattern '^[A-Za-z0-9][A-Za-z0-9_.-]*$', but got 'my study'."),
    (
        2,
        "taks: Unknown key; valid here: task, study, space, objectives, load, gates, mixed_precision, budget, "
        "sampler, seed, devices, tiers.",
    ),
    (
        4,
        "space.sparsity.1: `sparsity` must be a fraction in [0, 1) of single weights, or a pattern in quotes with "
        'such a fraction above 0 ("block:0.5", "channel:0.5"), or n zeros of m ("2:4"), but got 1.5.',
    ),
    (
        5,
        "space.quantization.1: `quantization` must be one of float32, float16, dynamic_int8, int8, int16x8, "
        "dynamic_int4, dynamic_int4_block32, dynamic_int8_embedding_int4, weight_only_int8, weight_only_int4, "
        "mixed_int8, "
        "mixed_int16x8, qat_int8, but got 'int9'.",
    ),
    (
        6,
        "space.treads: Unknown key; valid here: sparsity, clusters, quantization, calibration, "
        "calibration_rows, storage, delegate, num_threads, batch_size.",
    ),
    (7, "space.num_threads: Each entry must stand once, but got 1 more than once."),
    (8, f"objectives.1: An objective must be one of {OBJECTIVE_NAMES}, but got 'speed'."),
    (9, "load.samples_per_s: Input should be greater than 0, but got -3."),
    (9, "load.unit: Unknown key; valid here: samples_per_s."),
    (10, "sampler: Input should be 'tpe', 'nsga2', 'nsga3', 'random' or 'exhaustive', but got 'grid'."),
    (13, f"devices.host: `kind` must be one of {', '.join(DEVICE_KINDS)}, but got 'toaster'."),
    (
        17,
        "tiers.entry.limits.latency: A limit must be one of accuracy, size_bytes, download_bytes, latency_ms, "
        "throughput_per_s, cold_start_ms, memory_bytes, power_mw, energy_mj, latency_p90_ms, churn, but got 'latency'.",
    ),
    (
        18,
        "tiers.entry.where.threads: A dimension must be one of sparsity, clusters, quantization, calibration, "
        "calibration_rows, storage, delegate, num_threads, "
        "batch_size, but got 'threads'.",
    ),
    (19, f"tiers.entry.prefer: `prefer` must be one of {OBJECTIVE_NAMES}, balanced, but got 'speed'."),
    (20, "tiers.phone.device: This key must be given."),
    (21, "tiers.phone.colour: Unknown key; valid here: device, where, limits, samples_per_s, prefer, within."),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study.yaml"


def problems(path: Path, text: str | bytes) -> tuple[str, ...]:
    """What is said about a file of this text."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(InputError) as caught:
        read_study_file(str(path))
    return caught.value.problems


def test_a_study_is_read_from_its_file_or_its_folder(path: Path) -> None:
    path.write_text(GOOD)
    study = read_study_file(str(path))
    assert study.spec.study == "mnist"
    assert study.spec.space.search_space().size() == 4
    assert study.folder == path.parent.resolve()
    assert read_study_file(str(path.parent)) == study


def test_paths_are_absolute_wherever_the_study_is_run_from(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(GOOD)
    monkeypatch.chdir(path.parent)
    assert read_study_file("study.yaml").path == path.resolve()


def test_a_byte_order_mark_and_windows_line_ends_are_read(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert read_study_file(str(path)).spec.study == "mnist"


def test_every_mistake_is_reported_at_once_with_line_and_valid_names(path: Path) -> None:
    found = problems(path, UGLY)
    assert set(found) == {f"{path}:{line}: {problem}" for line, problem in UGLY_PROBLEMS}
    assert len(found) == len(UGLY_PROBLEMS)


def test_a_key_that_stands_twice_is_the_only_mistake_of_an_else_good_file(path: Path) -> None:
    assert problems(path, GOOD + "space: {}\n") == (f"{path}:6: A key must stand once, but `space` stands twice.",)


def test_a_key_that_stands_twice_is_found_at_any_depth(path: Path) -> None:
    text = GOOD + textwrap.dedent("""\
        tiers:
          a:
            device: host
            limits:
              latency_ms: 1
              latency_ms: 2
    """)
    assert problems(path, text) == (f"{path}:11: A key must stand once, but `latency_ms` stands twice.",)


def test_the_same_key_in_two_mappings_is_no_mistake(path: Path) -> None:
    path.write_text(GOOD + "tiers: {a: {device: host}, b: {device: host}}\n")
    assert list(read_study_file(str(path)).spec.tiers) == ["a", "b"]


@pytest.mark.parametrize("name", ["device", "where", "limits", "files", "task"])
def test_a_tier_may_bear_any_name(path: Path, name: str) -> None:
    text = GOOD + f"tiers:\n  {name}:\n    device: host\n    colour: red\n"
    assert problems(path, text) == (
        f"{path}:9: tiers.{name}.colour: Unknown key; "
        "valid here: device, where, limits, samples_per_s, prefer, within.",
    )


def test_an_unknown_key_of_a_task_by_files_names_its_keys(path: Path) -> None:
    assert problems(path, GOOD.replace("data:", "dataset:")) == (
        f"{path}:2: task.data: This key must be given.",
        f"{path}:2: task.dataset: Unknown key; "
        "valid here: model, data, metric, loss, epochs, batch_size, learning_rate, "
        "continued_epochs, distillation, temperature, validation_share, patience, max_minutes, output, signature.",
    )


def test_rules_between_keys_are_reported_together(path: Path) -> None:
    (problem,) = problems(path, GOOD + "objectives: [power]\ntiers: {a: {device: phone}}\n")
    assert "tiers.a.device must be one of host, but got 'phone'." in problem
    assert "The objective power needs `load: {samples_per_s: ...}`" in problem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be a mapping of keys, but got NoneType"),
        ("# nothing but a comment\n", "must be a mapping of keys, but got NoneType"),
        ("- a\n- b\n", "must be a mapping of keys, but got list"),
        ("mnist\n", "must be a mapping of keys, but got str"),
        (b"study: caf\xe9\n", "must be UTF-8 text, but invalid continuation byte at byte 10"),
        ("study: [1, 2\n", "must be YAML, but line 2: "),
        ("study: a\n\tspace: {}\n", "must be YAML, but line 2: "),
        ("study: a\n---\nstudy: b\n", "must be YAML, but line 2: "),
        ("study: *nowhere\n", "must be YAML, but line 1: found undefined alias"),
        ("study: !!python/object/apply:os.getpid []\n", "must be YAML, but line 1: could not determine a constructor"),
        ("? [a, b]\n: c\n", "must be YAML, but line 1: found unhashable key"),
        ("study: \x00\n", "must be YAML, but "),
    ],
    ids=["empty", "comment", "list", "word", "latin-1", "open", "tab", "two", "alias", "object", "key", "nul"],
)
def test_what_is_no_study_is_refused_in_words(path: Path, text: str | bytes, words: str) -> None:
    (problem,) = problems(path, text)
    assert problem.startswith(f"{path}: ")
    assert words in problem


@pytest.mark.parametrize("name", ["nowhere.yaml", "nowhere", ""])
def test_a_study_that_is_not_there_names_what_would_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be a study file, a folder with study.yaml, or one of the ready-made"):
        read_study_file(str(tmp_path / name))


def test_ready_made_studies_are_read_by_name() -> None:
    studies = ready_made_studies()
    assert "mnist" in studies
    for name, path in studies.items():
        assert read_study_file(name).path == path.resolve()


def test_an_ssh_configuration_is_relative_to_the_studys_folder(tmp_path: Path) -> None:
    entry = "kind: ssh, host: pi, power: x86-host-1"
    text = GOOD + f"devices: {{a: {{{entry}, config: boards/config}}, b: {{{entry}, config: ~/c}}, c: {{{entry}}}}}\n"
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
    devices = read_study_file(str(tmp_path)).spec.devices
    given = [devices[name].settings().get("config") for name in "abc"]
    assert given == [str(tmp_path / "boards/config"), str(Path.home() / "c"), None]
