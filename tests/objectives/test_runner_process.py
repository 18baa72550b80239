"""Whatever becomes of a runner, the caller gets a reply or a reason: stand-in commands that go wrong on purpose."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from litefront.objectives.runner_process import run_request
from litefront.spaces.errors import CandidateError


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def run(code: str, *arguments: str, timeout_s: float = 60.0) -> dict[str, object]:
    return run_request({"action": "infer"}, timeout_s=timeout_s, command=python(code, *arguments))


ECHO = "import json, sys; print(json.dumps({'ok': True, 'request': json.load(sys.stdin)}))"


def test_the_request_arrives_with_its_time_limit() -> None:
    assert run(ECHO)["request"] == {"action": "infer", "timeout_s": 60.0}


def test_what_delegates_print_before_the_reply_is_passed_over() -> None:
    assert run(f"print('INFO: Created a delegate'); {ECHO}")["ok"] is True


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_a_crash_is_named_by_its_signal(name: str) -> None:
    with pytest.raises(CandidateError, match=f"^crashed with {name}$"):
        run(f"import os, signal; os.kill(os.getpid(), signal.{name})")


def test_a_crash_is_told_with_its_last_words() -> None:
    code = "import os, sys; print('first\\nout of range\\n', file=sys.stderr, flush=True); os.abort()"
    with pytest.raises(CandidateError, match="^crashed with SIGABRT: out of range$"):
        run(code)


def test_a_reply_before_the_crash_is_not_believed() -> None:
    with pytest.raises(CandidateError, match="crashed with SIGKILL"):
        run("import os, signal; print('{\"ok\": true}', flush=True); os.kill(os.getpid(), signal.SIGKILL)")


def test_a_hang_is_ended_and_told() -> None:
    with pytest.raises(CandidateError, match=r"^hung: no answer within 0.5 s$"):
        run("import time; time.sleep(600)", timeout_s=0.5)


FORKS_AND_HANGS = """
import os, pathlib, sys, time
child = os.fork()
if child:
    path = pathlib.Path(sys.argv[1])
    path.with_suffix(".part").write_text(str(child))
    path.with_suffix(".part").rename(path)
time.sleep(600)
"""


def is_running(process_id: int) -> bool:
    """Whether there is such a process that still runs; one that is dead but not yet waited for is not."""
    try:
        status = Path(f"/proc/{process_id}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are looked up in /proc")
def test_a_hang_leaves_no_process_behind(tmp_path: Path) -> None:
    # The runner forks for cold starts: the child that hangs must end with it.
    with pytest.raises(CandidateError, match="hung"):
        run(FORKS_AND_HANGS, str(tmp_path / "child"), timeout_s=3)
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        if not is_running(child):
            return
        time.sleep(0.05)
    os.kill(child, 9)
    pytest.fail("the child of a runner that hung goes on running")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("", "^ended with code 0 and no reply$"),
        ("print('hello')", "^ended with code 0 and no reply$"),
        ("print('[1, 2]')", "^ended with code 0 and no reply$"),
        ("print('{\"fine\": true}')", "^ended with code 0 and no reply$"),
        ("print('{\"ok\": tr')", "^ended with code 0 and no reply$"),
        ("import sys; sys.exit(3)", "^ended with code 3 and no reply$"),
        ("raise KeyError('tflite')", "^ended with code 1 and no reply: KeyError: 'tflite'$"),
        (
            "import os; os.write(1, b'\\xff\\xfe\\n'); os.write(2, b'bad \\xe9\\n')",
            "^ended with code 0 and no reply: bad",
        ),
    ],
    ids=["nothing", "words", "list", "no ok", "cut short", "exit code", "traceback", "no text"],
)
def test_an_answer_that_is_no_reply_is_told(code: str, words: str) -> None:
    with pytest.raises(CandidateError, match=words):
        run(code)


def test_a_refusal_is_told_with_its_reason() -> None:
    with pytest.raises(CandidateError, match="^refused: no kernel for GATHER$"):
        run('print(\'{"ok": false, "reason": "no kernel for GATHER"}\')')


def test_a_command_that_does_not_read_its_request_may_still_answer() -> None:
    request = {"action": "infer", "padding": "x" * 1_000_000}
    command = python("import os; os.close(0); print('{\"ok\": true}')")
    assert run_request(request, timeout_s=60, command=command) == {"ok": True}


def test_a_long_answer_arrives_whole() -> None:
    rounds = run("import json; print(json.dumps({'ok': True, 'rounds': list(range(200_000))}))")["rounds"]
    assert rounds == list(range(200_000))
