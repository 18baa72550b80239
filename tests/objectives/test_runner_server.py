"""A runner that stays: each request in a process of its own, and whatever becomes of one, the next is answered."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from litefront.objectives.runner_process import run_request
from litefront.objectives.runner_server import RunnerServer
from litefront.spaces.errors import CandidateError
from litefront.spaces.quantization import Quantization

# The real runner with further actions, each of which goes wrong in its own way.
MISHAPS = """
import os, signal, sys, time
from litefront.objectives import runner

def crash(request):
    print("about to fall", file=sys.stderr, flush=True)
    os.kill(os.getpid(), getattr(signal, request["signal"]))

def hang(request):
    if os.fork() == 0:
        open(request["child"] + ".part", "w").write(str(os.getpid()))
        os.rename(request["child"] + ".part", request["child"])
    time.sleep(600)

def end_all(request):
    os.kill(os.getppid(), signal.SIGKILL)

runner.ACTIONS |= {
    "crash": crash,
    "hang": hang,
    "end_all": end_all,
    "chatter": lambda request: print('{"ended": "soon"}', "INFO: a delegate") or {"process": os.getpid()},
    "refuse": lambda request: (_ for _ in ()).throw(ValueError("no kernel for GATHER")),
    "long": lambda request: {"numbers": list(range(200_000))},
}
runner.serve()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[RunnerServer]:
    server = RunnerServer([sys.executable, "-c", MISHAPS])
    yield server
    server.close()


def ask(server: RunnerServer, action: str, *, timeout_s: float = 60.0, **request: Any) -> dict[str, Any]:
    return server.ask({"action": action} | request, timeout_s=timeout_s)


def test_each_request_has_a_process_of_its_own(server: RunnerServer) -> None:
    processes = {ask(server, "chatter")["process"] for _ in range(3)}
    assert len(processes) == 3
    assert os.getpid() not in processes


def test_it_answers_as_a_runner_that_is_started_for_one_request(
    server: RunnerServer, candidate_files: dict[tuple[Quantization, int], Path], rows_file: Path, tmp_path: Path
) -> None:
    request = {
        "action": "infer",
        "model": str(candidate_files[Quantization.INT8, 4]),
        "inputs": str(rows_file),
        "delegate": "xnnpack",
        "num_threads": 1,
    }
    replies = [
        server.ask(request | {"outputs": str(tmp_path / "served.npy")}, timeout_s=60),
        run_request(request | {"outputs": str(tmp_path / "alone.npy")}, timeout_s=60),
    ]
    assert replies[0] == replies[1]
    np.testing.assert_array_equal(np.load(tmp_path / "served.npy"), np.load(tmp_path / "alone.npy"))


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_a_crash_is_named_and_the_next_request_is_answered(server: RunnerServer, name: str) -> None:
    with pytest.raises(CandidateError, match=f"^crashed with {name}: about to fall$"):
        ask(server, "crash", signal=name)
    assert ask(server, "chatter")["ok"]


def test_a_hang_is_ended_with_all_that_it_started(server: RunnerServer, tmp_path: Path) -> None:
    with pytest.raises(CandidateError, match=r"^hung: no answer within 1.5 s$"):
        ask(server, "hang", timeout_s=1.5, child=str(tmp_path / "child"))
    child = Path(f"/proc/{(tmp_path / 'child').read_text()}/stat")
    for _ in range(100):
        if not child.exists() or child.read_text().rpartition(")")[2].split()[0] in "ZX":
            break
        time.sleep(0.05)
    else:
        pytest.fail("the child of a request that hung goes on running")
    assert ask(server, "chatter")["ok"]


def test_a_server_that_is_killed_costs_one_request(server: RunnerServer) -> None:
    with pytest.raises(CandidateError, match="^crashed with SIGKILL"):
        ask(server, "end_all")
    assert ask(server, "chatter")["ok"]


def test_a_refusal_and_an_unknown_word_are_told(server: RunnerServer) -> None:
    with pytest.raises(CandidateError, match="^refused: no kernel for GATHER$"):
        ask(server, "refuse")
    with pytest.raises(CandidateError, match="^ended with code 1 and no reply: KeyError: 'dance'$"):
        ask(server, "dance")


def test_a_long_answer_arrives_whole(server: RunnerServer) -> None:
    assert ask(server, "long")["numbers"] == list(range(200_000))


def test_a_server_that_cannot_start_says_why() -> None:
    server = RunnerServer([sys.executable, "-c", "raise ModuleNotFoundError('No module named ai_edge_litert')"])
    with pytest.raises(CandidateError, match="ended with code 1 and no reply: ModuleNotFoundError: No module named"):
        ask(server, "probe")


def test_a_closed_server_starts_again(server: RunnerServer) -> None:
    server.close()
    assert ask(server, "probe")["cores"] >= 1
