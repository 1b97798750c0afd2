"""The device-to-cloud abstract (SCaLRec eqs. 2 and 5): a history summarised in words.

Nothing of a history but the string written here leaves the device (and item tokens, where a
bundle asks for them). The template itself has no item id, user id, exact time or coordinate. Words
that come from data pass ``sanitise``, which removes what it recognises; at the level ``categories``
they are members of a closed vocabulary, and nothing else can be among them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from device_runtime.abstract.digest import Digest, Sections
from device_runtime.abstract.sentences import LongTerm, Recent, tokens
from device_runtime.abstract.week import moment_in_words
from device_runtime.abstract.words import ItemWords
from device_runtime.state.history import RequestContext, Window
from shared.abstract_form import ASKS, AbstractForm
from shared.interactions import Catalogue

REMEMBERED = 4096  # latest events that are summed up: what writing costs has a bound
_FOR_RECENT = 0.4  # share of the length that long-term sentences leave to the latest events


class AbstractWriter(Protocol):
    """Writes what the device tells the cloud."""

    def write(self, past: Window, context: RequestContext) -> str:
        """Summarise ``past`` (all events that are retained) at the request's moment.

        What it costs must not grow with a long history.
        """
        ...


class TemplateAbstract:
    """Deterministic sentences: long-term profile, returns, habits, last events, moment, query.

    One writer serves all devices of a process; it remembers the sanitised words of items it met.

    Args:
        catalogue: of the bundle.
        form: of the bundle: what is told, and how much.
    """

    def __init__(self, catalogue: Catalogue, form: AbstractForm | None = None) -> None:
        self._form = form or AbstractForm()
        self._words = ItemWords(catalogue, self._form.level)

    @property
    def words(self) -> ItemWords:
        """Of the catalogue's items, shared with its digests."""
        return self._words

    def digest(self) -> Digest:
        """Of no event yet, for one user; shares the words of items with this writer."""
        return Digest(self._words, self._form)

    def write(self, past: Window, context: RequestContext) -> str:
        """One line of about ``max_tokens`` tokens and the query, never empty.

        Args:
            past: events, oldest first; may be empty. The latest REMEMBERED of them are read.
            context: the request; its time is only used as weekday and part of the day.
        """
        past = past.latest(REMEMBERED)
        digest = self.digest()
        for item, hour in zip(past.items.tolist(), past.hour.tolist(), strict=True):
            digest.observe(item, hour)
        return self.tell(digest, context)

    def tell(self, digest: Digest, context: RequestContext) -> str:
        """As ``write`` of the events that ``digest`` has observed, at no cost for their number."""
        sections = digest.sections(context)
        beginning = [] if len(digest) else ["No history yet."]
        moment = [f"It is {moment_in_words(context.hour_of_week)}."] if sections.slot else []
        room = self._form.max_tokens - sum(map(tokens, moment))
        recent = self._recent(sections, context)
        # Short of what few or short names need, the reserve is not kept empty for them.
        wanted = sum(map(tokens, recent.sentences()))
        reserve = min(wanted, int(_FOR_RECENT * self._form.max_tokens))
        lasting = self._long_term(sections).fitted(room - reserve).sentences()
        latest = recent.fitted(room - sum(map(tokens, lasting))).sentences()
        asked = [f"{ASKS}{sections.query}"] if sections.query else []
        # Items may have no words but their ids, and those stay here.
        said = [*beginning, *lasting, *latest, *moment, *asked]
        return " ".join(said or ["Nothing to tell."])

    def _long_term(self, sections: Sections) -> LongTerm:
        at_the_moment = ((sections.slot, sections.usual),) if sections.usual else ()
        return LongTerm(
            categories=sections.categories,
            areas=sections.areas,
            favourites=tuple(dict.fromkeys(self._names(sections.favourites))),
            habits=(*at_the_moment, *sections.usual_times),
        )

    def _recent(self, sections: Sections, context: RequestContext) -> Recent:
        """Those of the present session apart, where it is known."""
        before = _without_echoes(self._names(sections.before))
        if context.session_events is None:
            return Recent((("Recently", before),))
        session = _without_echoes(self._names(sections.session))
        return Recent((("Before", before), ("In this session", session)))

    def _names(self, items: Iterable[int]) -> Iterable[str]:
        names = (self._words.of(item).name for item in items)
        return (name for name in names if name)


def _without_echoes(names: Iterable[str]) -> tuple[str, ...]:
    """``names`` without those that repeat the one before."""
    said: list[str] = []
    for name in names:
        if not said or said[-1] != name:
            said.append(name)
    return tuple(said)
