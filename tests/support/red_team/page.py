"""docs/privacy.md: what leaves a device, and what the detectors recognise, as measured."""

from __future__ import annotations

from collections.abc import Sequence

from device_runtime.abstract.writer import REMEMBERED
from tests.support.red_team.corpus import (
    LEVELS,
    Secret,
    innocents,
    kept_from_abstract,
    kept_from_text,
    secrets,
    stays,
)

TEMPLATE = """\
# What leaves a device

A device sends, to an address that holds its user's id, its *abstract* (sentences about the user,
`device_runtime/abstract/writer.py`), the number of events it has seen, the id of its bundle and a
token of its own; where a bundle is made with `abstract.item_tokens`, also the tokens of its latest
items, which name them exactly. Item ids of the catalogue, user ids of the log, times and
coordinates are no part of an abstract's template. Words that come from outside (titles,
categories, areas, queries) could hold them all the same, so they are dealt with by level:

| level | of items | of a query | what keeps private things out |
|---|---|---|---|
| `items` | titles (with an area where they are shared), categories, areas | its words | detectors |
| `coarse` | categories, areas, decades | its words, names of items said by their kind | detectors |
| `categories` | categories of a closed vocabulary | those members of it that it names | \
construction: no other word is ever put into an abstract |

**The vocabulary** is chosen when a log is read and ships in the bundle's catalogue: categories of
letters alone that at least {min_items} items have and at least {min_users} users met, of which no
detector finds anything. A bundle without such a list has the categories of its catalogue that pass
the same check of their form. A property test reads abstracts back as sentences of the template with
members of the vocabulary in them, whatever catalogue and query it draws. What the level cannot
hide is what its words mean: a kind of place such as "home (private)", which Foursquare has, is a
kind like any other, shared by many users; it names nobody and no place, and is said.

**Detectors** recognise a thing by its form, whatever dashes, dots, digits or letters it is written
with (`device_runtime/abstract/folding.py`); what they do not recognise they let pass. They look
for phone, card, account and paper numbers, mail addresses (also told in words), names of users,
hosts, addresses of machines, paths, days, times of day, coordinates, codes of places, passwords
and codes of doors that are told as such, and opaque tokens. They do not look for names of people,
street addresses, or numbers of up to six digits without a form of their own. Where that is not
enough, use `abstract.level=categories`.

An abstract sums up the latest {remembered:,} events, whatever a device keeps.

Parts of an item that is joined from several columns are said only if they are words: of
`item=lat+lon+category` the category. Ids of the log's users are cut from the words of its items
when the log is read, and of its own user from a query by the device.

## What the detectors recognise

{n_secrets} strings of {n_kinds} kinds, written by hand in several languages and disguises
(`tests/support/red_team/secrets.txt`), each once in an item's words and once in a query. A string
counts as kept when not one word or number of its secret part is in the abstract. The patterns
were made with these strings at hand, so expect less on other people's: of the second batch of
{first_total} strings, written when the patterns were done, the sanitiser kept {first_sight}
({first_share:.0%}) before any of them had led to a change. Half of the others were rests, such as
"ext 12".

| kind | strings | {levels} |
|---|---|{rules}|
{rows}

Let through at the level `items`, whole or in part: {misses}.

{n_innocents} innocent titles, categories and queries
(`tests/support/red_team/innocents.txt`): {n_changed} changed ({share:.1%}){which}.

Generated: `.venv/bin/python -m tests.support.red_team > docs/privacy.md`; a test holds this page
to what is measured.
"""
FIRST_SIGHT = (148, 193)  # kept, of as many strings, when the second batch was first tried


def page() -> str:
    """The page, measured now."""
    from training.data.private import MIN_ITEMS, MIN_USERS

    corpus, plain_texts = secrets(), innocents()
    kinds = list(dict.fromkeys(secret.kind for secret in corpus))
    rows = [_row(kind, [s for s in corpus if s.kind == kind]) for kind in kinds]
    changed = [text for text in plain_texts if not stays(text)]
    return TEMPLATE.format(
        remembered=REMEMBERED,
        min_items=MIN_ITEMS,
        min_users=MIN_USERS,
        n_secrets=len(corpus),
        n_kinds=len(kinds),
        first_sight=FIRST_SIGHT[0],
        first_total=FIRST_SIGHT[1],
        first_share=FIRST_SIGHT[0] / FIRST_SIGHT[1],
        levels=" | ".join(f"`{level}`: item | query" for level in LEVELS),
        rules="|".join(["---"] * 2 * len(LEVELS)),
        rows="\n".join([*rows, _row("all", corpus)]),
        misses="; ".join(f"`{s.text}`" for s in corpus if not kept_from_text(s)),
        n_innocents=len(plain_texts),
        n_changed=len(changed),
        share=len(changed) / len(plain_texts),
        which="".join(f"; {text!r}" for text in changed),
    )


def _row(kind: str, corpus: Sequence[Secret]) -> str:
    shares = [
        sum(kept_from_abstract(secret, level, asked=asked) for secret in corpus) / len(corpus)
        for level in LEVELS
        for asked in (False, True)
    ]
    # Rounded down: 100 % is said of nothing that lets one pass.
    cells = (f"{int(share * 1000) / 10:g} %" for share in shares)
    return " | ".join([f"| {kind}", str(len(corpus)), *cells]) + " |"
