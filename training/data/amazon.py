"""Amazon product text beside S3-Rec's sequences: Beauty with titles, Toys with short texts.

``*_items.tsv``: item_id, asin and either title, brand, price and categories, or textual_id (a few
words a model made of the product). Quoting is off and a backslash escapes.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

from training.data.file_columns import FileColumns
from training.data.reading.dialects import Dialect
from training.data.reading.streams import first_line
from training.data.source import LogSource
from training.data.tables import read_text
from training.data.text import Item, describe

TERMS = """\
Amazon reviews of 2014 as 5-core sequences, prepared by the authors of S3-Rec: no licence stated.
The reviews (J. McAuley, University of California San Diego) come without an open licence, and so
do the sequences and the product texts derived from them.
Cite: Kun Zhou, Hui Wang, Wayne Xin Zhao, Yutao Zhu, Sirui Wang, Fuzheng Zhang, Zhongyuan Wang,
Ji-Rong Wen. S3-Rec: Self-Supervised Learning for Sequential Recommendation with Mutual Information
Maximization. CIKM 2020; and Julian McAuley, Christopher Targett, Qinfeng Shi, Anton van den Hengel.
Image-Based Recommendations on Styles and Substitutes. SIGIR 2015."""
_ORIGIN = (
    "the code repository the authors of S3-Rec published with their paper (its data folder, {}); "
    "product text goes beside it as {}"
)
SOURCES = (
    LogSource(
        name="amazon-beauty",
        title="Amazon Beauty: 198,502 reviews of 12,101 products by 22,363 users, order only",
        terms=TERMS,
        origin=_ORIGIN.format("Beauty.txt", "Beauty_items.tsv"),
        fetchable=False,
    ),
    LogSource(
        name="amazon-toys",
        title="Amazon Toys: 167,597 reviews of 11,924 products by 19,412 users, order only",
        terms=TERMS,
        origin=_ORIGIN.format("Toys_and_Games.txt", "Toys_and_Games_items.tsv"),
        fetchable=False,
    ),
)
NAMES = frozenset(source.name for source in SOURCES)
_ESCAPED = Dialect("\t", quoted=False, escape="\\")
_UNKNOWN = "unknown"
_PRICE = re.compile(r"\d{1,6}(?:\.\d+)?")


def recognises(path: Path) -> bool:
    """True for a table of items named by ``item_id`` and Amazon's ``asin``."""
    return {"item_id", "asin"} <= set(first_line(path).split("\t"))


def read_products(path: Path) -> dict[str, Item]:
    """Products by item_id; raises DataError, naming file and line, for a malformed row."""
    return read_text(path, _ESCAPED, _parse)


def _parse(table: FileColumns) -> dict[str, Item]:
    titles = table.texts("title" if "title" in table.columns else "textual_id")
    others = (
        table.texts(name).to_list() if name in table.columns else [None] * len(titles)
        for name in ("categories", "brand", "price")
    )
    rows = zip(table.ids("item_id"), titles, *others, strict=True)
    return {item_id: _product(*words) for item_id, *words in rows}


def _product(
    title: str | None, categories: str | None, brand: str | None, price: str | None
) -> Item:
    more = []
    if maker := _words(brand):
        more.append(f"By {maker}")
    if price and _PRICE.fullmatch(price):
        more.append(f"Price ${float(price):.2f}")
    return describe(
        _words(title), categories=tuple(_words(categories).split("|")), more=". ".join(more)
    )


def _words(text: str | None) -> str:
    """Plain text of a web page's words, "" where the source says it knows none."""
    plain = html.unescape(html.unescape(text or "")).strip()  # some were escaped twice
    return "" if plain.lower() == _UNKNOWN else plain
