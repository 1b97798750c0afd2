"""A hash over source code, so that a result of changed code is computed anew."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]  # the folder of all packages
HASH_LENGTH = 16
# Bring stages together, run them in threads and hold what they came to.
_WIRING = ("training.background", "training.run_stages", "training.run", "training.trained")


def code_of(parts: Iterable[object], root: Path | None = None) -> str:
    """Hash over the sources of ``parts``; comments, docstrings and layout are free.

    Args:
        parts: functions and classes, which stand for the file they are in; modules and dotted
            names, which stand for the module's file, or for all files of the package.
        root: folder of the packages; ROOT when None.
    """
    root = root or ROOT
    files = {file for part in parts for file in _files(root, part)}
    digest = hashlib.sha256()
    for file in sorted(files):
        code = _code(file, file.stat().st_mtime_ns)
        digest.update(f"{file.relative_to(root).as_posix()}\0{code}\0".encode())
    return digest.hexdigest()[:HASH_LENGTH]


def module_of(part: object) -> str:
    """Dotted name of the module that a part of the code is, or is in."""
    if isinstance(part, str):
        return part
    return part.__name__ if isinstance(part, ModuleType) else part.__module__


def reached_by(*parts: object, root: Path | None = None) -> tuple[str, ...]:
    """Dotted names of the modules of ``parts`` and of all that they import of this product.

    What brings stages together is left out, and so is what only that reaches: a stage that another
    is computed from has a key of its own.

    Args:
        root: folder of the packages; ROOT when None.
    """
    root = root or ROOT
    asked = [module_of(part) for part in parts]
    found, waiting = set[str](), list(asked)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        imported = {
            each
            for file in _files(root, name)
            for each in _imports(root, file, file.stat().st_mtime_ns)
        }
        if name in asked or not _is_wiring(name, imported):
            found.add(name)
            waiting += imported
    return tuple(sorted(found))


def _is_wiring(name: str, imported: set[str]) -> bool:
    return (
        name in _WIRING
        or name.endswith(".settings")  # their values decide, and those are in a key
        or name.startswith("training.stages.")
        or "training.stages.stage" in imported
    )


def _files(root: Path, part: object) -> list[Path]:
    path = root.joinpath(*module_of(part).split("."))
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


@cache  # a file is parsed once, however many stages it is code of
def _code(file: Path, modified: int) -> str:
    """Hash over the syntax tree, which has no comments, without its docstrings."""
    tree = ast.parse(file.read_bytes(), filename=str(file))
    for node in ast.walk(tree):
        match node:
            case (
                ast.Module(body=[ast.Expr(ast.Constant(str())), *_])
                | ast.ClassDef(body=[ast.Expr(ast.Constant(str())), *_])
                | ast.FunctionDef(body=[ast.Expr(ast.Constant(str())), *_])
                | ast.AsyncFunctionDef(body=[ast.Expr(ast.Constant(str())), *_])
            ):
                del node.body[0]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


@cache
def _imports(root: Path, file: Path, modified: int) -> frozenset[str]:
    """Modules of the product that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes(), filename=str(file))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                names.add(inner if _exists(root, inner) else node.module)
    return frozenset(name for name in names if _exists(root, name))


def _exists(root: Path, name: str) -> bool:
    """Whether a dotted name is of a module or package with code."""
    path = root.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()
