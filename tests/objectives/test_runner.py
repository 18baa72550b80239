"""The real runner on real files, row by row against LiteRT in this process; nothing here is timed by the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from litefront.objectives import runner
from litefront.objectives.runner import all_calls, bootstrap_interval, is_steady
from litefront.objectives.runner_process import RUNNER, run_request
from litefront.objectives.timing import Timing
from litefront.spaces.errors import CandidateError
from litefront.spaces.quantization import Quantization
from litefront.spaces.rows import load_rows, save_rows
from tests.conftest import BATCHES, run_rows
from tests.spaces.tflite.test_graph import Op, T, make_tflite

Candidates = dict[tuple[Quantization, int], Path]
SHORT = Timing(min_rounds=3, round_s=0.001, max_s=0.05, warm_up_max_s=0.01, cold_starts=2)


def infer(model: Path, inputs: Path, outputs: Path, **changes: Any) -> dict[str, Any]:
    request = {"action": "infer", "model": str(model), "inputs": str(inputs), "outputs": str(outputs)}
    return run_request(request | {"delegate": "none", "num_threads": 1} | changes, timeout_s=120)


# ---------------------------------------------------------------------------------------------------- intervals


@pytest.mark.parametrize("values", [[3.5], [2.0, 2.0, 2.0]])
def test_an_interval_of_one_value_or_of_equal_ones_has_no_width(values: list[float]) -> None:
    assert bootstrap_interval(values) == (values[0], values[0])


def test_an_interval_of_the_median_by_hand() -> None:
    # Of three values resampled the median is the lowest or the highest in 7 of 27 cases each, else the middle one.
    assert bootstrap_interval([10.0, 1.0, 2.0], confidence=0.95) == (1.0, 10.0)
    assert bootstrap_interval([10.0, 1.0, 2.0], confidence=0.2) == (2.0, 2.0)


def test_an_interval_narrows_with_the_number_of_values() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for count in (10, 1000):
        low, high = bootstrap_interval(list(rng.normal(10.0, 1.0, count)))
        assert low <= 10.2
        assert high >= 9.8
        widths.append(high - low)
    # The median's error falls as the root of the count, here tenfold.
    assert widths[1] < widths[0] / 4


def test_the_same_values_give_the_same_interval() -> None:
    values = list(np.random.default_rng(1).random(9))
    assert bootstrap_interval(values) == bootstrap_interval(values)


def test_rounds_are_steady_when_the_interval_is_narrow_beside_the_median() -> None:
    # The interval reaches from 9 to 11, a tenth of the median to either side.
    assert is_steady([9.0, 10.0, 11.0], half_width=0.1)
    assert not is_steady([9.0, 10.0, 11.0], half_width=0.09)
    assert is_steady([10.0], half_width=0.0)


# -------------------------------------------------------------------------------------------------------- infer


@pytest.mark.parametrize("batch_size", BATCHES)
@pytest.mark.parametrize("quantization", [Quantization.FLOAT32, Quantization.DYNAMIC_INT8, Quantization.INT8], ids=str)
def test_infer_answers_row_by_row_as_a_direct_run(
    quantization: Quantization, batch_size: int, candidate_files: Candidates, rows_file: Path, tmp_path: Path
) -> None:
    # 22 rows: the last call of a batch of 4 has 2 rows and is filled up, and what fills it is not answered.
    model = candidate_files[quantization, batch_size]
    reply = infer(model, rows_file, tmp_path / "outputs.npy", delegate="xnnpack")
    outputs = np.load(tmp_path / "outputs.npy")
    assert (reply["rows"], outputs.shape) == (22, (22, 3))
    np.testing.assert_array_equal(outputs, run_rows(model.read_bytes(), np.load(rows_file)))


@pytest.mark.parametrize("count", [1, 4, 5])
def test_infer_answers_every_row_and_no_more(
    count: int, candidate_files: Candidates, rows_file: Path, tmp_path: Path
) -> None:
    rows = np.load(rows_file)
    np.save(tmp_path / "few.npy", rows[:count])
    model = candidate_files[Quantization.FLOAT32, 4]
    assert infer(model, tmp_path / "few.npy", tmp_path / "outputs.npy")["rows"] == count
    whole = run_rows(model.read_bytes(), rows)
    np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), whole[:count], atol=1e-6)


def test_infer_takes_rows_of_another_type(candidate_files: Candidates, rows_file: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "double.npy", np.load(rows_file).astype(np.float64))
    model = candidate_files[Quantization.FLOAT32, 4]
    outputs = []
    for name in (tmp_path / "double.npy", rows_file):
        infer(model, name, tmp_path / "outputs.npy")
        outputs.append(np.load(tmp_path / "outputs.npy"))
    np.testing.assert_array_equal(outputs[0], outputs[1])


def test_more_threads_give_the_same_answers(candidate_files: Candidates, rows_file: Path, tmp_path: Path) -> None:
    model = candidate_files[Quantization.FLOAT32, 4]
    for threads in (1, 2):
        infer(model, rows_file, tmp_path / f"{threads}.npy", delegate="xnnpack", num_threads=threads)
    np.testing.assert_allclose(np.load(tmp_path / "1.npy"), np.load(tmp_path / "2.npy"), atol=1e-6)


@pytest.mark.parametrize(
    ("quantization", "delegate", "delegated", "nodes"),
    [
        (Quantization.FLOAT32, "none", 0, 4),
        (Quantization.FLOAT32, "xnnpack", 4, 4),
        (Quantization.DYNAMIC_INT8, "none", 0, 4),
        # Static ranges have a QUANTIZE and a DEQUANTIZE at their edges beside the four.
        (Quantization.INT8, "none", 0, 6),
        (Quantization.INT8, "xnnpack", 5, 6),  # in two parts: XNNPACK has no kernel for an int8 SOFTMAX
        (Quantization.INT16X8, "none", 0, 6),
        (Quantization.INT16X8, "xnnpack", 0, 6),
    ],
)
def test_delegated_nodes_are_those_that_ran_there(
    quantization: Quantization,
    delegate: str,
    delegated: int,
    nodes: int,
    candidate_files: Candidates,
    rows_file: Path,
    tmp_path: Path,
) -> None:
    reply = infer(candidate_files[quantization, 4], rows_file, tmp_path / "outputs.npy", delegate=delegate)
    assert (reply["delegated_nodes"], reply["nodes"]) == (delegated, nodes)


# ----------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x1c\x00\x00\x00TFL3" + bytes(64)], ids=repr)
def test_a_file_that_is_no_model_is_refused(content: bytes, rows_file: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.tflite").write_bytes(content)
    with pytest.raises(CandidateError, match="^refused: |^crashed with "):
        infer(tmp_path / "bad.tflite", rows_file, tmp_path / "outputs.npy")
    assert not (tmp_path / "outputs.npy").exists()


def test_a_file_that_is_not_there_is_refused(rows_file: Path, tmp_path: Path) -> None:
    with pytest.raises(CandidateError, match=r"^refused: .*nowhere\.tflite"):
        infer(tmp_path / "nowhere.tflite", rows_file, tmp_path / "outputs.npy")


def test_rows_of_another_shape_are_refused(candidate_files: Candidates, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.zeros((3, 5, 5, 1), np.float32))
    words = r"^refused: the model takes \(4, 8, 8, 1\), but the data gives \(4, 5, 5, 1\)$"
    with pytest.raises(CandidateError, match=words):
        infer(candidate_files[Quantization.FLOAT32, 4], tmp_path / "rows.npy", tmp_path / "outputs.npy")


def test_a_model_of_two_inputs_needs_rows_by_name(rows_file: Path, tmp_path: Path) -> None:
    from litefront.spaces.base_model import save_keras
    from litefront.spaces.batch_size import convert
    from litefront.spaces.tensorflow_environment import import_keras

    keras = import_keras()
    left, right = keras.layers.Input((2,)), keras.layers.Input((2,))
    model = save_keras(keras.Model([left, right], keras.layers.Add()([left, right])), tmp_path)
    (tmp_path / "two.tflite").write_bytes(convert(model, 1))
    with pytest.raises(CandidateError, match="takes input_., input_., but the data gives one array without a name"):
        infer(tmp_path / "two.tflite", rows_file, tmp_path / "outputs.npy")


@pytest.mark.parametrize("change", [{"action": "guess"}, {"delegate": "tpu"}])
def test_a_request_of_unknown_words_gets_no_reply(
    change: dict[str, str], candidate_files: Candidates, rows_file: Path, tmp_path: Path
) -> None:
    (word,) = change.values()
    with pytest.raises(CandidateError, match=f"no reply: KeyError: '{word}'"):
        infer(candidate_files[Quantization.FLOAT32, 1], rows_file, tmp_path / "outputs.npy", **change)


# ---------------------------------------------------------------------------------------------------- benchmark


@pytest.fixture(scope="module")
def benchmarked(candidate_files: Candidates, rows_file: Path) -> dict[str, Any]:
    request = {
        "action": "benchmark",
        "model": str(candidate_files[Quantization.FLOAT32, 4]),
        "inputs": str(rows_file),
        "delegate": "xnnpack",
        "num_threads": 1,
        "timing": SHORT.to_json(),
        "reference": None,
    }
    return run_request(request, timeout_s=120)


def test_a_reference_is_timed_beside_each_round(candidate_files: Candidates, rows_file: Path) -> None:
    request = {
        "action": "benchmark",
        "model": str(candidate_files[Quantization.INT8, 4]),
        "inputs": str(rows_file),
        "delegate": "none",
        "num_threads": 1,
        "timing": SHORT.to_json(),
        "reference": {
            "model": str(candidate_files[Quantization.FLOAT32, 1]),
            "delegate": "xnnpack",
            "num_threads": 1,
        },
    }
    reply = run_request(request, timeout_s=120)
    assert all(entry["reference_ms"] > 0 for entry in reply["rounds"])
    # What was delegated is said of the candidate, not of the reference.
    assert reply["delegated_nodes"] == 0


def test_a_benchmark_takes_at_least_the_rounds_that_were_asked_for(benchmarked: dict[str, Any]) -> None:
    assert len(benchmarked["rounds"]) >= 3
    for entry in benchmarked["rounds"]:
        assert entry["calls"] >= 3
        assert 0 < entry["median_ms"] <= entry["p90_ms"] <= entry["wall_s"] * 1e3
        assert entry["cpu_s"] >= 0


def test_a_benchmark_starts_as_many_fresh_processes_as_asked(benchmarked: dict[str, Any]) -> None:
    assert len(benchmarked["cold_starts"]) == 2
    for entry in benchmarked["cold_starts"]:
        assert entry["load_ms"] > 0
        assert entry["first_call_ms"] > 0
        assert entry["peak_memory_bytes"] >= 0


def test_the_memory_of_a_model_is_told_from_that_of_other_files(tmp_path: Path) -> None:
    megabyte, model = 2**20, tmp_path / "the model.tflite"
    for path in (model, tmp_path / "library.so"):
        np.save(path.open("wb"), np.zeros(8 * megabyte, np.uint8))
    before = runner._mapped_bytes(but=str(model))
    mapped = [np.load(path, mmap_mode="r") for path in (model, tmp_path / "library.so")]
    assert all(int(array.sum()) == 0 for array in mapped)
    assert runner._mapped_bytes(but=str(model)) - before == pytest.approx(8 * megabyte, abs=megabyte)


def test_the_peak_of_a_model_is_its_weights_and_little_more(rows_file: Path, tmp_path: Path) -> None:
    from litefront.spaces.base_model import save_keras
    from litefront.spaces.batch_size import convert
    from litefront.spaces.tensorflow_environment import import_keras

    keras = import_keras()
    layers = [keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2**16)]
    (tmp_path / "wide.tflite").write_bytes(convert(save_keras(keras.Sequential(layers), tmp_path), 1))
    request = {"model": str(tmp_path / "wide.tflite"), "inputs": str(rows_file), "reference": None}
    how = {"action": "benchmark", "delegate": "none", "num_threads": 1, "timing": SHORT.to_json()}
    weights_bytes = 4 * 64 * 2**16
    for entry in run_request(request | how, timeout_s=120)["cold_starts"]:
        assert weights_bytes <= entry["peak_memory_bytes"] <= weights_bytes + 4 * 2**20


def test_a_benchmark_says_what_ran(benchmarked: dict[str, Any]) -> None:
    assert (benchmarked["delegated_nodes"], benchmarked["nodes"]) == (4, 4)
    assert benchmarked["last_level_cache_bytes"] >= 0
    assert benchmarked["load_average"] >= 0
    assert benchmarked["steal_s"] >= 0
    assert not any("reference_ms" in entry for entry in benchmarked["rounds"])


def test_a_benchmark_of_what_is_no_model_is_refused_at_the_first_call(rows_file: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.tflite").write_bytes(b"no model at all")
    request = {
        "model": str(tmp_path / "bad.tflite"),
        "inputs": str(rows_file),
        "timing": SHORT.to_json(),
        "reference": None,
    }
    with pytest.raises(CandidateError, match="^refused: "):
        run_request({"action": "benchmark", "delegate": "none", "num_threads": 1} | request, timeout_s=120)


# ------------------------------------------------------------------------------------------------------- device


def test_probe_names_runtime_and_machine() -> None:
    reply = run_request({"action": "probe"}, timeout_s=120)
    assert reply["runtime"].startswith("ai-edge-litert ")
    assert reply["python"] == ".".join(map(str, sys.version_info[:3]))
    assert reply["machine"] == os.uname().machine
    assert 1 <= reply["cores"] <= (os.cpu_count() or 1)


def test_the_runner_is_one_file_that_runs_where_litefront_is_not(
    candidate_files: Candidates, rows_file: Path, tmp_path: Path
) -> None:
    # As on a board: the file alone, in a folder of its own, with no path to the rest.
    alone = tmp_path / "board" / "runner.py"
    alone.parent.mkdir()
    shutil.copy(RUNNER[-1], alone)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    code = "import runpy, sys; sys.modules['litefront'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"
    assert subprocess.run([sys.executable, "-c", code, str(alone)], input="", capture_output=True).returncode != 0
    request = f'{{"action": "infer", "model": "{candidate_files[Quantization.INT8, 4]}", "inputs": "{rows_file}", '
    request += f'"outputs": "{tmp_path / "outputs.npy"}", "delegate": "none", "num_threads": 1}}'
    command = [sys.executable, "-c", code, str(alone)]
    done = subprocess.run(command, input=request, env=environment, capture_output=True, text=True, check=True)
    assert '"ok": true' in done.stdout
    assert np.load(tmp_path / "outputs.npy").shape == (22, 3)


# -------------------------------------------------------------------------------------- rounds on a clock of their own


class MadeUpMachine:
    """A clock that calls of 2 ms and waiting move on, on a machine where others compute.

    Args:
        monkeypatch: Puts it in the place of the real one.
        others_s: How long others have computed after so many seconds.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, others_s: Callable[[float], float] = lambda _now: 0.0) -> None:
        self.now_ns = self.own_ns = 0
        self.calls = 0
        clock = SimpleNamespace(
            perf_counter=lambda: self.now_ns / 1e9,
            perf_counter_ns=lambda: self.now_ns,
            process_time=lambda: self.own_ns / 1e9,
            sleep=self._sleep,
        )
        monkeypatch.setattr(runner, "time", clock)
        monkeypatch.setattr(runner, "_machine_busy_s", lambda: self.own_ns / 1e9 + others_s(self.now_ns / 1e9))

    def invoke(self) -> None:
        self.calls += 1
        self.now_ns += 2_000_000
        self.own_ns += 2_000_000

    def _sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)

    def timed(self, reference: Any = None, **timing: float) -> dict[str, Any]:
        """Rounds of 40 ms."""
        return runner._timed(cast(Any, self), reference, (Timing(round_s=0.04, max_s=0.4).to_json() | timing))


