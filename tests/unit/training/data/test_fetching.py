"""Downloads that resume, archives that cannot escape, files that appear whole."""

from __future__ import annotations

import io
import threading
import zipfile

import pytest

from shared.errors import DataError
from shared.progress import NullProgress
from training.data.fetching import download, extract_member, locked, obtain

CONTENT = bytes(range(256)) * 4000


def get(server, destination, **options):
    options = {"progress": NullProgress(), "max_bytes": 1 << 24, "pause_s": 0.0} | options
    return download(server.url, destination, **options)


def test_interrupted_download_resumes_where_it_stopped(tmp_path, server):
    server.content, server.cut_after = CONTENT, 300_000
    path = get(server, tmp_path / "file")
    assert path.read_bytes() == CONTENT
    first, second = server.ranges
    assert first == ""
    assert 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= 300_000
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_left_of_a_failed_call_is_used_by_the_next(tmp_path, server):
    server.content, server.cut_after = CONTENT, 300_000
    with pytest.raises(DataError, match=r"failed after [1-9][0-9,]* bytes.*it resumes"):
        get(server, tmp_path / "file", attempts=1)
    assert not (tmp_path / "file").exists()
    assert get(server, tmp_path / "file").read_bytes() == CONTENT
    assert server.ranges[1].startswith("bytes=")


def test_changed_file_is_never_mixed(tmp_path, server):
    server.content, server.cut_after = CONTENT, 300_000
    with pytest.raises(DataError):
        get(server, tmp_path / "file", attempts=1)
    server.content, server.etag = CONTENT[::-1], '"two"'
    assert get(server, tmp_path / "file").read_bytes() == CONTENT[::-1]


def test_server_without_ranges_restarts(tmp_path, server):
    server.content, server.cut_after, server.ignores_ranges = CONTENT, 300_000, True
    assert get(server, tmp_path / "file").read_bytes() == CONTENT


def test_partial_file_longer_than_the_original_restarts(tmp_path, server):
    server.content, server.cut_after = CONTENT, 300_000
    with pytest.raises(DataError):
        get(server, tmp_path / "file", attempts=1)
    with (tmp_path / "file.part").open("ab") as part:
        part.write(CONTENT)
    assert get(server, tmp_path / "file").read_bytes() == CONTENT


def test_server_error_is_tried_again(tmp_path, server):
    server.content, server.status = CONTENT, 503
    assert get(server, tmp_path / "file").read_bytes() == CONTENT


def test_missing_file_is_not(tmp_path, server):
    server.status = 404
    with pytest.raises(DataError, match="the server answered 404"):
        get(server, tmp_path / "file")
    assert len(server.ranges) == 1


def test_size_is_bounded(tmp_path, server):
    server.content = CONTENT
    with pytest.raises(DataError, match="larger than 100,000 bytes"):
        get(server, tmp_path / "file", max_bytes=100_000)
    assert not (tmp_path / "file").exists()


def test_progress_counts_every_byte(tmp_path, server):
    class Counting(NullProgress):
        total = 0

        def task(self, label, total=None):
            task = super().task(label, total)
            counting = self

            class Task:
                def __enter__(self):
                    task.__enter__()
                    return self

                def __exit__(self, *error):
                    return task.__exit__(*error)

                def advance(self, amount=1, note=""):
                    counting.total += amount

            return Task()

    progress = Counting()
    server.content = CONTENT
    get(server, tmp_path / "file", progress=progress)
    assert progress.total == len(CONTENT)


def test_local_path_is_copied(tmp_path):
    (tmp_path / "given").write_bytes(b"x")
    path = obtain(str(tmp_path / "given"), tmp_path / "got", progress=NullProgress(), max_bytes=9)
    assert path.read_bytes() == b"x"
    with pytest.raises(DataError, match="cannot be copied: No such file"):
        obtain(str(tmp_path / "no"), tmp_path / "got", progress=NullProgress(), max_bytes=9)


def test_one_process_fetches_at_a_time(tmp_path):
    entered, order = threading.Event(), []

    def second():
        entered.wait()
        with locked(tmp_path):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with locked(tmp_path):
        entered.set()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="set SCALREC_CACHE"), locked(tmp_path / "file" / "folder"):
        pass


def zipped(tmp_path, members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    path = tmp_path / "a.zip"
    path.write_bytes(buffer.getvalue())
    return path


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("../../wanted", b"x")], "leads outside the archive"),
        ([("/etc/wanted", b"x")], "leads outside the archive"),
        ([("a\\..\\..\\other", b"x"), ("wanted", b"x")], "leads outside the archive"),
        ([("C:/wanted", b"x")], "leads outside the archive"),
        ([("other", b"x")], "holds 0 files named wanted"),
        ([("a/wanted", b"x"), ("b/wanted", b"y")], "holds 2 files named wanted"),
        ([("wanted", b"0" * 2000)], "unpacks to more than 1,000 bytes"),
    ],
)
def test_archive_is_refused(tmp_path, members, message):
    with pytest.raises(DataError, match=message):
        extract_member(zipped(tmp_path, members), "wanted", tmp_path / "out", max_bytes=1000)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_damaged_member_is_refused(tmp_path):
    path = zipped(tmp_path, [("wanted", bytes(range(200)))])
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="not a readable zip archive"):
        extract_member(path, "wanted", tmp_path / "out", max_bytes=1000)
    assert not (tmp_path / "out").exists()
