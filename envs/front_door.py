"""Names offered at the root of a package, each imported when it is first asked for (PEP 562).

A package root calls `open_door` and lists the same names in `__all__` and, for type checkers, in an import.
`serving` may not import `envs` and has lines of its own.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


class Root(ModuleType):
    """A package in which an offered name is always the offered object, also where a submodule has the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        # The import system sets every submodule on its package: `trainer.update` has to stay the function.
        if not (isinstance(value, ModuleType) and name in self.__dict__.get("__all__", ())):
            super().__setattr__(name, value)


def open_door(
    package: str, homes: Mapping[str, str], extra: str = ""
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of `package`. `homes` maps each offered name to the module that defines it.

    Where a library is missing, asking for a name raises ModuleNotFoundError that says to install `extra`.
    """
    root = sys.modules[package]
    root.__class__ = Root

    def attribute(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            offered = getattr(import_module(homes[name]), name)
        except ModuleNotFoundError as error:
            if not extra or error.name is None or error.name.startswith(f"{package}."):
                raise
            raise ModuleNotFoundError(
                f"{package}.{name} needs `pip install envloom[{extra}]`: there is no module {error.name}.",
                name=error.name,
            ) from error
        root.__dict__[name] = offered
        return offered

    def names() -> list[str]:
        return sorted({*root.__dict__, *homes})

    return attribute, names
