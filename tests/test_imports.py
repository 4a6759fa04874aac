"""Imports point downwards and never in a circle: all of them, lazy and TYPE_CHECKING ones too."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "minidl"

#: The storeys, from the ground up. Modules of one storey may import each other, without circles.
STOREYS = (
    ("errors", "missing", "version"),
    ("files", "formats"),
    ("device",),
    ("kernels",),
    ("tensor", "printing"),
    ("random", "cuda", "accelerator", "amp", "backends", "distributed", "multiprocessing"),
    ("autograd",),
    ("ops",),
    ("nn", "optim", "data", "checkpoint"),
    ("utils",),
    ("training",),
    ("vision",),
    ("", "__main__", "checkpoints"),  # the package itself, its program, a former place
)

HEIGHT = {part: height for height, storey in enumerate(STOREYS) for part in storey}


def find_modules() -> dict[str, Path]:
    """Return the files of all modules by their names."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = find_modules()


def imports_of(module: str) -> Iterator[str]:
    """Yield the modules of the package that a module imports, wherever in its text."""
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


EDGES = {module: set(imports_of(module)) - {module} for module in MODULES}


def reachable(start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for module in EDGES[waiting.pop()] - seen:
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
    assert part in HEIGHT, f"on which storey is minidl.{part}? Add it to STOREYS"
    upwards = [other for other in EDGES[module] if HEIGHT[part_of(other)] > HEIGHT[part]]
    assert not upwards, f"{module} imports from above: {sorted(upwards)}"


def test_kernels_of_one_device_do_not_know_the_others() -> None:
    for module in MODULES:
        for one, other in [("cpu", "cuda"), ("cuda", "cpu")]:
            if module.startswith(f"minidl.kernels.{one}"):
                wrong = [m for m in EDGES[module] if m.startswith(f"minidl.kernels.{other}")]
                assert not wrong, f"{module} imports {wrong}"


def test_imports_are_found() -> None:
    """The reader itself: relative, of submodules, inside of functions, for types."""
    assert "minidl.nn.module" in reachable("minidl.nn.linear")
    assert "minidl.errors" in EDGES["minidl.device"]
