"""What mkdocs does beyond its own: pages from outside docs/, pages made from the program, links.

Pages are written for readers of the repository, too. So a link may lead to a source file, which the
site does not have: there it becomes the name of the file.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # a checkout's tests make the bundle that the API is described with

from cloud_service.app import create_app  # noqa: E402
from cloud_service.embedding.hashing import HashingEmbedder  # noqa: E402
from cloud_service.settings import CloudSettings, ServiceSettings  # noqa: E402
from cloud_service.store.snapshot_store import MemorySnapshotStore  # noqa: E402
from scalrec.reference.api_page import api_page  # noqa: E402
from scalrec.reference.fences import outside_fences  # noqa: E402
from scalrec.reference.pages import reference_pages  # noqa: E402
from tests.support.bundles import make_bundle  # noqa: E402

DOCS = "docs"
# Pages of the site that lie elsewhere in the repository.
BROUGHT = {
    "deploy/README.md": "deploy.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
_FIRST_COMMENT = re.compile(r"\A\s*<!--.*?-->\s*", re.DOTALL)
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<to>[^)\s]+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages that are there in the place of patterns in ``nav``."""
    config.nav = _expanded(config.nav, Path(config.docs_dir))
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add what docs/ does not hold."""
    from mkdocs.structure.files import File

    for source, name in BROUGHT.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=text))
    for name, text in reference_pages().items() | {("api.md", api_page(described_api()))}:
        files.append(File.generated(config, f"reference/{name}", content=text))
    for path in sorted(Path(config.docs_dir).glob("*/*.ipynb")):
        name = path.relative_to(config.docs_dir).as_posix()
        text = notebook_page(path.read_text(encoding="utf-8"), path.name)
        files.append(File.generated(config, _page_of(name), content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links that lead somewhere on the site, and folded parts whose text is Markdown.

    A comment before the first heading goes, as mkdocs would not take that heading for the title.
    """
    uri = page.file.src_uri
    sources = {name: source for source, name in BROUGHT.items()}
    if page.file.generated_by is not None and uri not in sources:
        return markdown
    markdown = _FIRST_COMMENT.sub("", markdown)
    text = relinked(markdown, sources.get(uri, f"{DOCS}/{uri}"), uri, config.repo_url)
    return text.replace("<details>", '<details markdown="1">')


def notebook_page(notebook: str, name: str) -> str:
    """A notebook (nbformat 4) as a page: its words, its code, and the outputs that it keeps.

    Args:
        name: of the file, which lies beside the page's folder.
    """
    parts = []
    for cell in json.loads(notebook)["cells"]:
        text = "".join(cell["source"]).strip()
        parts.append(f"```python\n{text}\n```" if cell["cell_type"] == "code" else text)
        for output in cell.get("outputs", ()):
            shown = output.get("data", {"text/plain": output.get("text", ())})
            if picture := "".join(shown.get("image/png", ())):
                parts.append(f"![picture](data:image/png;base64,{''.join(picture.split())})")
            elif words := "".join(shown.get("text/plain", ())).rstrip():
                parts.append(f"```text\n{words}\n```")
    title, *rest = parts
    return "\n\n".join([title, f"As a notebook: [{name}]({name}).", *rest]) + "\n"


def _page_of(name: str) -> str:
    return name.removesuffix(".ipynb") + ".md" if name.endswith(".ipynb") else name


def described_api() -> dict[str, Any]:
    """The OpenAPI document of the cloud service, over a bundle of random weights."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(
            ServiceSettings(cloud=CloudSettings(auth="off")),
            bundle=make_bundle(Path(folder) / "bundle"),
            embedder=HashingEmbedder(16),
            store=MemorySnapshotStore(),
        )
        return app.openapi()


def relinked(markdown: str, source: str, uri: str, repo_url: str | None = None) -> str:
    """``markdown`` with its relative links made for the site.

    A link to a file of the repository that is no page becomes its text, as code where that is a
    path; with ``repo_url``, a link into the repository. One that leads nowhere stays, and fails
    the build.

    Args:
        source: where the page lies in the repository.
        uri: where it lies in the site's sources.
    """

    def link(found: re.Match[str]) -> str:
        text, to = found["text"], found["to"]
        path, mark, anchor = to.partition("#")
        if not path or re.match(r"[a-z+]+:", path) or path.startswith("/"):
            return found.group()
        target = os.path.normpath(PurePosixPath(source).parent / path)
        if not (ROOT / target).exists():
            return found.group()
        page = BROUGHT.get(target) or BROUGHT.get(f"{target}/README.md")
        if page is None and target.startswith(f"{DOCS}/"):
            page = _page_of(target.removeprefix(f"{DOCS}/"))
        if page is not None:
            return f"[{text}]({os.path.relpath(page, PurePosixPath(uri).parent)}{mark}{anchor})"
        if repo_url:
            return f"[{text}]({repo_url.rstrip('/')}/blob/main/{target}{mark}{anchor})"
        return f"`{text}`" if "/" in text and "`" not in text else text

    return outside_fences(markdown, lambda prose: _LINK.sub(link, prose))


def _expanded(nav: Any, docs: Path) -> Any:
    """``nav`` in which a pattern of files has become those files, by name."""
    if isinstance(nav, Mapping):
        return {title: _expanded(inner, docs) for title, inner in nav.items()}
    if not isinstance(nav, list):
        return nav
    entries: list[Any] = []
    for entry in nav:
        if isinstance(entry, str) and "*" in entry:
            found = sorted(docs.glob(entry))
            entries += [_page_of(path.relative_to(docs).as_posix()) for path in found]
        else:
            entries.append(_expanded(entry, docs))
    return entries
