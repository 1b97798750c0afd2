"""What the site's build does to links, folded parts and the navigation."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    """As mkdocs loads it: by its path."""
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs/site/hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("written", "on_the_site"),
    [
        # Files of the repository that the site does not have.
        ("see [bin/once.py](bin/once.py).", "see `bin/once.py`."),
        ("see [the script](bin/once.py).", "see the script."),
        ("[`shared/tokens.py`](../shared/tokens.py)", "`shared/tokens.py`"),
        # Pages, from where the page lies on the site.
        ("[Redis](../docs/redis.md#users)", "[Redis](redis.md#users)"),
        ("[ADR](../docs/adr/0014-fleets-rest-during-load-tests.md)",
         "[ADR](adr/0014-fleets-rest-during-load-tests.md)"),
        # Neither is ours to change; the second fails the build.
        ("[paper](https://arxiv.org/abs/2601.22543) [above](#gpu)",
         "[paper](https://arxiv.org/abs/2601.22543) [above](#gpu)"),
        ("[gone](../docs/gone.md)", "[gone](../docs/gone.md)"),
        ("![picture](../docs/img/live.png)", "![picture](../docs/img/live.png)"),
        # Code is left alone.
        ("```md\n[bin/once.py](bin/once.py)\n```\n", "```md\n[bin/once.py](bin/once.py)\n```\n"),
    ],
)  # fmt: skip
def test_links_of_a_page_from_elsewhere(hooks: ModuleType, written: str, on_the_site: str) -> None:
    assert hooks.relinked(written, "deploy/README.md", "deploy.md") == on_the_site


def test_links_between_pages_keep_their_way(hooks: ModuleType) -> None:
    def on_site(text: str, page: str) -> str:
        return hooks.relinked(text, f"docs/{page}", page)

    assert on_site("[containers](../deploy/README.md#gpu)", "faults.md") == (
        "[containers](deploy.md#gpu)"
    )
    assert on_site("[stack](../deploy)", "faults.md") == "[stack](deploy.md)"
    assert on_site("[x](../../deploy/README.md)", "adr/0014.md") == "[x](../deploy.md)"
    assert on_site("[c](../SECURITY.md)", "threat-model.md") == "[c](security.md)"
    assert on_site("[l](../LICENSE)", "datasets.md") == "l"
    assert on_site("[r](../README.md)", "results/experiments/README.md") == "[r](../README.md)"


def test_with_a_repository_links_lead_into_it(hooks: ModuleType) -> None:
    made = hooks.relinked(
        "[t](../shared/tokens.py#L3)", "docs/redis.md", "redis.md", "https://forge.example/scalrec/"
    )
    assert made == "[t](https://forge.example/scalrec/blob/main/shared/tokens.py#L3)"


def test_patterns_in_the_navigation_become_pages(hooks: ModuleType, tmp_path: Path) -> None:
    for name in ("b/README.md", "a/README.md", "a/notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    nav = ["index.md", {"Results": ["all.md", "*/README.md"]}]
    assert hooks._expanded(nav, tmp_path) == [
        "index.md",
        {"Results": ["all.md", "a/README.md", "b/README.md"]},
    ]


def test_a_notebook_becomes_a_page(hooks: ModuleType) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "\n", "Words."]},
        {
            "cell_type": "code",
            "source": ["print(1)\n"],
            "outputs": [
                {"output_type": "stream", "text": ["1\n"]},
                {"output_type": "display_data", "data": {"image/png": "QUJD\n"}},
            ],
        },
    ]
    page = hooks.notebook_page(json.dumps({"cells": cells}), "one.ipynb")
    assert page == (
        "# Title\n\nWords.\n\nAs a notebook: [one.ipynb](one.ipynb).\n\n"
        "```python\nprint(1)\n```\n\n```text\n1\n```\n\n"
        "![picture](data:image/png;base64,QUJD)\n"
    )
    linked = hooks.relinked("[n](notebooks/quick-start.ipynb)", "docs/index.md", "index.md")
    assert linked == "[n](notebooks/quick-start.md)"


def test_the_described_api_is_that_of_the_service(hooks: ModuleType) -> None:
    assert "/v1/users/{user}/snapshot" in hooks.described_api()["paths"]
