"""Imports point downwards and never form a circle, including lazy and TYPE_CHECKING imports."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "minidl"

#: The layers of the package, from the bottom up. Modules of one layer may import each other.
LAYERS = (
    ("errors", "missing", "version"),
    ("files", "formats", "pickles", "torch_files"),
    ("device",),
    ("kernels",),
    ("tensor", "printing", "conversion"),
    ("random", "distributed", "multiprocessing"),
    ("autograd",),
    ("ops",),
    (
        "nn",
        "optim",
        "data",
        "checkpoint",
        "serialization",
        "cuda",
        "accelerator",
        "amp",
        "backends",
    ),
    ("utils",),
    ("training",),
    ("vision",),
    (
        "",
        "__main__",
        "checkpoints",
        "onnx",
    ),  # the package itself, its program, a module's former name
    ("course",),
)

HEIGHT = {part: height for height, layer in enumerate(LAYERS) for part in layer}


def find_modules() -> dict[str, Path]:
    """Return the files of all modules by name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = find_modules()


def imports_of(module: str) -> Iterator[str]:
    """Yield the modules of the package that a module imports anywhere in its text."""
    is_package = MODULES[module].name == "__init__.py"
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")
            base = base[: len(base) - node.level + is_package] if node.level else []
            source = ".".join([*base, *(node.module or "").split(".")]).rstrip(".")
            if source not in MODULES:
                continue
            for alias in node.names:  # a submodule, or a name in the module itself
                submodule = f"{source}.{alias.name}"
                yield submodule if submodule in MODULES else source


@functools.cache
def edges(module: str) -> set[str]:
    return set(imports_of(module)) - {module}


def reachable(start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for module in edges(waiting.pop()) - seen:
            seen.add(module)
            waiting.append(module)
    return seen


def test_there_is_no_circle() -> None:
    beyond = {module: reachable(module) for module in MODULES}
    circles = {
        frozenset(other for other in beyond[module] if module in beyond[other])
        for module in MODULES
        if module in beyond[module]
    }
    assert not circles, "\n".join(" <-> ".join(sorted(circle)) for circle in circles)


def part_of(module: str) -> str:
    return f"{module}.".split(".")[1]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_downwards(module: str) -> None:
    part = part_of(module)
    assert part in HEIGHT, f"minidl.{part} is in no layer: add it to LAYERS"
    upwards = [other for other in edges(module) if HEIGHT[part_of(other)] > HEIGHT[part]]
    assert not upwards, f"{module} imports from above: {sorted(upwards)}"


def test_kernels_of_one_device_import_none_of_the_other() -> None:
    for module in MODULES:
        for one, other in [("cpu", "cuda"), ("cuda", "cpu")]:
            if module.startswith(f"minidl.kernels.{one}"):
                wrong = [m for m in edges(module) if m.startswith(f"minidl.kernels.{other}")]
                assert not wrong, f"{module} imports {wrong}"


def test_imports_are_found() -> None:
    """This file finds relative imports and those of submodules, inside functions and for types."""
    assert "minidl.nn.module" in reachable("minidl.nn.linear")
    assert "minidl.errors" in edges("minidl.device")
