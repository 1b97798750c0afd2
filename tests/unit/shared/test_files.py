"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from shared.files import staged, write_whole


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what was forced to the disk, in order."""
    found: list[str] = []
    really = os.fsync

    def fsync(descriptor: int) -> None:
        found.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        really(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return found


def test_bytes_and_text_replace_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.json"
    assert write_whole(path, b"\x00\xff") == path
    assert path.read_bytes() == b"\x00\xff"
    write_whole(path, "ndcg \u2265 \u00bd\n")
    assert path.read_bytes() == "ndcg \u2265 \u00bd\n".encode()
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failure_leaves_the_old_content_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    path = write_whole(tmp_path / "a", "old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if broken == "fsync" else (Path, "replace")), full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_whole(path, "new")
    monkeypatch.undo()
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "a", "old")

    def fail() -> None:
        with staged(path) as partial:
            partial.write_text("half")
            raise ValueError("midway")

    with pytest.raises(ValueError, match="midway"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_mode_honours_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        usual = write_whole(tmp_path / "usual", "")
        secret = write_whole(tmp_path / "secret", "", mode=0o440)
        with staged(tmp_path / "staged") as partial:
            partial.touch()
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (usual, secret, tmp_path / "staged")]
    assert modes == [0o640, 0o440, 0o640]


def test_a_parent_that_cannot_be_is_named(tmp_path: Path) -> None:
    file = write_whole(tmp_path / "file", "")
    with pytest.raises(OSError, match="file") as caught:
        write_whole(file / "below" / "a", "")
    assert caught.value.filename == str(file / "below")
    with pytest.raises(FileExistsError) as caught:
        write_whole(file / "a", "")
    assert caught.value.filename == str(file)


def test_a_folder_in_the_way_is_named_and_stays(tmp_path: Path) -> None:
    (tmp_path / "a" / "kept").mkdir(parents=True)
    with pytest.raises(IsADirectoryError) as caught:
        write_whole(tmp_path / "a", "")
    assert caught.value.filename == str(tmp_path / "a")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a" / "kept").is_dir()


def test_content_reaches_the_disk_before_the_name_unless_told_otherwise(
    tmp_path: Path, synced: list[str]
) -> None:
    write_whole(tmp_path / "a", "x", fsync=False)
    assert synced == []
    write_whole(tmp_path / "a", "y")
    assert len(synced) == 2
    assert synced[0].endswith(".partial")
    assert synced[1] == tmp_path.name


def test_of_several_writers_one_wins_whole(tmp_path: Path) -> None:
    path, size = tmp_path / "a", 1 << 16
    writers = [
        threading.Thread(target=lambda n=n: write_whole(path, bytes([n]) * size, fsync=False))
        for n in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    content = path.read_bytes()
    assert len(content) == size
    assert len(set(content)) == 1
    assert list(tmp_path.iterdir()) == [path]
