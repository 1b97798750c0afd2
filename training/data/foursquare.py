"""Foursquare check-ins in New York City (TSMC2014), in two forms told apart by their content.

Original: ``dataset_TSMC2014_NYC.txt``, eight tab-separated columns in Latin-1 without a header.
Headed: a tsv with named columns, beside which a file of venues (``..._venues.tsv``) may give each
venue a name, a category path and a locality. Nothing is ever derived from coordinates.
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from shared.errors import DataError
from shared.interactions import InteractionLog
from shared.progress import Progress
from training.data.fetching import (
    check_hash,
    extract_member,
    hash_file,
    locked,
    obtain,
    record_hash,
    recorded_hash,
)
from training.data.file_columns import MAX_OFFSET_MIN, FileColumns
from training.data.overlap import check_overlap
from training.data.reading.bad_rows import BadRows, Policy
from training.data.reading.dialects import TSV, Dialect
from training.data.reading.streams import first_line
from training.data.repeats import Duplicates
from training.data.source import LogSource
from training.data.tables import read_text
from training.data.text import Item, describe
from training.data.validate import build_log

URL = "http://www-public.tem-tsp.eu/~zhang_da/pub/dataset_tsmc2014.zip"
ARCHIVE = "dataset_tsmc2014.zip"
MEMBER = "dataset_TSMC2014_NYC.txt"
MAX_ARCHIVE_BYTES = 256 << 20
MAX_FILE_BYTES = 512 << 20
TERMS = """\
Foursquare check-ins in New York City (TSMC2014), April 2012 to February 2013, by D. Yang.
The dataset's readme states no licence and asks: please cite our paper if you publish material
based on this dataset.
Cite: Dingqi Yang, Daqing Zhang, Vincent W. Zheng, Zhiyong Yu. Modeling User Activity Preference by
Leveraging User Spatial Temporal Characteristics in LBSNs. IEEE Transactions on Systems, Man, and
Cybernetics: Systems 45(1), 129-142, 2015."""
SOURCE = LogSource(
    name="foursquare-nyc",
    title="Foursquare NYC: check-ins of 1,083 users in New York City, 2012-2013 (TSMC2014)",
    terms=TERMS,
    origin=f"the dataset's own archive, {URL}",
    fetchable=True,
)
_ORIGINAL = Dialect(
    "\t",
    quoted=False,
    header=(
        "user_id",
        "venue_id",
        "venue_category_id",
        "venue_category",
        "latitude",
        "longitude",
        "timezone_offset_min",
        "utc_time",
    ),
    encoding="latin-1",
)
_NEEDED = ("user_id", "venue_id", "venue_category", "timezone_offset_min", "utc_time")
_ORIGINAL_TIME = "%a %b %d %H:%M:%S %z %Y"
_ORIGINAL_LINE = re.compile(r"(?:[^\t]*\t){7}\w{3} \w{3} \d\d \d\d:\d\d:\d\d [+-]\d{4} \d{4}\s*")


def recognises(path: Path) -> bool:
    """True if the first line is one of either form."""
    line = first_line(path)
    return bool(_ORIGINAL_LINE.fullmatch(line)) or set(_NEEDED) <= set(line.split("\t"))


def fetch(
    cache: Path,
    progress: Progress,
    source_url: str | None = None,
    sha256: str | None = None,
) -> Path:
    """The original file, downloaded and unpacked unless it is in the cache unaltered.

    The archive's authors publish no checksum. The hash of the first download is recorded beside
    it; from then on the files have to match what was recorded (trust on first use), unless
    ``sha256`` says what the archive must be.

    Raises:
        DataError: the archive cannot be had, or something is not what it should be.
    """
    folder = cache / "logs" / SOURCE.name
    archive, path = folder / ARCHIVE, folder / MEMBER
    if path.exists() and sha256 is None and (known := recorded_hash(path)):
        check_hash(path, known, f"recorded in {hash_file(path)}; delete {path.name} to fetch anew")
        return path
    with locked(folder):
        if not archive.exists():
            source = source_url or URL
            obtain(source, archive, progress=progress, max_bytes=MAX_ARCHIVE_BYTES)
        try:
            if sha256 is not None:
                check_hash(archive, sha256, "expected as given")
            elif (known := recorded_hash(archive)) is not None:
                why = f"recorded at the first download; delete {hash_file(archive)} to accept it"
                check_hash(archive, known, why)
            extract_member(archive, MEMBER, path, max_bytes=MAX_FILE_BYTES)
        except DataError as error:
            if not isinstance(error.__cause__, OSError):
                archive.unlink()  # not what it should be: the next call downloads it again
            raise
        record_hash(archive)
        record_hash(path)
    return path


def load(
    path: Path,
    *,
    name: str = SOURCE.name,
    items: Path | None = None,
    min_events: int,
    bad_rows: Policy = "refuse",
    duplicates: Duplicates = "auto",
) -> InteractionLog:
    """Read either form; raises DataError naming file and line.

    Args:
        path: the file of check-ins.
        name: what to call the log.
        items: the file of venues; None: the one beside a headed ``path``, if there is one.
        min_events: users with fewer check-ins are dropped.
    """
    headed = not _ORIGINAL_LINE.fullmatch(line := first_line(path)) and "user_id" in line
    bad = BadRows(bad_rows, offered=True)
    events = read_text(path, TSV if headed else _ORIGINAL, _parse, bad)
    venues = {
        venue: _venue("", category, "", "")
        for venue, category in events.select("item", "category")
        # Check-ins may name a venue differently; the first of the file counts.
        .unique("item", keep="first", maintain_order=True)
        .iter_rows()
    }
    beside = path.with_name(path.name.replace(".tsv", "_venues.tsv"))
    if items is None and headed and beside != path and beside.exists():
        items = beside
    notes = ["venues have no names, only categories"]
    if items is not None:
        told = read_text(items, TSV, _parse_venues)
        notes = [check_overlap(events["item"], told, items)]
        venues |= told
    return build_log(
        name,
        events.drop("category"),
        venues,
        min_events=min_events,
        source=path,
        terms=TERMS,
        notes=(*notes, *bad.notes()),
        duplicates=duplicates,
        overlap_told=True,
    )


def _parse(table: FileColumns) -> pl.DataFrame:
    stamps = table.texts("utc_time")
    times = stamps.str.to_datetime(_ORIGINAL_TIME, time_unit="us", time_zone="UTC", strict=False)
    if table.columns != list(_ORIGINAL.header or ()):
        seconds, _ = table.times("utc_time")
    else:
        seconds = times.dt.epoch("us").cast(pl.Float64) / 1e6
        table.refuse(
            seconds.is_null(),
            lambda row: f"time {stamps[row]!r} is not like 'Tue Apr 03 18:00:09 +0000 2012'",
        )
    offsets = table.texts("timezone_offset_min")
    minutes = offsets.cast(pl.Int16, strict=False)
    table.refuse(
        minutes.is_null() | (minutes.abs() > MAX_OFFSET_MIN),
        lambda row: f"time zone offset {offsets[row]!r} is not a number of minutes",
    )
    return table.usable(
        pl.DataFrame(
            {
                "user": table.ids("user_id"),
                "item": table.ids("venue_id"),
                "time": seconds,
                "utc_offset_min": minutes,
                "category": table.texts("venue_category"),
            }
        )
    )


def _parse_venues(table: FileColumns) -> dict[str, Item]:
    columns = ("name", "venue_category", "fsq_os_category_path", "locality", "region")
    rows = zip(table.ids("venue_id"), *(table.texts(name) for name in columns), strict=True)
    return {
        venue: _venue(name, category, path, ", ".join(part for part in (locality, region) if part))
        for venue, name, category, path, locality, region in rows
    }


def _venue(name: str | None, category: str | None, path: str | None, area: str) -> Item:
    """A venue in words; where it has no name its category stands for it."""
    own = category if category and category != "Unknown" else ""
    steps = tuple((path or own).split(" > "))
    extra = own if own not in steps else ""
    return describe(name or own, categories=steps, area=area, more=extra)
