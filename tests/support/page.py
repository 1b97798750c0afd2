"""A report page taken apart, for tests of what it shows."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source"}
ADDRESSES = {"src", "href", "srcset", "action", "poster", "data", "xlink:href", "background"}


class Page(HTMLParser):
    """Structure of a page: nesting checked, ids, addresses, tables and scripts collected."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.labels: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.specs: dict[str, str] = {}
        self.styles: list[str] = []
        self.words: list[str] = []
        self._rows: list[list[str]] = []
        self._title = ""
        self._attributes: dict[str, str] = {}
        self.feed(html)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._attributes = {name: value or "" for name, value in attrs}
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.addresses += [value or "" for name, value in attrs if name in ADDRESSES]
        self.styles += [value or "" for name, value in attrs if name == "style"]
        self.labels += [value or "" for name, value in attrs if name == "aria-labelledby"]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self._rows, self._title = [], ""
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag
        if tag == "table":
            assert self._title, "a table without a caption"
            self.tables[self._title] = self._rows

    def handle_data(self, data: str) -> None:
        where = self.open[-1] if self.open else ""
        if where == "script" and self._attributes.get("id", "").startswith("spec-"):
            self.specs[self._attributes["id"]] = data
        elif where == "style":
            self.styles.append(data)
        elif where != "script":
            self.words.append(data)
            if "caption" in self.open and where == "strong":
                self._title += data
            if "td" in self.open or "th" in self.open:
                self._rows[-1][-1] += data
