"""A board over ssh: the real client, a real sshd, the real runner, and what goes wrong between them."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litefront.objectives.devices import Candidate, HostDevice, SshDevice, open_device
from litefront.objectives.devices.board import Board
from litefront.objectives.devices.ssh_connection import ConnectionLostError, SshConnection
from litefront.objectives.latency import measure_latency
from litefront.objectives.power import POWER_MODELS
from litefront.objectives.timing import Timing
from litefront.spaces.delegate import Delegate
from litefront.spaces.deployment_config import DeploymentConfig
from litefront.spaces.errors import CandidateError, InputError
from litefront.spaces.quantization import Quantization
from tests.objectives.devices.contract import DeviceContract
from tests.objectives.devices.loopback_board import LoopbackBoard, free_port, loopback_board, make_key

Candidates = dict[tuple[Quantization, int], Path]
SHORT = Timing(min_rounds=3, round_s=0.001, max_s=0.05, warm_up_max_s=0.01, cold_starts=1)
LONG = Timing(min_rounds=60, round_s=0.05, max_s=0.05, warm_up_max_s=0.01, cold_starts=0)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackBoard]:
    yield from loopback_board(tmp_path_factory.mktemp("board"))


@pytest.fixture
def own_board(tmp_path: Path) -> Iterator[LoopbackBoard]:
    """A board that a test may break."""
    folder = tmp_path / "board"
    folder.mkdir()
    yield from loopback_board(folder)


@pytest.fixture
def open_board(board: LoopbackBoard) -> Iterator[Callable[..., SshDevice]]:
    """Makes devices of the board's entry with changes, and closes them."""
    opened: list[SshDevice] = []

    def open_changed(**changes: Any) -> SshDevice:
        device = open_device(board.entry(**changes))
        assert isinstance(device, SshDevice)
        opened.append(device)
        return device

    yield open_changed
    for device in opened:
        device.close()


@pytest.fixture
def device(open_board: Callable[..., SshDevice]) -> SshDevice:
    return open_board()


@pytest.fixture
def int8(candidate_files: Candidates) -> Candidate:
    return Candidate(candidate_files[Quantization.INT8, 1], DeploymentConfig(quantization=Quantization.INT8))


def test_a_board_does_not_train_and_has_the_power_that_its_entry_names(device: SshDevice) -> None:
    assert not device.shares_cores
    assert device.power_model is POWER_MODELS["x86-host-1"]


def test_probe_says_what_the_board_is(device: SshDevice) -> None:
    facts, here = device.probe(), HostDevice().probe()
    assert facts.kind == "ssh"
    assert facts.identity() == here.identity() | {"kind": "ssh"}
    assert facts.refusals().keys() == here.refusals().keys()


@pytest.mark.parametrize("delegate", [Delegate.NONE, Delegate.XNNPACK])
@pytest.mark.parametrize("quantization", [Quantization.FLOAT32, Quantization.INT8])
def test_it_answers_as_the_host_does_bit_by_bit(
    delegate: Delegate,
    quantization: Quantization,
    device: SshDevice,
    candidate_files: Candidates,
    rows_file: Path,
    tmp_path: Path,
) -> None:
    config = DeploymentConfig(quantization=quantization, delegate=delegate, batch_size=4)
    candidate = Candidate(candidate_files[quantization, 4], config)
    reply = device.infer(candidate, rows_file, tmp_path / "there.npy")
    here = HostDevice().infer(candidate, rows_file, tmp_path / "here.npy")
    assert (tmp_path / "there.npy").read_bytes() == (tmp_path / "here.npy").read_bytes()
    assert {name: reply[name] for name in here} == here


