"""Packing: what comes out is what went in, or nothing."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from litefront.search.digests import digest_of_path
from litefront.search.object_packing import pack_object, unpack_object


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder such as a SavedModel: files, a deeper folder, an empty one, a long name, one beyond ASCII."""
    folder = tmp_path / "saved_model"
    (folder / "variables").mkdir(parents=True)
    (folder / "assets").mkdir()
    (folder / "saved_model.pb").write_bytes(b"graph" * 1000)
    (folder / "variables" / ("data" * 50)).write_bytes(b"")
    (folder / "variables" / "W\N{LATIN SMALL LETTER O WITH DIAERESIS}rter").write_bytes(b"words")
    return folder


def names_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def member_of(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


@pytest.mark.parametrize("content", [b"", b"weights", b"\0" * 10240])
def test_a_file_is_packed_as_it_is(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert pack_object(tmp_path / "file") == content
    unpack_object(content, digest_of_path(tmp_path / "file"), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content


def test_a_file_that_is_a_tar_stays_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(tar_of((member_of("inside"), b"content")))
    unpack_object(pack_object(tmp_path / "file"), digest_of_path(tmp_path / "file"), tmp_path / "copy")
    assert (tmp_path / "copy").is_file()


def test_a_folder_comes_back_with_all_that_is_in_it(folder: Path, tmp_path: Path) -> None:
    unpack_object(pack_object(folder), digest_of_path(folder), tmp_path / "copy")
    assert names_below(tmp_path / "copy") == names_below(folder)
    assert digest_of_path(tmp_path / "copy") == digest_of_path(folder)


def test_an_empty_folder_comes_back(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    unpack_object(pack_object(tmp_path / "empty"), digest_of_path(tmp_path / "empty"), tmp_path / "copy")
    assert list((tmp_path / "copy").iterdir()) == []


def test_equal_folders_give_equal_bytes(folder: Path, tmp_path: Path) -> None:
    unpack_object(pack_object(folder), digest_of_path(folder), tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    assert pack_object(tmp_path / "copy") == pack_object(folder)


def test_a_link_to_a_file_is_packed_as_the_file(folder: Path, tmp_path: Path) -> None:
    (folder / "link").symlink_to("saved_model.pb")
    unpack_object(pack_object(folder), digest_of_path(folder), tmp_path / "copy")
    assert not (tmp_path / "copy" / "link").is_symlink()
    assert (tmp_path / "copy" / "link").read_bytes() == b"graph" * 1000


@pytest.mark.parametrize("kept_bytes", [0, 1, 511, 600, 4000, -1])
def test_a_folder_cut_short_on_its_way_is_refused(folder: Path, tmp_path: Path, kept_bytes: int) -> None:
    packed = pack_object(folder)
    packed = packed[: packed.rindex(b"words") + 5][:kept_bytes]
    with pytest.raises(ValueError, match="must"):
        unpack_object(packed, digest_of_path(folder), tmp_path / "copy")


@pytest.mark.parametrize("position", [0, 150, 700, 5200])
def test_a_folder_with_one_wrong_byte_is_refused(folder: Path, tmp_path: Path, position: int) -> None:
    damaged = bytearray(pack_object(folder))
    damaged[damaged.index(b"graph") - 512 + position] ^= 1
    with pytest.raises(ValueError, match="must"):
        unpack_object(bytes(damaged), digest_of_path(folder), tmp_path / "copy")


def test_a_file_with_one_wrong_byte_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"weights")
    with pytest.raises(ValueError, match="must arrive as it was packed"):
        unpack_object(b"Weights", digest_of_path(tmp_path / "file"), tmp_path / "copy")


@pytest.mark.parametrize(
    "member",
    [
        member_of("../outside"),
        member_of("inside/../../outside"),
        member_of("inside/../file"),
        member_of("/tmp/outside"),
        member_of("link", tarfile.SYMTYPE, "/etc/passwd"),
        member_of("link", tarfile.SYMTYPE, "file"),
        member_of("link", tarfile.LNKTYPE, "../outside"),
        member_of("device", tarfile.CHRTYPE),
        member_of("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda member: f"{member.name} {member.linkname}",
)
def test_a_member_that_is_no_file_within_is_refused_before_anything_is_written(
    tmp_path: Path, member: tarfile.TarInfo
) -> None:
    packed = tar_of((member_of("file"), b"content"), (member, b""))
    with pytest.raises(ValueError, match="must hold files and folders within itself only, but got"):
        unpack_object(packed, "0" * 64, tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_claims_a_length_without_having_it_is_refused(tmp_path: Path) -> None:
    sparse = member_of("sparse")
    sparse.pax_headers = {"GNU.sparse.size": str(2**40), "GNU.sparse.map": "0,0"}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(sparse)
    with pytest.raises(ValueError, match="but got 'sparse'"):
        unpack_object(packed.getvalue(), "0" * 64, tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_a_sound_folder_under_anothers_digest_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must have the contents of its digest"):
        unpack_object(pack_object(folder), "0" * 64, tmp_path / "copy")
