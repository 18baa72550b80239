"""The resting place: the same behaviour wherever it is, and errors that a user can read and may show around."""

from __future__ import annotations

import builtins
import errno
import posixpath
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from litefront.search.shared_rest import SharedRest
from litefront.spaces.errors import InputError, StoreError


class UnwillingServer(LocalFileSystem):
    """A server, over ftp or smb say, that does not rename onto a file that is there."""

    protocol = "unwilling"

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        if self.exists(path2):
            raise FileExistsError(path2)
        super().mv(path1, path2, **options)


class RefusingServer(LocalFileSystem):
    """A server that lets nobody rename."""

    protocol = "refusing"

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")


class ServerThatRemembers(MemoryFileSystem):
    """A server whose listings are asked for once, as over ftp."""

    protocol = "remembering"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.missing: set[str] = set()

    def cat_file(self, path: str, **options: Any) -> bytes:
        if path in self.missing or not self.exists(path):
            self.missing.add(path)
            raise FileNotFoundError(path)
        return bytes(super().cat_file(path, **options))

    def invalidate_cache(self, path: str | None = None) -> None:
        self.missing = {name for name in self.missing if posixpath.dirname(name) != path}


class ForgetfulPlace(MemoryFileSystem):
    """A place that takes everything and gives nothing back."""

    protocol = "forgetful"

    def cat_file(self, path: str, **options: Any) -> bytes:
        return b""


class ServerThatHangsUp(MemoryFileSystem):
    """A server that ends connections which lie idle."""

    protocol = "idle"
    connections = 0
    ended: ClassVar[set[int]] = set()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        type(self).connections += 1
        self.number = type(self).connections

    def cat_file(self, path: str, **options: Any) -> bytes:
        if self.number in self.ended:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        return bytes(super().cat_file(path, **options))


class ServerThatTalks(MemoryFileSystem):
    """A server whose errors hold what it was called with."""

    protocol = "talking"

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, str]:
        return {"url": path}

    def _fail(self, *arguments: Any, **options: Any) -> Any:
        raise RuntimeError(f"no answer to {self.options['url']} for pa:ss and secret\nmore lines")

    cat_file = info = pipe_file = _fail


for kind in (
    ForgetfulPlace,
    RefusingServer,
    ServerThatHangsUp,
    ServerThatRemembers,
    ServerThatTalks,
    UnwillingServer,
):
    fsspec.register_implementation(kind.protocol, kind, clobber=True)


@pytest.fixture(params=["path", "file", "memory", "unwilling"])
def rest(request: pytest.FixtureRequest, tmp_path: Path) -> SharedRest:
    place = tmp_path / "deep" / "rest"
    urls = {
        "path": str(place),
        "file": f"file://{place}/",
        "memory": f"memory://{uuid4().hex}",
        "unwilling": f"unwilling://{place}",
    }
    return SharedRest(urls[request.param])


def test_what_is_written_is_read_and_has_its_size(rest: SharedRest) -> None:
    rest.write("objects/ab/abc", b"content")
    assert rest.read("objects/ab/abc") == b"content"
    assert rest.size_bytes("objects/ab/abc") == 7


def test_what_was_never_written_is_none(rest: SharedRest) -> None:
    assert rest.read("objects/ab/abc") is None
    assert rest.size_bytes("objects/ab/abc") is None


def test_a_later_content_replaces_the_one_before(rest: SharedRest) -> None:
    rest.write("record", b"first")
    rest.write("record", b"second")
    assert rest.read("record") == b"second"


def test_check_passes_where_files_can_be_written_and_leaves_none(rest: SharedRest, tmp_path: Path) -> None:
    rest.check()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_write_leaves_no_other_file(tmp_path: Path) -> None:
    SharedRest(str(tmp_path)).write("record", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["record"]


def test_a_write_that_fails_at_its_end_leaves_no_part(tmp_path: Path) -> None:
    (tmp_path / "record" / "in the way").mkdir(parents=True)
    (tmp_path / "record" / "record").mkdir()
    with pytest.raises(StoreError, match="must stay within reach, but .* cannot be written"):
        SharedRest(f"unwilling://{tmp_path}").write("record", b"content")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_server_that_lets_nobody_rename_is_told_as_it_is_and_keeps_no_part(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot: permission denied"):
        SharedRest(f"refusing://{tmp_path}").check()
    assert list(tmp_path.iterdir()) == []


def test_what_another_machine_wrote_since_is_seen() -> None:
    first, second = SharedRest("remembering://place"), SharedRest("remembering://place")
    assert first.read("record") is None
    second.write("record", b"content")
    assert first.read("record") == b"content"


def test_check_names_a_protocol_that_nobody_knows() -> None:
    with pytest.raises(InputError, match="must be one that can be written and read, but s9://bucket .*not known: s9"):
        SharedRest("s9://bucket").check()


def test_check_says_which_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without_s3fs(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "s3fs":
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_s3fs)
    with pytest.raises(InputError, match=r"s3://bucket/prefix cannot: ImportError: Install s3fs"):
        SharedRest("s3://bucket/prefix").check()


def test_check_says_why_a_place_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="below cannot: not a directory"):
        SharedRest(f"file://{tmp_path}/file/below").check()


def test_check_names_a_server_that_does_not_answer() -> None:
    with pytest.raises(InputError, match=r"ftp://\*\*\*@127.0.0.1:1/x cannot: connection refused") as caught:
        SharedRest("ftp://user:pass@127.0.0.1:1/x").check()
    assert "pass" not in str(caught.value)


def test_check_refuses_a_place_that_does_not_keep_what_it_takes() -> None:
    with pytest.raises(InputError, match="forgetful://place does not give back what was written"):
        SharedRest("forgetful://place").check()


def test_a_connection_that_has_ended_is_made_anew() -> None:
    rest = SharedRest("idle://place")
    rest.write("record", b"content")
    ServerThatHangsUp.ended.add(ServerThatHangsUp.connections)
    assert rest.read("record") == b"content"
    ServerThatHangsUp.ended.update(range(100))
    with pytest.raises(StoreError, match="idle://place cannot be read: connection reset by peer"):
        rest.read("record")


def test_a_place_that_is_lost_in_the_middle_is_a_store_error(tmp_path: Path) -> None:
    rest = SharedRest(str(tmp_path / "rest"))
    rest.check()
    (tmp_path / "rest").rmdir()
    (tmp_path / "rest").write_bytes(b"")
    with pytest.raises(StoreError, match="must stay within reach, but .*rest cannot be written: file exists"):
        rest.write("record", b"content")
    with pytest.raises(StoreError, match="rest cannot be read: not a directory"):
        rest.read("record")


@pytest.mark.parametrize(
    "url", ["talking://us:pa:ss@host/place?sig=secret", "talking://us:pa%3Ass@host/place?a=secret"]
)
def test_credentials_are_never_shown(url: str) -> None:
    rest = SharedRest(url)
    messages = []
    for attempt in (rest.check, lambda: rest.read("x"), lambda: rest.size_bytes("x"), lambda: rest.write("x", b"")):
        with pytest.raises((InputError, StoreError), match=r"talking://\*\*\*@host/place\?\*\*\*") as caught:
            attempt()
        assert caught.value.__suppress_context__, "a traceback does not print the error as it came"
        messages.append(str(caught.value))
    for message in messages:
        assert "pa:ss" not in message and "pa%3Ass" not in message and "secret" not in message
        assert "no answer to" in message and "\n" not in message
