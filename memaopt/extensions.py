"""What is added to memaopt from outside: by a program, through :mod:`memaopt.register`, or by a package's entry points.

An entry point of the group ``memaopt.machines``, ``memaopt.suites``, ``memaopt.kernels`` or ``memaopt.objectives``
names what is added, or a function or class that makes it without arguments. They are loaded when something is first
looked for.
"""

from __future__ import annotations

from typing import Any

from memaopt.errors import InputError


class Extensions:
    """Things by name."""

    def __init__(self, group: str) -> None:
        self._group, self._things, self._loaded = group, dict[str, Any](), False
        self._packages = dict[str, str]()

    def add(self, name: str, thing: object) -> None:
        """Add a thing; InputError if there is another of that name."""
        if self._things.get(name, thing) != thing:
            raise InputError(f"register: there is a {self._group.rpartition('.')[2]} entry {name!r} already")
        self._things[name] = thing

    def remove(self, name: str) -> None:
        """Forget a thing."""
        self._things.pop(name, None)

    def all(self) -> dict[str, Any]:
        """Everything there is, in the order in which it came; entry points by name, after what programs added."""
        if not self._loaded:
            self._loaded = True  # what is loaded may ask what there is
            before = dict(self._things)
            try:
                for name, thing in self._entries().items():
                    self.add(name, thing)
            except InputError:
                self._loaded, self._things = False, before  # and whoever asks again hears of it again
                raise
        return dict(self._things)

    def origins(self) -> tuple[tuple[str, str], ...]:
        """Each name, in order, with the package that brought it and its version, ``""`` where a program did."""
        return tuple((name, self._packages.get(name, "")) for name in sorted(self.all()))

    def _entries(self) -> dict[str, Any]:
        """What the entry points name; InputError for one that cannot be loaded."""
        from importlib.metadata import entry_points

        found = {}
        for entry in sorted(entry_points(group=self._group), key=lambda entry: entry.name):
            try:
                thing = entry.load()
                found[entry.name] = thing() if callable(thing) else thing
                self._packages[entry.name] = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
            except Exception as error:  # whatever a package of somebody else does when it is imported
                raise InputError(f"entry point {entry.name} of {self._group}: {error}") from None
        return found


MACHINES = Extensions("memaopt.machines")
SUITES = Extensions("memaopt.suites")
KERNELS = Extensions("memaopt.kernels")
OBJECTIVES = Extensions("memaopt.objectives")
