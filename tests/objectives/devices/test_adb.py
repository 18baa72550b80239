"""The adb client: the real one where no phone is, and a stand-in for what phones do."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from litefront.objectives.devices.adb import Adb
from litefront.spaces.errors import CandidateError, InputError
from tests.objectives.devices.made_phone import MadePhone


@pytest.fixture
def phone(tmp_path: Path) -> MadePhone:
    return MadePhone(tmp_path / "phone")


@pytest.fixture
def real_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The client of the Android tools, with a server of its own that sees no phone."""
    client = shutil.which("adb")
    if client is None:
        pytest.skip("adb is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
    yield client
    subprocess.run([client, "kill-server"], env=os.environ, check=False, capture_output=True)


def test_the_real_client_without_a_phone(real_client: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="phone must be attached, with USB debugging allowed"):
        Adb(real_client).phone()
    with pytest.raises(InputError, match="The phone 28151FDH must be attached, but `adb devices` lists none"):
        Adb(real_client, "28151FDH").phone()
    with pytest.raises(CandidateError, match="lost the phone: error: device '28151FDH' not found"):
        Adb(real_client, "28151FDH", reconnect_s=0.2).shell("true")
    with pytest.raises(CandidateError, match="lost the phone: .*no devices/emulators found"):
        Adb(real_client, reconnect_s=0.2).push(Path(__file__), "/data/local/tmp/file")
    with pytest.raises(CandidateError, match="lost the phone: "):
        Adb(real_client, "28151FDH", reconnect_s=0.2).pull("/data/local/tmp/file", tmp_path / "file")


def test_a_client_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="adb must say which phones .*cannot be run as .*no-adb.*: No such file"):
        Adb(str(tmp_path / "no-adb")).phone()


@pytest.mark.parametrize(
    ("states", "serial", "problem"),
    [
        ({}, None, "lists none"),
        ({"A": "device", "B": "device"}, None, "`serial` must say which phone is meant, but several .*: A, B"),
        ({"A": "device"}, "B", "The phone B must be attached, but `adb devices` lists A"),
        ({"A": "unauthorized"}, None, "calls it unauthorized: allow USB debugging on its screen"),
        ({"A": "offline"}, "A", "calls it offline"),
        ({"A": "no permissions (user in plugdev group; are your udev rules wrong?)"}, None, "calls it no permissions"),
        ({"A": "recovery"}, None, "calls it recovery."),
    ],
)
def test_a_phone_that_cannot_be_used_has_its_reason(
    phone: MadePhone, states: dict[str, str], serial: str | None, problem: str
) -> None:
    phone.attach(states)
    with pytest.raises(InputError, match=problem):
        Adb(phone.adb, serial).phone()


def test_the_only_phone_needs_no_serial(phone: MadePhone) -> None:
    assert Adb(phone.adb).phone() == "28151FDH"


def test_a_script_gives_all_that_it_prints_and_its_code(phone: MadePhone) -> None:
    reply = Adb(phone.adb).shell("echo out; echo err >&2; (exit 7)")
    assert (reply.text, reply.code) == ("out\nerr\n", 7)


def test_files_go_there_and_back(phone: MadePhone, tmp_path: Path) -> None:
    adb = Adb(phone.adb, "28151FDH")
    (tmp_path / "there").write_bytes(b"\x00\xff")
    adb.push(tmp_path / "there", "/data/local/tmp/file")
    adb.pull("/data/local/tmp/file", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"\x00\xff"
    with pytest.raises(CandidateError, match="nothing could not be copied from the phone"):
        adb.pull("/data/local/tmp/nothing", tmp_path / "back")


def test_a_full_phone_says_so(phone: MadePhone) -> None:
    says = "adb: error: failed to copy 'x' to '/data/local/tmp/x': remote couldn't create file: No space left on device"
    phone.go_wrong("push", says, stream="stdout")
    with pytest.raises(CandidateError, match="could not be copied to the phone: .*No space left on device"):
        Adb(phone.adb).push(Path(__file__), "/data/local/tmp/x")


def test_a_phone_that_comes_back_is_asked_again(phone: MadePhone) -> None:
    phone.go_wrong("shell", "error: device 'x' not found")
    assert Adb(phone.adb).shell("echo hello").text == "hello\n"
    assert len(phone.calls("wait-for-device")) == 1


def test_a_phone_that_stays_away_is_lost(phone: MadePhone) -> None:
    phone.go_wrong("shell", "error: device '28151FDH' not found", times=9)
    with pytest.raises(CandidateError, match="^lost the phone: error: device '28151FDH' not found"):
        Adb(phone.adb).shell("echo hello")


def test_a_connection_that_breaks_off_in_the_middle_is_a_lost_phone(phone: MadePhone) -> None:
    phone.go_wrong("shell", "half of what it", stream="stdout", code=255)
    with pytest.raises(CandidateError, match="^lost the phone: the connection broke off: half of what it"):
        Adb(phone.adb).shell("echo hello")


def test_what_a_script_prints_is_not_taken_for_the_clients_words(phone: MadePhone) -> None:
    reply = Adb(phone.adb).shell("echo \"error: device 'x' not found\"; (exit 1)")
    assert reply.code == 1
    assert not phone.calls("wait-for-device")


def test_a_client_that_hangs_is_ended(phone: MadePhone) -> None:
    phone.go_wrong("shell", "never", sleep_s=60)
    with pytest.raises(CandidateError, match="^hung: no answer from adb within 0.5 s"):
        Adb(phone.adb).shell("true", timeout_s=0.5)