def half_of_the_time_s(now_s: float) -> float:
    """One core is busy for two seconds, and idle for two."""
    return 2.0 * (now_s // 4.0) + min(now_s % 4.0, 2.0)


def marks(timed: dict[str, Any]) -> list[bool]:
    return [entry["disturbed"] for entry in timed["rounds"]]


def test_work_too_little_to_be_seen_in_a_round_is_seen_over_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    # 12 ms a round are about one tick of the kernel's counters, and might be chance; 30 % of all the time are none.
    assert all(marks(MadeUpMachine(monkeypatch, lambda now_s: 0.3 * now_s).timed()))
    assert not any(marks(MadeUpMachine(monkeypatch, lambda now_s: 0.05 * now_s).timed()))


def test_a_burst_of_work_disturbs_the_rounds_beside_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = MadeUpMachine(monkeypatch, lambda now_s: min(max(now_s - 0.1, 0.0), 0.05)).timed()
    assert marks(timed)[:5] == [False, False, True, True, False]
    # What they held is not among the calls that count.
    assert timed["all_calls"]["calls"] == sum(entry["calls"] for entry in timed["rounds"] if not entry["disturbed"])


def test_steady_rounds_are_as_few_as_they_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = MadeUpMachine(monkeypatch).timed()
    assert (len(timed["rounds"]), timed["waited_s"]) == (7, 0.0)


@pytest.mark.parametrize(("timing", "rounds"), [({"min_calls": 200}, 10), ({"min_s": 0.36}, 9), ({"min_s": 0.1}, 7)])
def test_rounds_go_on_until_there_are_calls_and_seconds_enough(
    timing: dict[str, float], rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A round holds 20 calls of 2 ms.
    assert len(MadeUpMachine(monkeypatch).timed(**timing, max_s=60.0)["rounds"]) == rounds


def test_rounds_end_in_time_whatever_is_asked_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(MadeUpMachine(monkeypatch).timed(min_calls=10**9)["rounds"]) == 10  # 0.4 s, each with a call before it


def test_one_that_waits_takes_its_rounds_where_the_machine_is_calm(monkeypatch: pytest.MonkeyPatch) -> None:
    impatient = MadeUpMachine(monkeypatch, half_of_the_time_s).timed()
    assert all(marks(impatient))
    patient = MadeUpMachine(monkeypatch, half_of_the_time_s).timed(calm_max_s=10.0)
    assert marks(patient) == [False] * 7
    assert patient["waited_s"] == pytest.approx(2.2, abs=0.21)


def test_waiting_takes_no_time_from_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    # 6 s of calm rounds need three calm phases of two seconds, and waiting between them.
    timed = MadeUpMachine(monkeypatch, half_of_the_time_s).timed(calm_max_s=30.0, min_s=5.0, max_s=6.5)
    calm = [entry for entry in timed["rounds"] if not entry["disturbed"]]
    assert sum(entry["wall_s"] for entry in calm) >= 5.0
    assert timed["waited_s"] > 4.0


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = MadeUpMachine(monkeypatch, lambda now_s: now_s).timed(calm_max_s=1.0)
    assert all(marks(timed))
    assert timed["waited_s"] == pytest.approx(1.0, abs=0.21)


def test_a_soak_calls_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = MadeUpMachine(monkeypatch)
    runner._soak(cast(Any, machine), 3.0)
    assert machine.calls == 1500


def test_the_reference_stands_before_or_behind_each_round_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, order = MadeUpMachine(monkeypatch), []

    def named(name: str) -> Any:
        return SimpleNamespace(invoke=lambda: (order.append(name), machine.invoke()))

    timing = Timing(round_s=0.04, reference_round_s=0.02).to_json()
    timed = runner._timed(named("candidate"), named("reference"), timing)
    turns = [name for name, before in zip(order, [None, *order], strict=False) if name != before]
    assert all(entry["reference_ms"] == 2.0 for entry in timed["rounds"])
    # Two that come together are one turn; neither is always first.
    assert 7 < len(turns) < 14


def test_all_calls_by_hand() -> None:
    told = all_calls([np.arange(1.0, 51.0), np.arange(51.0, 102.0)])
    assert (told["calls"], told["min_ms"], told["p50_ms"]) == (101, 1.0, 51.0)
    assert (told["p90_ms"], told["p95_ms"], told["p99_ms"]) == (91.0, 96.0, 100.0)


def test_the_interval_of_the_p90_knows_that_rounds_differ() -> None:
    rng = np.random.default_rng(0)
    alike = [rng.exponential(1.0, 200) for _ in range(20)]
    unlike = [rng.exponential(1.0 + 0.5 * (number % 2), 200) for number in range(20)]
    widths = []
    for rounds in (alike, unlike):
        told = all_calls(rounds)
        low, high = told["p90_interval_ms"]
        assert low < told["p90_ms"] < high
        widths.append((high - low) / told["p90_ms"])
    assert widths[1] > 1.5 * widths[0]
    # A single round cannot say how rounds differ; its interval is at least no error.
    low, high = all_calls([np.ones(5)])["p90_interval_ms"]
    assert (low, high) == (1.0, 1.0)


# ------------------------------------------------------------------------------- several inputs, integers, no batch


@pytest.fixture(scope="module")
def two_by_two(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """A model that gives its two inputs back, the float one doubled, the integer one as it is; by batch."""
    from litefront.spaces.base_model import save_keras
    from litefront.spaces.batch_size import convert
    from litefront.spaces.tensorflow_environment import import_keras

    keras = import_keras()
    folder = tmp_path_factory.mktemp("two")
    number, words = keras.layers.Input((3,), name="number"), keras.layers.Input((2,), name="a/words", dtype="int32")
    outputs = [keras.layers.Reshape((2, 1), name="same")(words), keras.layers.Add(name="double")([number, number])]
    model = save_keras(keras.Model([number, words], outputs), folder)
    files = {}
    for batch_size in BATCHES:
        files[batch_size] = folder / f"{batch_size}.tflite"
        files[batch_size].write_bytes(convert(model, batch_size))
    return files


NAMED = {
    "number": np.arange(15, dtype=np.float32).reshape(5, 3),
    # Beyond what a float32 holds exactly.
    "a/words": (np.arange(10).reshape(5, 2) + 2**24 + 1).astype(np.int64),
}


@pytest.mark.parametrize("delegate", ["none", "xnnpack"])
@pytest.mark.parametrize("batch_size", BATCHES)
def test_several_inputs_and_outputs_go_by_name_and_integers_stay_exact(
    batch_size: int, delegate: str, two_by_two: dict[int, Path], tmp_path: Path
) -> None:
    inputs, outputs = save_rows(NAMED, tmp_path / "rows"), tmp_path / "outputs.npz"
    assert infer(two_by_two[batch_size], inputs, outputs, delegate=delegate)["rows"] == 5
    answers = load_rows(outputs)
    assert isinstance(answers, dict) and set(answers) == {"same", "double"}
    np.testing.assert_array_equal(answers["same"][..., 0], NAMED["a/words"])
    np.testing.assert_array_equal(answers["double"], 2 * NAMED["number"])


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"number": NAMED["number"]}, "the model takes a/words, number, but the data gives number"),
        (NAMED | {"more": NAMED["number"]}, "takes a/words, number, but the data gives a/words, more, number"),
        (NAMED | {"a/words": NAMED["a/words"] + 0.5}, "takes int32 as a/words, which 8 values of the data are not"),
        (NAMED | {"a/words": NAMED["a/words"] * 2**31}, "takes int32 as a/words, which 8 values of the data are not"),
        (NAMED | {"number": NAMED["number"][:, :2]}, r"takes \(4, 3\) as number, but the data gives \(4, 2\)"),
    ],
)
def test_rows_that_do_not_fit_several_inputs_are_refused(
    rows: dict[str, np.ndarray], words: str, two_by_two: dict[int, Path], tmp_path: Path
) -> None:
    with pytest.raises(CandidateError, match=f"^refused: .*{words}$"):
        infer(two_by_two[4], save_rows(rows, tmp_path / "rows"), tmp_path / "outputs.npz")