def test_a_benchmark_becomes_a_latency(device: SshDevice, candidate_files: Candidates, rows_file: Path) -> None:
    candidate = Candidate(candidate_files[Quantization.INT8, 4], DeploymentConfig(batch_size=4))
    reference = Candidate(candidate_files[Quantization.FLOAT32, 1], DeploymentConfig())
    reply = device.benchmark(candidate, rows_file, SHORT, reference)
    figures = measure_latency([reply["rounds"]], batch_size=4)
    assert 0 < figures["latency_ms"].value <= figures["latency_p90_ms"].value
    assert all("reference_ms" in entry for entry in reply["rounds"])
    assert set(reply["health"]) == {"before", "after"}
    assert set(reply["health"]["after"]) == {"throttled", "clocks_mhz", "temperatures_c"}


def test_files_are_sent_once(
    device: SshDevice, open_board: Callable[..., SshDevice], board: LoopbackBoard, int8: Candidate, rows_file: Path
) -> None:
    device.benchmark(int8, rows_file, SHORT)
    kept = board.kept()
    assert kept
    open_board().benchmark(int8, rows_file, SHORT)
    assert board.kept() == kept


def test_a_file_that_was_cut_short_on_the_board_is_sent_again(
    device: SshDevice, board: LoopbackBoard, int8: Candidate, rows_file: Path, tmp_path: Path
) -> None:
    device.infer(int8, rows_file, tmp_path / "first.npy")
    for kept in board.cache.glob("kept-*"):
        os.truncate(kept, 10)
    device.infer(int8, rows_file, tmp_path / "second.npy")
    assert (tmp_path / "first.npy").read_bytes() == (tmp_path / "second.npy").read_bytes()


def test_nothing_but_kept_files_and_locks_stays_on_the_board(
    device: SshDevice, board: LoopbackBoard, int8: Candidate, rows_file: Path, tmp_path: Path
) -> None:
    device.infer(int8, rows_file, tmp_path / "outputs.npy")
    others = {path.name for path in board.cache.iterdir() if not path.name.startswith("kept-")}
    assert others == {"gate.lock", "room.lock"}


def test_what_is_no_model_costs_the_candidate(device: SshDevice, rows_file: Path, tmp_path: Path) -> None:
    bad = Candidate(tmp_path / "bad.tflite", DeploymentConfig())
    bad.model.write_bytes(b"no model at all")
    with pytest.raises(CandidateError, match="^refused: "):
        device.infer(bad, rows_file, tmp_path / "outputs.npy")
    with pytest.raises(CandidateError, match="^refused: "):
        device.benchmark(bad, rows_file, SHORT)


def test_what_a_login_shell_says_is_no_part_of_the_answer(
    open_board: Callable[..., SshDevice], int8: Candidate, rows_file: Path, tmp_path: Path
) -> None:
    chatty = tmp_path / "python"
    chatty.write_text(f'#!/bin/sh\necho "Welcome!"; printf "{{"\nexec {sys.executable} "$@"\n', encoding="ascii")
    chatty.chmod(0o755)
    reply = open_board(python=str(chatty)).infer(int8, rows_file, tmp_path / "outputs.npy")
    assert reply["rows"] == len(np.load(tmp_path / "outputs.npy")) == 22


def test_one_connection_serves_all_requests_and_is_closed_at_the_end(
    own_board: LoopbackBoard, int8: Candidate, rows_file: Path
) -> None:
    device = open_device(own_board.entry())
    assert isinstance(device, SshDevice)
    device.benchmark(int8, rows_file, SHORT)
    connections = own_board.connections()
    device.benchmark(int8, rows_file, SHORT)
    assert own_board.connections() == connections != []
    device.close()
    while own_board.connections():
        pass


# ------------------------------------------------------------------------------- boards that cannot be used


def test_a_board_that_does_not_answer_is_refused(board: LoopbackBoard, open_board: Callable[..., SshDevice]) -> None:
    config = board.config_with("wrong_port", Port=free_port())
    with pytest.raises(InputError, match="^board must be reached, and stay so, but: .*Connection refused"):
        open_board(config=config).probe()


def test_an_unknown_name_is_refused(open_board: Callable[..., SshDevice]) -> None:
    with pytest.raises(InputError, match="must be a host that your ssh configuration or the network knows, but: "):
        open_board(host="no-such-board.invalid").probe()


