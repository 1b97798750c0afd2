"""Foursquare NYC in both forms, and the archive's fetch."""

from __future__ import annotations

import hashlib
import io
import zipfile

import httpx2 as httpx
import pytest

from shared.errors import DataError
from shared.progress import NullProgress
from training.data import foursquare
from training.data.fetching import hash_file, sha256_of
from training.data.registry import fetch, load_log
from training.settings import LogSettings

VENUES = ["49bbd6c0f964a520f4531fe3", "4a43c0aef964a520c6a61fe3", "4c5cc7b485a1e21e00d35711"]
CATEGORIES = ["Café", "Bridge", "Home (private)"]


def original(users=2, events=5):
    return "".join(
        f"{470 + user}\t{VENUES[event % 3]}\t4bf58dd8d48988d127951735\t{CATEGORIES[event % 3]}\t"
        f"40.7198\t-74.0025\t-240\tTue Apr 03 18:{event:02d}:0{user} +0000 2012\n"
        for event in range(events)
        for user in range(users)
    ).encode("latin-1")


HEADED = (
    "user_id\tvenue_id\tvenue_category_id\tvenue_category\tlatitude\tlongitude\t"
    "timezone_offset_min\tutc_time\ttime_precision\n"
    + "".join(
        f"470\t{VENUES[event % 3]}\tx\t{CATEGORIES[event % 3]}\t40.7\t-74.0\t-240\t"
        f"2012-04-03T18:{event:02d}:09Z\ts\n"
        for event in range(6)
    )
)
VENUE_FILE = (
    "venue_id\tname\tvenue_category\tfsq_os_category_path\tlocality\tregion\n"
    f"{VENUES[0]}\tFat Cat\tMusic Venue\tArts > Music Venue > Jazz Club\tNew York\tNY\n"
    f"{VENUES[1]}\t\tBridge\tLandmarks and Outdoors > Bridge\t\tNY\n"
)


def load(tmp_path, path, **fields):
    return load_log(LogSettings(path=path, **fields), cache=tmp_path / "cache")


def test_original_form_is_recognised(tmp_path, write):
    log = load(tmp_path, write("checkins.txt", original()))
    assert (log.n_users, len(log), len(log.catalogue)) == (2, 10, 3)
    assert log.time[0] == 1333476000.0  # 2012-04-03T18:00:00Z
    assert set(log.utc_offset_min.tolist()) == {-240}
    assert log.local_hour_of_week()[0] == pytest.approx(24 + 14)  # Tuesday, 14:00 in New York
    assert log.catalogue.titles[0] == "Café"
    assert log.catalogue.categories[0] == ("Café",)
    assert "cite our paper" in log.terms
    assert "venues have no names, only categories" in log.notes


def test_a_later_check_in_does_not_rename_its_venue(tmp_path, write):
    lines = original(events=60).decode("latin-1").splitlines(keepends=True)
    late = [line.replace("Bridge", "Tunnel") for line in lines[60:]]
    renamed = load(tmp_path, write("a.txt", "".join([*lines[:60], *late]).encode("latin-1")))
    assert renamed.catalogue == load(tmp_path, write("b.txt", original(events=60))).catalogue


def test_headed_form_takes_names_from_the_venues_beside_it(tmp_path, write):
    write("checkins_venues.tsv.gz", VENUE_FILE)
    log = load(tmp_path, write("checkins.tsv.gz", HEADED))
    assert log.catalogue.titles == ("Fat Cat", "Bridge", "Home (private)")
    assert log.catalogue.categories[0] == ("Arts", "Music Venue", "Jazz Club")
    assert log.catalogue.areas == ("New York, NY", "NY", "")
    assert log.catalogue.texts[0] == "Fat Cat. Arts, Music Venue, Jazz Club. New York, NY"
    assert log.time[0] == 1333476009.0
    assert any("of the log's 3 items (66.7%) have item text" in note for note in log.notes)


def test_headed_form_alone_and_with_venues_elsewhere(tmp_path, write):
    path = write("checkins.tsv", HEADED)
    assert load(tmp_path, path).catalogue.titles[0] == "Café"
    items = write("places.tsv", VENUE_FILE)
    assert load(tmp_path, path, items=items).catalogue.titles[0] == "Fat Cat"


