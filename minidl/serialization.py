"""Whole models in checkpoints: the classes that a file may name, and how a model becomes data.

A saved model consists of its class's name, its attributes, parameters, buffers and children.
Loading creates an object of that class without calling any of its code, and fills in the saved
values. minidl's classes are known. Others must be declared (:func:`add_safe_globals`) or, with
``weights_only=False``, be in a module that the program has imported. A file never imports or runs
anything.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from .errors import CheckpointError
from .missing import attributes
from .nn import Module, Parameter
from .tensor import Tensor

__all__ = ["add_safe_globals", "clear_safe_globals", "get_safe_globals", "safe_globals"]

_safe: list[Any] = []


def add_safe_globals(safe_globals: Iterable[Any]) -> None:
    """Let :func:`minidl.load` make objects of these classes of modules.

    Parameters
    ----------
    safe_globals : iterable of classes
    """
    _safe.extend(safe_globals)


def get_safe_globals() -> list[Any]:
    """Return the classes that :func:`add_safe_globals` was given."""
    return list(_safe)


def clear_safe_globals() -> None:
    """Forget the classes that :func:`add_safe_globals` was given."""
    _safe.clear()


class safe_globals:
    """A context in which classes are safe, as after :func:`add_safe_globals`.

    Parameters
    ----------
    safe_globals : iterable of classes
    """

    def __init__(self, safe_globals: Iterable[Any]) -> None:
        self._classes = list(safe_globals)

    def __enter__(self) -> None:
        self._before = get_safe_globals()
        add_safe_globals(self._classes)

    def __exit__(self, *error: object) -> None:
        _safe[:] = self._before


def name_of(cls: type) -> str:
    """Return the name under which a file refers to a class."""
    return f"{cls.__module__}:{cls.__qualname__}"


def class_named(name: str, weights_only: bool) -> type[Module]:
    """Return the class that a file refers to.

    Raises
    ------
    CheckpointError
        It is not known, or no module.
    """
    found = next((cls for cls in _safe if name_of(cls) == name), None)
    module, _, path = name.partition(":")
    if found is None and (module.startswith("minidl.") or not weights_only):
        found = sys.modules.get(module)
        for part in path.split("."):
            found = getattr(found, part, None)
    if isinstance(found, type) and issubclass(found, Module):
        return found
    raise CheckpointError(
        f"it holds a whole model of class {path!r}, which is not known here; define the class or "
        f"import {module!r}, and pass weights_only=False or call "
        f"minidl.serialization.add_safe_globals([{path}]) first"
    )


def taken_apart(module: Module) -> dict[str, Any]:
    """Return what a module consists of, as data; hooks are left out."""
    parts = {key: value for key, value in vars(module).items() if not key.endswith("_hooks")}
    parameters = parts["_parameters"].items()
    frozen = [key for key, value in parameters if value is not None and not value.requires_grad]
    parts["_non_persistent_buffers"] = sorted(parts["_non_persistent_buffers"])
    return {**parts, "frozen": frozen}


def put_together(cls: type[Module], parts: dict[str, Any], known: dict[int, Parameter]) -> Module:
    """Return a module of what :func:`taken_apart` returned; `known` keeps shared parameters one."""
    module = cls.__new__(cls)
    Module.__init__(module)
    frozen = set(parts.pop("frozen"))
    parts["_non_persistent_buffers"] = set(parts["_non_persistent_buffers"])
    for name, value in parts["_parameters"].items():
        if isinstance(value, Tensor):
            if id(value.array) not in known:
                known[id(value.array)] = Parameter(value, requires_grad=name not in frozen)
                known[id(value.array)].name = name
            parts["_parameters"][name] = known[id(value.array)]
    vars(module).update(parts)
    return module


__getattr__ = attributes(globals())