def test_a_wrong_key_is_refused(board: LoopbackBoard, open_board: Callable[..., SshDevice], tmp_path: Path) -> None:
    config = board.config_with("wrong_key", IdentityFile=make_key(tmp_path / "other_key"))
    with pytest.raises(InputError, match="^board must let you in by a key, .* but: .*Permission denied"):
        open_board(config=config).probe()


def test_an_unknown_host_key_is_refused(
    board: LoopbackBoard, open_board: Callable[..., SshDevice], tmp_path: Path
) -> None:
    known = tmp_path / "known_hosts"
    config = board.config_with("unknown_host", UserKnownHostsFile=known)
    with pytest.raises(InputError, match="^board must have a known host key .* but: .*Host key verification failed"):
        open_board(config=config).probe()
    # Nor is it taken on trust for the next time.
    assert not known.exists()


def test_a_changed_host_key_is_refused(
    board: LoopbackBoard, open_board: Callable[..., SshDevice], tmp_path: Path
) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(board.known_host(make_key(tmp_path / "other_key")), encoding="ascii")
    config = board.config_with("changed_host", UserKnownHostsFile=known)
    with pytest.raises(InputError, match="^board must have the host key that your known hosts have for it, but: "):
        open_board(config=config).probe()


def test_a_missing_ssh_configuration_is_refused(open_board: Callable[..., SshDevice], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="^board must be described by a valid ssh config, but: .*nothing_here"):
        open_board(config=str(tmp_path / "nothing_here")).probe()


def test_a_python_that_is_not_there_is_refused(open_board: Callable[..., SshDevice]) -> None:
    with pytest.raises(InputError, match="^board must have the Python that `python` names, but: .*no_such_python"):
        open_board(python="/opt/no_such_python").probe()


def test_a_program_that_is_no_python_is_refused(open_board: Callable[..., SshDevice]) -> None:
    with pytest.raises(InputError, match="^board must run Python 3.8 or later, but: "):
        open_board(python="/bin/cat").probe()


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with nothing but its standard library."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False)
    return folder / "bin" / "python"


def packages_of(python: Path) -> Path:
    return next((python.parent.parent / "lib").glob("python*/site-packages"))


def test_a_python_without_numpy_is_refused(bare_python: Path, open_board: Callable[..., SshDevice]) -> None:
    with pytest.raises(InputError, match="must have numpy and ai-edge-litert .* but the runner .*numpy"):
        open_board(python=str(bare_python)).probe()