def test_name_follows_the_settings(tmp_path, write):
    path = write("checkins.tsv", HEADED)
    assert load(tmp_path, path).name == "checkins"
    assert load(tmp_path, path, name="foursquare-nyc").name == "foursquare-nyc"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("1\t2\t3\tBar\t0\t0\t-240\n", "7 fields where there should be 8"),
        ("1\t2\t3\tBar\t0\t0\t-240\t2012-04-03\n", "time '2012-04-03' is not like 'Tue Apr"),
        (
            "1\t2\t3\tBar\t0\t0\tEST\tTue Apr 03 18:00:09 +0000 2012\n",
            "time zone offset 'EST' is not a number of minutes",
        ),
        (
            "1\t2\t3\tBar\t0\t0\t-2400\tTue Apr 03 18:00:09 +0000 2012\n",
            "time zone offset '-2400' is not",
        ),
        ("\t2\t3\tBar\t0\t0\t-240\tTue Apr 03 18:00:09 +0000 2012\n", "column 'user_id' is empty"),
    ],
)
def test_bad_row_is_named_by_file_and_line(tmp_path, write, bad, message):
    path = write("nyc.txt", original() + bad.encode() + original())
    with pytest.raises(DataError) as caught:
        load(tmp_path, path)
    assert str(caught.value).startswith(f"{path}, line 11: {message}")


def test_bad_row_of_the_headed_form(tmp_path, write):
    path = write("nyc.tsv", HEADED.replace("T18:02:09Z", " at noon"))
    with pytest.raises(
        DataError, match=f"{path}, line 4: column 'utc_time' is '2012-04-03 at noon"
    ):
        load(tmp_path, path)


def archive(content=None, member="dataset_tsmc2014/dataset_TSMC2014_NYC.txt"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("dataset_tsmc2014/readme.txt", "please cite our paper")
        zipped.writestr(member, original() if content is None else content)
    return buffer.getvalue()


def get(tmp_path, server, **options):
    return fetch("foursquare-nyc", tmp_path, source_url=server.url, **options)


def test_fetch_then_load_by_name(tmp_path, server):
    server.content = archive()
    path = get(tmp_path, server)
    assert path.read_bytes() == original()
    log = load_log(LogSettings(name="foursquare-nyc"), cache=tmp_path)
    assert (log.name, log.n_users) == ("foursquare-nyc", 2)
    assert len(server.ranges) == 1  # the second use needs no network


def test_hash_is_recorded_at_first_and_checked_afterwards(tmp_path, server):
    server.content = archive()
    path = get(tmp_path, server)
    zipped = path.with_name(foursquare.ARCHIVE)
    assert hash_file(zipped).read_text() == f"{sha256_of(zipped)}  {zipped.name}\n"
    zipped.unlink()
    path.unlink()
    server.content = archive(original(users=3))
    with pytest.raises(DataError, match=r"recorded at the first download; delete .*zip\.sha256"):
        get(tmp_path, server)
    hash_file(zipped).unlink()
    assert get(tmp_path, server).read_bytes() == original(users=3)


def test_altered_file_is_refused(tmp_path, server):
    server.content = archive()
    path = get(tmp_path, server)
    path.write_bytes(original(users=3))
    with pytest.raises(DataError, match=r"dataset_TSMC2014_NYC.txt: sha256 is .*to fetch anew"):
        load_log(LogSettings(name="foursquare-nyc"), cache=tmp_path)
    path.unlink()
    assert get(tmp_path, server).read_bytes() == original()  # from the archive in the cache
    assert len(server.ranges) == 1


def test_expected_hash(tmp_path, server):
    server.content = archive()
    with pytest.raises(DataError, match="expected as given"):
        get(tmp_path, server, sha256="0" * 64)
    assert not (tmp_path / "logs/foursquare-nyc" / foursquare.ARCHIVE).exists()
    assert get(tmp_path, server, sha256=hashlib.sha256(server.content).hexdigest()).exists()


def test_something_else_than_an_archive(tmp_path, server):
    server.content = b"<html>moved</html>"
    with pytest.raises(DataError, match="not a readable zip archive"):
        get(tmp_path, server)
    server.content = archive()
    assert get(tmp_path, server).exists()  # the page did not stick


def test_no_connection_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    with pytest.raises(DataError, match="Check the connection and run the same command again"):
        foursquare.fetch(tmp_path, NullProgress(), "http://127.0.0.1:9/archive.zip")
    assert httpx.URL(foursquare.URL).host.endswith("tem-tsp.eu")


@pytest.mark.data
def test_real_headed_file(tmp_path, real_data):
    log = load(tmp_path, real_data / "foursquare_nyc_ge10.tsv.gz")
    assert (log.n_users, len(log.catalogue)) == (1_083, 5_135)
    assert len(log) == 147_938 - 82
    assert any(note.startswith("82 duplicate rows") for note in log.notes)
    assert log.return_share() > 0.7
    assert log.catalogue.titles[0] == "Fat Cat"
    assert not any("°" in text or "-73." in text or "-74." in text for text in log.catalogue.texts)
