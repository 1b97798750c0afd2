"""PluginKind: parts that other people's packages bring, found by their entry points when asked for.

A package names its part in the metadata that its installer writes; nothing has to be imported to
see what there is, and nothing here looks before somebody asks for a name.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from shared.errors import ConfigError

PluginName = str  # in a setting, beside the names that are built in


@dataclass(frozen=True)
class PluginKind:
    """One kind of part.

    Attributes:
        group: of the entry points, e.g. ``scalrec.refresh_policies``.
        noun: the kind in words.
        setting: which names the part.
        built_in: names that are ours; no package may take one of them.
    """

    group: str
    noun: str
    setting: str
    built_in: tuple[str, ...]

    def names(self) -> tuple[str, ...]:
        """What installed packages bring, in order."""
        return tuple(sorted({point.name for point in entry_points(group=self.group)}))

    def find(self, name: str) -> EntryPoint | None:
        """The entry point of that name; None if no package has one.

        Raises:
            ConfigError: a package has taken a built-in name, or two packages have the same one.
        """
        found = sorted(entry_points(group=self.group, name=name), key=package_of)
        packages = " and ".join(package_of(point) for point in found)
        if found and name in self.built_in:
            raise ConfigError(
                f"{packages} brings a {self.noun} called {name!r}, which is a built-in name: "
                "give it another one in that package, or uninstall the package"
            )
        if len(found) > 1:
            raise ConfigError(
                f"{packages} both bring a {self.noun} called {name!r}: uninstall one of them"
            )
        return found[0] if found else None

    def check(self, name: str) -> None:
        """Refuse a name that is neither built in nor of an installed package.

        Raises:
            ConfigError: with all names that there are; or as ``find``.
        """
        if self.find(name) is None and name not in self.built_in:
            raise ConfigError(self.unknown(name))

    def unknown(self, name: str) -> str:
        """What is said of a name that nothing has."""
        return (
            f"{self.setting}: no {self.noun} is called {name!r}; there are "
            f"{', '.join((*self.built_in, *self.names()))} (a package brings others by entry "
            f"points of the group {self.group})"
        )

    def load(self, name: str) -> Any | None:
        """What the entry point of that name stands for; None if no package has one.

        Raises:
            ConfigError: it cannot be imported, or is nothing that can be called; or as ``find``.
        """
        point = self.find(name)
        if point is None:
            return None
        try:
            part = point.load()
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"the {self.noun} {name!r} of {package_of(point)} cannot be loaded from "
                f"{point.value}: {error}"
            ) from error
        if not callable(part):
            raise ConfigError(
                f"the {self.noun} {name!r} of {package_of(point)} is {point.value}, which is "
                f"{type(part).__name__} and cannot be called"
            )
        return part


def package_of(point: EntryPoint) -> str:
    """The package that an entry point belongs to, and its version."""
    if point.dist is None:
        return point.value
    return f"{point.dist.metadata['Name']} {point.dist.version}"