def test_a_litert_that_the_runner_does_not_work_with_is_refused(
    bare_python: Path, open_board: Callable[..., SshDevice]
) -> None:
    packages, numpy = packages_of(bare_python), Path(np.__file__).parent
    for found in (numpy, *numpy.parent.glob("numpy.libs")):
        (packages / found.name).symlink_to(found)
    with pytest.raises(InputError, match="must have numpy and ai-edge-litert .* but the runner .*ai-edge-litert"):
        open_board(python=str(bare_python)).probe()
    (packages / "ai_edge_litert").mkdir()
    (packages / "ai_edge_litert" / "interpreter.py").touch()
    (packages / "ai_edge_litert-0.1.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: ai-edge-litert\nVersion: 0.1\n"
    (packages / "ai_edge_litert-0.1.dist-info" / "METADATA").write_text(metadata, encoding="ascii")
    with pytest.raises(InputError, match="must work with the ai-edge-litert 0.1 of board, but it .*OpResolverType"):
        open_board(python=str(bare_python)).probe()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts disks of so many bytes."""
    mounted = []

    def mount(size: int) -> Path:
        path = tmp_path / f"disk_{size}"
        path.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True)
        if done.returncode:
            pytest.skip("a small disk cannot be mounted here")
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", "--lazy", path], check=True)


def test_a_full_disk_is_refused_at_the_start_and_costs_a_candidate_later(
    small_disk: Callable[[int], Path], open_board: Callable[..., SshDevice], int8: Candidate, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="there is no space in .*disk_8192: .* MB are needed"):
        open_board(folder=str(small_disk(8192))).probe()
    device = open_board(folder=str(small_disk(1 << 17)))
    device.probe()
    np.save(tmp_path / "rows.npy", np.zeros((1000, 8, 8, 1), np.float32))
    with pytest.raises(CandidateError, match="there is no space in .*: 0.3 MB are needed, 0.[01] MB are free"):
        device.infer(int8, tmp_path / "rows.npy", tmp_path / "outputs.npy")
    assert not list((tmp_path / "disk_131072").glob("part-*"))


def test_a_folder_that_cannot_be_made_is_refused(open_board: Callable[..., SshDevice]) -> None:
    with pytest.raises(InputError, match="/dev/null/cache cannot be used: Not a directory"):
        open_board(folder="/dev/null/cache").probe()


# --------------------------------------------------------------------------------- boards that go and come


def in_background(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Starts something; its result, or the error that it ended with, is in the list once the thread has ended."""
    left: list[Any] = []

    def run() -> None:
        try:
            left.append(work())
        except Exception as error:
            left.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, left


def test_a_dropped_connection_is_taken_up_again(own_board: LoopbackBoard, int8: Candidate, rows_file: Path) -> None:
    device = open_device(own_board.entry())
    thread, left = in_background(lambda: device.benchmark(int8, rows_file, LONG))
    first = own_board.await_process("kept-")
    own_board.drop_connections()
    thread.join()
    assert "rounds" in left[0]
    assert not Path(f"/proc/{first}").exists()


def test_a_board_that_restarts_is_waited_for(own_board: LoopbackBoard, int8: Candidate, rows_file: Path) -> None:
    device = open_device(own_board.entry())
    thread, left = in_background(lambda: device.benchmark(int8, rows_file, LONG))
    own_board.await_process("kept-")
    own_board.stop()
    own_board.start()
    thread.join()
    assert "rounds" in left[0]


def test_a_board_that_does_not_come_back_costs_the_candidate(
    own_board: LoopbackBoard, int8: Candidate, rows_file: Path
) -> None:
    device = open_device(own_board.entry(max_absence_s=0.5))
    device.benchmark(int8, rows_file, SHORT)
    own_board.stop()
    with pytest.raises(CandidateError, match="^board must be reached, .*it was not back after 0.5 s"):
        device.benchmark(int8, rows_file, SHORT)
    own_board.start()
    assert "rounds" in device.benchmark(int8, rows_file, SHORT)


def test_a_board_that_breaks_off_again_and_again_is_given_up(own_board: LoopbackBoard) -> None:
    class Breaking(SshConnection):
        asked = 0

        def ask(self, request: Any, **options: Any) -> dict[str, Any]:
            if request["action"] == "run":
                self.asked += 1
                own_board.drop_connections()
                raise ConnectionLostError("it broke off")
            return super().ask(request, **options)

    connection = Breaking("board", sys.executable, config=str(own_board.config))
    with pytest.raises(ConnectionLostError, match="^it broke off$"):
        Board(connection, str(own_board.cache), 20.0).run({"action": "probe"}, timeout_s=60)
    assert connection.asked == 4


HANGS = """
import json, os, pathlib, sys, time
request = json.load(sys.stdin)
child = os.fork()
if child:
    pathlib.Path(request["pids"]).write_text(json.dumps([os.getpid(), child]))
time.sleep(600)
"""


def test_a_runner_that_hangs_is_ended_with_all_that_it_started(board: LoopbackBoard, tmp_path: Path) -> None:
    runner, pids = tmp_path / "hangs.py", tmp_path / "pids"
    runner.write_text(HANGS, encoding="ascii")
    connection = SshConnection("board", sys.executable, config=str(board.config))
    with pytest.raises(CandidateError, match="^hung: no answer within 1 s$"):
        Board(connection, str(board.cache), 0.0, runner=runner).run({"pids": str(pids)}, timeout_s=1.0)
    connection.close()
    for process in json.loads(pids.read_text(encoding="ascii")):
        assert not is_running(process)


def is_running(process: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False


class Impatient(SshConnection):
    """Gives up long before the runner's time is over."""

    def ask(self, request: Mapping[str, Any], *, timeout_s: float, **files: Any) -> dict[str, Any]:
        return super().ask(request, timeout_s=min(timeout_s, 5.0), **files)


def test_a_runner_whose_connection_is_given_up_is_ended(board: LoopbackBoard, tmp_path: Path) -> None:
    runner, pids = tmp_path / "hangs.py", tmp_path / "pids"
    runner.write_text(HANGS, encoding="ascii")
    connection = Impatient("board", sys.executable, config=str(board.config))
    with pytest.raises(ConnectionLostError, match="^board must answer, but nothing came within 5 s"):
        Board(connection, str(board.cache), 0.0, runner=runner).run({"pids": str(pids)}, timeout_s=600, waits=False)
    for process in json.loads(pids.read_text(encoding="ascii")):
        while is_running(process):
            time.sleep(0.01)
    connection.close()


CRASHES = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"


def test_a_runner_that_crashes_costs_the_candidate(board: LoopbackBoard, tmp_path: Path) -> None:
    runner = tmp_path / "crashes.py"
    runner.write_text(CRASHES, encoding="ascii")
    connection = SshConnection("board", sys.executable, config=str(board.config))
    with pytest.raises(CandidateError, match="^crashed with SIGSEGV"):
        Board(connection, str(board.cache), 0.0, runner=runner).run({}, timeout_s=60)
    connection.close()


# ------------------------------------------------------------------------------------------------ throttling


def test_figures_of_a_throttled_board_are_taken_again(
    own_board: LoopbackBoard, int8: Candidate, rows_file: Path
) -> None:
    # Throttled at first; then it comes up during the measurement; then it is long ago.
    own_board.flags("0x50005", "0x50000", "0xd0008", "0xd0000")
    device = open_device(own_board.entry())
    reply = device.benchmark(int8, rows_file, SHORT)
    assert (reply["health"]["before"]["throttled"], reply["health"]["after"]["throttled"]) == (0xD0000, 0xD0000)
    assert "rounds" in reply


def test_a_board_that_is_always_throttled_costs_the_candidate(
    own_board: LoopbackBoard, int8: Candidate, rows_file: Path
) -> None:
    own_board.flags("0x50005")
    device = open_device(own_board.entry())
    with pytest.raises(CandidateError, match="^throttled: under-voltage and throttling.* at each of 3 measurements$"):
        device.benchmark(int8, rows_file, SHORT)


def test_answers_are_taken_from_a_throttled_board(
    own_board: LoopbackBoard, int8: Candidate, rows_file: Path, tmp_path: Path
) -> None:
    own_board.flags("0x50005")
    assert open_device(own_board.entry()).infer(int8, rows_file, tmp_path / "outputs.npy")["rows"] == 22


def test_measurements_have_the_board_alone(own_board: LoopbackBoard, int8: Candidate, rows_file: Path) -> None:
    own_board.cache.mkdir()
    with open(own_board.cache / "room.lock", "a") as room:
        fcntl.flock(room, fcntl.LOCK_SH)
        device = open_device(own_board.entry())
        thread, left = in_background(lambda: device.benchmark(int8, rows_file, SHORT))
        own_board.await_process("-c import sys; exec")
        while not is_locked(own_board.cache / "gate.lock"):
            pass
        assert not own_board.processes("kept-")
    thread.join()
    assert "rounds" in left[0]


def is_locked(path: Path) -> bool:
    if not path.exists():
        return False
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


class TestContract(DeviceContract):
    @pytest.fixture
    def device(self, open_board: Callable[..., SshDevice]) -> SshDevice:
        return open_board()
