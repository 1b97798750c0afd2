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
