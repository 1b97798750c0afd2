"""Every setting that a page names is one that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scalrec.setting_names import SettingNames
from scalrec.settings import Settings
from tests.support.pages import PAGES, page_name

KNOWN = frozenset(SettingNames(Settings))
SECTIONS = "|".join(sorted({name.partition(".")[0] for name in KNOWN if "." in name}))
# `device.k`, `device.k=10` and `device.link.*`; not `device.json` or `device.request()`.
NAMED = re.compile(rf"`((?:{SECTIONS})(?:\.[a-z_]+)+)(?=[`=.])")
FILES = (".py", ".md", ".json", ".jsonl", ".yaml", ".yml", ".html", ".parquet", ".onnx", ".log")


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_settings_on_the_page_are_there(page: Path) -> None:
    named = {name for name in NAMED.findall(page.read_text()) if not name.endswith(FILES)}
    assert named <= KNOWN


def test_there_are_settings_on_pages() -> None:
    assert sum(len(NAMED.findall(page.read_text())) for page in PAGES) > 100
    assert {"device.k", "device.link.deadline_s", "profile.window"} <= KNOWN