def test_several_outputs_do_not_fit_into_one_array(two_by_two: dict[int, Path], tmp_path: Path) -> None:
    with pytest.raises(CandidateError, match="refused: the model has the outputs .*, which take a .npz"):
        infer(two_by_two[1], save_rows(NAMED, tmp_path / "rows"), tmp_path / "outputs.npy")


def test_a_model_of_several_inputs_is_timed(two_by_two: dict[int, Path], tmp_path: Path) -> None:
    request = {
        "action": "benchmark",
        "model": str(two_by_two[4]),
        "inputs": str(save_rows(NAMED, tmp_path / "rows")),
        "timing": SHORT.to_json(),
        "reference": None,
        "delegate": "xnnpack",
        "num_threads": 1,
    }
    reply = run_request(request, timeout_s=120)
    assert len(reply["rounds"]) >= 3 and len(reply["cold_starts"]) == 2


def test_a_model_without_a_batch_dimension_is_called_row_by_row(tmp_path: Path) -> None:
    tensors = {"x": T("FLOAT32", (2, 3)), "y": T("FLOAT32", (2, 3))}
    (tmp_path / "one.tflite").write_bytes(make_tflite(tensors, [Op("ABS", ("x",), ("y",))]))
    rows = -np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    np.save(tmp_path / "rows.npy", rows)
    reply = infer(tmp_path / "one.tflite", tmp_path / "rows.npy", tmp_path / "outputs.npy")
    assert reply["rows"] == 4
    np.testing.assert_array_equal(np.load(tmp_path / "outputs.npy"), -rows)


def test_a_row_is_answered_as_if_none_came_before(tmp_path: Path) -> None:
    from litefront.spaces.base_model import load_keras, save_keras
    from litefront.spaces.batch_size import convert
    from litefront.spaces.tensorflow_environment import import_keras

    keras = import_keras()
    # LiteRT's LSTM keeps its state from call to call.
    model = save_keras(keras.Sequential([keras.layers.Input((4, 2)), keras.layers.LSTM(3)]), tmp_path)
    (tmp_path / "lstm.tflite").write_bytes(convert(model, 1))
    rows = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    infer(tmp_path / "lstm.tflite", tmp_path / "rows.npy", tmp_path / "outputs.npy", delegate="xnnpack")
    np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), np.asarray(load_keras(model)(rows)), atol=1e-5)
