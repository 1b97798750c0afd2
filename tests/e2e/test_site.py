"""`make docs`: the site builds strictly, needs no other host, and can be read on a phone."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from scalrec.setting_names import SettingNames
from scalrec.settings import Settings

ROOT = Path(__file__).parents[2]
KEY_PAGES = [
    "", "quick-start/", "install/", "changelog/", "contributing/", "security/", "how-it-works/",
    "house/", "evaluation/", "own-dataset/", "datasets/", "python-api/", "extending/",
    "notebooks/quick-start/",
    "results/", "calibration/", "refresh/", "lsc4rec/", "demo/", "live-view/", "command-line/",
    "results/experiments/gates/", "results/experiments/frontier/", "reference/settings/",
    "reference/commands/", "reference/api/", "reference/records/", "metrics/", "deploy/", "keys/",
    "telemetry/", "redis/", "embedding-servers/", "faults/", "robustness/", "runs/",
    "threat-model/", "privacy/", "glossary/", "adr/", "adr/0026-rooms-with-floors/",
]  # fmt: skip
# What a page loads by itself; ``a`` is not among them: a reader may go where they like.
LOADED = {
    "script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src",
    "embed": "src", "object": "data", "link": "href", "image": "href", "use": "href",
}  # fmt: skip

pytestmark = pytest.mark.slow


def mkdocs(*arguments: str) -> subprocess.CompletedProcess[str]:
    if importlib.util.find_spec("mkdocs") is None:
        pytest.fail("no mkdocs; run: python3 scripts/bootstrap.py docs")
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", *arguments],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = mkdocs("--site-dir", str(folder))
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


class Assets(HTMLParser):
    """Addresses that a page loads something from."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.addresses += filter(None, [given.get(LOADED.get(tag, ""))])
        self.addresses += re.findall(r"[^\s,]+(?=\s|,|$)", given.get("srcset") or "")


def test_the_key_pages_are_there_and_whole(site: Path) -> None:
    assert [page for page in KEY_PAGES if not (site / page / "index.html").is_file()] == []
    settings = (site / "reference/settings/index.html").read_text()
    names = SettingNames(Settings)
    values = [name for name in names if not names.is_section(name)]
    assert [name for name in values if f'<span id="{name}">' not in settings] == []
    # A table, list or folded part that Markdown did not take for one shows as its source.
    for path in site.rglob("*.html"):
        shown = re.sub(r"<(pre|code)\b.*?</\1>", "", path.read_text(), flags=re.DOTALL)
        assert not re.search(r"^\| ?-{3}|<p>\s*\| |^<p>[^<]*\n[-*] ", shown, re.MULTILINE), path


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    for path in pages:
        assets = Assets()
        assets.feed(path.read_text())
        assert len(assets.addresses) > 3, path
        foreign = [a for a in assets.addresses if re.match(r"([a-z]+:)?//", a)]
        assert (path, foreign) == (path, [])
    for path in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", path.read_text()), path


def test_each_page_has_a_name_in_the_navigation(site: Path) -> None:
    page = (site / "results/index.html").read_text()
    names = re.findall(r'<span class="md-ellipsis">\s*(.*?)\s*<', page)
    assert len(names) > 60
    assert [name for name in names if name in ("", "Index", "README")] == []


def test_reports_of_experiments_show_their_charts(site: Path) -> None:
    page = (site / "results/experiments/frontier/index.html").read_text()
    charts = re.findall(r'<img [^>]*src="([^"]*\.svg)"', page)
    assert charts
    assert all((site / "results/experiments/frontier" / chart).is_file() for chart in charts)


def test_a_link_or_anchor_that_leads_nowhere_fails_the_build(tmp_path: Path) -> None:
    pages = tmp_path / "docs"
    pages.mkdir()
    config = tmp_path / "mkdocs.yml"
    config.write_text(
        f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: {pages}\nsite_dir: {tmp_path / 'out'}\n"
        "hooks: []\nextra_css: []\nnav: [index.md]\n"
    )

    def built(text: str) -> subprocess.CompletedProcess[str]:
        (pages / "index.md").write_text(text)
        return mkdocs("--config-file", str(config))

    assert built("# Home\n\n[up](#home)\n").returncode == 0
    broken = built("# Home\n\n[a](gone.md) [b](#gone)\n")
    assert broken.returncode != 0
    assert "gone.md" in broken.stderr
    assert "#gone" in broken.stderr


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def phone(browser: Browser) -> Iterator[BrowserContext]:
    """One for all pages, which keeps what they share."""
    context = browser.new_context(viewport={"width": 390, "height": 844})
    yield context
    context.close()


@pytest.fixture
def page(phone: BrowserContext, address: str) -> Iterator[Page]:
    """A phone's page; whatever it asks of another host fails the test."""
    opened = phone.new_page()
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    yield opened
    opened.close()
    assert [url for url in asked if not url.startswith((address, "data:"))] == []


@pytest.mark.browser
@pytest.mark.parametrize("name", KEY_PAGES)
def test_no_page_is_wider_than_a_phone(page: Page, address: str, name: str) -> None:
    page.goto(address + name)
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0
    # A drawing may be wider, inside a box that scrolls.
    sizes = page.eval_on_selector_all(
        "article img", "all => all.map(i => [i.naturalWidth, i.parentElement.clientWidth])"
    )
    assert all(loaded and 0 < box <= 390 for loaded, box in sizes), json.dumps(sizes)


@pytest.mark.browser
def test_the_search_works_without_a_network(page: Page, address: str) -> None:
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(address)
    page.click("input[name=query]")
    page.keyboard.type("budget_scope")
    page.wait_for_selector(".md-search-result__item")
    found = page.eval_on_selector_all(".md-search-result__item a", "all => all.map(a => a.href)")
    assert address + "reference/settings/?h=budget_scope#device" in found
