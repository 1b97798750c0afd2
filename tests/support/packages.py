"""Small packages as an installer leaves them: modules, and metadata with entry points."""

from __future__ import annotations

import importlib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

GROUP = 'project.entry-points."{}"'


def install(
    folder: Path,
    name: str,
    modules: Mapping[str, str],
    points: Mapping[str, Mapping[str, str]],
    *,
    version: str = "1.0",
) -> Path:
    """Lay a distribution into ``folder``, which has to be on the path; returns ``folder``.

    Args:
        modules: path below the folder -> source.
        points: group -> name -> ``module:attribute``.
    """
    for path, source in modules.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source)
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = []
    for group, named in points.items():
        lines += [f"[{group}]", *(f"{point} = {place}" for point, place in named.items()), ""]
    (info / "entry_points.txt").write_text("\n".join(lines))
    importlib.invalidate_caches()  # the folder may have been looked into before
    return folder


def install_from_page(folder: Path, page: str) -> Path:
    """The package that a page shows: its pyproject.toml, and modules under their paths."""
    [project] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    told = tomllib.loads(project)["project"]
    modules = dict(re.findall(r"^`([\w/]+\.py)`:\n\n```python\n(.*?)```", page, re.M | re.DOTALL))
    return install(folder, told["name"], modules, told["entry-points"], version=told["version"])
