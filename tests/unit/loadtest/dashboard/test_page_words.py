"""The page's three lines are figures that the view makes, under the names that reports use."""

from __future__ import annotations

import re
from importlib import resources

from loadtest.dashboard.bins import NdcgSums
from loadtest.dashboard.view import _scores
from reports.names import ALONE, CACHED

STATIC = resources.files("loadtest.dashboard") / "static"
LINES = {"calibrated": "calibrated", "uncalibrated": CACHED, "alone": ALONE}


def test_each_line_has_its_key_its_colour_and_its_name() -> None:
    page, script, style = (
        (STATIC / name).read_text(encoding="utf-8")
        for name in ("index.html", "view.js", "view.css")
    )
    keys = re.search(r'TimeChart\("chart-ndcg", \{\s*lines: \[(.*?)\]', script, re.DOTALL)
    assert keys is not None
    assert set(re.findall(r'key: "(\w+)"', keys.group(1))) == set(LINES)
    assert set(LINES) <= set(_scores([]))
    assert set(LINES) <= set(NdcgSums.__struct_fields__)
    for key, name in LINES.items():
        assert f'id="ndcg-{key}"' in page
        assert page.count(f'<i class="swatch {key}"></i>{name}</span>') == 2, "tile and legend"
        assert f".swatch.{key} " in style
        assert f"path.{key} " in style
        assert f"{name} ${{score(r.{key})}}" in script
