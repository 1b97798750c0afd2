"""What a result's source code is: the modules that an entry imports, and a hash over their code."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.errors import ConfigError

HASH_LENGTH = 16


@dataclass(frozen=True)
class SourceTree:
    """The repository's packages as source text; nothing in it is imported or run.

    Attributes:
        root: folder that holds the packages.
        packages: top-level packages to follow; imports of others are ignored.
        leave_out: dotted modules that cannot change a result (errors, progress); they and what
            they import are not followed.
    """

    root: Path
    packages: tuple[str, ...]
    leave_out: frozenset[str] = frozenset()

    def closure(self, entries: Iterable[str]) -> tuple[str, ...]:
        """Dotted names of the entries' modules and all they import, however deep, sorted.

        An entry is a module ("training.backbone") or a definition in one
        ("training.pipeline:Run.fit"); the second kind adds nothing to the closure.

        Raises:
            ConfigError: an entry's module does not exist.
        """
        found: set[str] = set()
        waiting = [entry for entry in entries if ":" not in entry]
        for entry in waiting:
            if self._file(entry) is None:
                raise ConfigError(f"no module {entry} under {self.root}")
        while waiting:
            module = waiting.pop()
            if module not in found and module not in self.leave_out:
                found.add(module)
                waiting.extend(self._imported(module))
        return tuple(sorted(found))

    def hash(self, entries: Sequence[str]) -> str:
        """Hash over the code of the entries and their closure; comments and docstrings are free."""
        digest = hashlib.sha256()
        for module in self.closure(entries):
            digest.update(f"{module}\0{_code(self._tree(module))}\0".encode())
        for entry in sorted(entry for entry in entries if ":" in entry):
            module, _, name = entry.partition(":")
            digest.update(f"{entry}\0{_code(_definition(self._tree(module), name))}\0".encode())
        return digest.hexdigest()[:HASH_LENGTH]

    def _imported(self, module: str) -> Iterator[str]:
        """Modules of the packages that ``module`` imports when it runs."""
        for node in _run_time_nodes(self._tree(module)):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                # "from package import module" and "from module import name" look alike.
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [node.module, *inner]
            else:
                continue
            yield from (name for name in names if self._file(name) is not None)

    def _tree(self, module: str) -> ast.Module:
        file = self._file(module)
        if file is None:
            raise ConfigError(f"no module {module} under {self.root}")
        return ast.parse(file.read_bytes(), filename=str(file))

    def _file(self, module: str) -> Path | None:
        parts = module.split(".")
        if parts[0] not in self.packages:
            return None
        path = self.root.joinpath(*parts)
        candidates = (path.with_suffix(".py"), path / "__init__.py")
        return next((file for file in candidates if file.is_file()), None)


def _run_time_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under ``if TYPE_CHECKING``: types alone change no result."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from _run_time_nodes(node)


def _definition(tree: ast.Module, name: str) -> ast.AST:
    """The function, class or constant of that (dotted) name."""
    node: ast.AST = tree
    for part in name.split("."):
        matches = [child for child in ast.iter_child_nodes(node) if part in _names(child)]
        if not matches:
            raise ConfigError(f"nothing is called {name} where a stage's code should be")
        node = matches[-1]
    return node


def _names(node: ast.AST) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {target.id for target in node.targets if isinstance(target, ast.Name)}
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return {node.target.id}
    return set()


def _code(tree: ast.AST) -> str:
    """The syntax tree as text, without docstrings (the tree itself has no comments)."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            body.pop(0)
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
