"""Find code by its syntax and replace it with a bug; used by ``tests/mutations.py``.

A place is a file and a function in it: ``"minidl.nn.pooling:MaxPool2d.forward"``, or
``"examples/alexnet_predict.py:main"``. Python is matched as syntax within that function, so
formatting, line breaks and comments don't matter. The code may be

- an expression: ``"x + 1"``
- one or more consecutive statements: ``"total += x\\nreturn total"``
- the head of a block, whatever the block contains: ``"if errors:"``, ``"with lock:"``,
  ``"except OSError as error:"``
- a whole clause: ``"except OSError:\\n    return None"``.

``...`` stands for any one expression: ``"raise ValueError(...)"`` does not pin the message. With an
empty function name, the whole module is searched.

CUDA C is matched as a sequence of tokens: ``"minidl/kernels/cuda/conv.cu:im2col"`` is the GPU
function ``im2col`` in a ``.cu`` file, ``"minidl.nn.conv:cuda.im2col"`` one in a module's strings.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent

#: The folders that are searched for code that has moved.
SEARCHED = ("minidl", "examples")


class NotFound(Exception):
    """The place does not exist, or the code does not occur there exactly once."""


# ---- places ----


def file_of(place: str, root: Path = ROOT) -> Path:
    """Return the file of a place, relative to the project's folder."""
    module = place.partition(":")[0]
    if "/" in module:
        path = Path(module)
    else:
        path = Path(*module.split("."))
        path = path / "__init__.py" if (root / path).is_dir() else path.with_suffix(".py")
    if not (root / path).is_file():
        raise NotFound(f"there is no file {path}")
    return path


def plant(place: str, old: str, new: str, root: Path = ROOT) -> tuple[Path, str]:
    """Return the file and its text with the bug; NotFound unless `old` occurs exactly once."""
    path = file_of(place, root)
    source = (root / path).read_text(encoding="utf-8")
    function = place.partition(":")[2]
    if path.suffix != ".py":
        return path, _plant_cuda(source, function, old, new, str(path))
    tree = ast.parse(source)
    if function.startswith("cuda."):
        text = _only([s for s in _strings(tree) if _find_cuda(s.value, function[5:], old)], path)
        text.value = _plant_cuda(text.value, function[5:], old, new, str(path))
    else:
        found = _find(tree, function, old, new, str(path))
        _replace(_only(found, place), old, new)
    return path, ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def problem(place: str, old: str, new: str) -> str | None:
    """Return why a bug can't be planted and where else its code is, or None if it can."""
    try:
        path = file_of(place)
        function = place.partition(":")[2]
        if path.suffix != ".py":
            count = len(_find_cuda(_text(path), function, old))
        elif function.startswith("cuda."):
            strings = _strings(_tree(path))
            count = sum(len(_find_cuda(s.value, function[5:], old)) for s in strings)
        else:
            count = len(_find(_tree(path), function, old, new, str(path)))
        if count == 1:
            return None
        error = f"the code occurs {count} times, not once"
    except NotFound as found:
        error = str(found)
    others = elsewhere(old, new)
    return f"{place}: {error}; it is in {', '.join(others) or 'no other place'}"


def elsewhere(old: str, new: str, root: Path = ROOT) -> list[str]:
    """Return all places in the project that have the code exactly once."""
    places = []
    for folder in SEARCHED:
        for path in sorted((root / folder).rglob("*.py")):
            tree = _tree(path.relative_to(root))
            name = ".".join(path.relative_to(root).with_suffix("").parts)
            name = name.removesuffix(".__init__") if folder == "minidl" else f"examples/{path.name}"
            for text in _strings(tree):
                places += [f"{name}:cuda.{f}" for f in _cuda_functions_with(text.value, old)]
            if _is_python(old) and len(_matches(tree, old, new)) == 1:
                places.append(f"{name}:{_innermost(tree, old, new)}")
        for path in sorted((root / folder).rglob("*.cu")):
            source = path.read_text(encoding="utf-8")
            name = path.relative_to(root).as_posix()
            places += [f"{name}:{function}" for function in _cuda_functions_with(source, old)]
    return list(dict.fromkeys(places))


def _only(found: list[Any], place: object) -> Any:
    if len(found) != 1:
        raise NotFound(f"{place}: the code occurs {len(found)} times, not once")
    return found[0]


@functools.cache
def _text(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(_text(path))


# ---- Python ----


class _Place(NamedTuple):
    """`count` nodes from `index` in a list of the parent, or the field itself (index None)."""

    parent: ast.AST
    field: str
    index: int | None
    count: int = 1


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yield the qualified names and the nodes of all functions and classes."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield prefix + node.name, node
            yield from functions(node, f"{prefix}{node.name}.")
        else:
            yield from functions(node, prefix)


def _find(tree: ast.Module, function: str, old: str, new: str, file: str) -> list[_Place]:
    scopes: list[ast.AST] = [tree]
    if function:
        scopes = [node for name, node in functions(tree) if name == function]
        if not scopes:
            raise NotFound(f"there is no function {function} in {file}")
    return [place for scope in scopes for place in _matches(scope, old, new)]


def _innermost(tree: ast.AST, old: str, new: str) -> str:
    holding = [name for name, node in functions(tree) if len(_matches(node, old, new)) == 1]
    return max(holding, key=lambda name: name.count("."), default="")


class _Code(NamedTuple):
    """Code to find or insert: an expression, statements, a clause or the head of a block."""

    nodes: list[Any]
    is_head: bool = False
    is_expression: bool = False


def _parse(code: str) -> _Code:
    code = code.strip()
    is_head = code.endswith(":")
    body = f"{code} pass" if is_head else code
    if code.startswith("except"):
        tried: Any = ast.parse(f"try: pass\n{body}").body[0]
        return _Code(tried.handlers, is_head)
    nodes = ast.parse(body).body
    if len(nodes) == 1 and isinstance(nodes[0], ast.Expr):
        return _Code([nodes[0].value], is_expression=True)
    return _Code(nodes, is_head)


def _as_statements(code: _Code) -> _Code:
    if code.is_expression:
        return _Code([ast.Expr(code.nodes[0])])
    return code


def _both(old: str, new: str) -> tuple[_Code, _Code]:
    """Return both as expressions if both are, otherwise both as statements."""
    there, instead = _parse(old), _parse(new)
    if there.is_expression and instead.is_expression:
        return there, instead
    return _as_statements(there), _as_statements(instead)


def _is_python(code: str) -> bool:
    try:
        return bool(_parse(code).nodes)
    except SyntaxError:
        return False


def _fits(pattern: Any, node: Any, is_head: bool = False) -> bool:
    """Return whether a node matches the pattern, in which ``...`` matches any expression.

    Positions are ignored, and whether a name is read or written; so are the blocks of heads.
    """
    if isinstance(pattern, ast.AST):
        if (
            isinstance(pattern, ast.Constant)
            and pattern.value is ...
            and isinstance(node, ast.expr)
        ):
            return True
        return type(pattern) is type(node) and all(
            _fits(getattr(pattern, field, None), getattr(node, field, None))
            for field in pattern._fields
            if not (field == "ctx" or (is_head and field in ("body", "orelse")))
        )
    if isinstance(pattern, list):
        return (
            isinstance(node, list) and len(pattern) == len(node) and all(map(_fits, pattern, node))
        )
    return type(pattern) is type(node) and bool(pattern == node)


def _matches(scope: ast.AST, old: str, new: str) -> list[_Place]:
    code = _both(old, new)[0]
    count = len(code.nodes)
    places = []
    for parent in ast.walk(scope):
        for field, value in ast.iter_fields(parent):
            if isinstance(value, ast.AST) and count == 1:
                if _fits(code.nodes[0], value, code.is_head):
                    places.append(_Place(parent, field, None))
            elif isinstance(value, list):
                for i in range(len(value) - count + 1):
                    run = zip(code.nodes, value[i : i + count], strict=True)
                    if all(_fits(wanted, node, code.is_head) for wanted, node in run):
                        places.append(_Place(parent, field, i, count))
    return places


def _replace(place: _Place, old: str, new: str) -> None:
    nodes = _both(old, new)[1].nodes or [ast.Pass()]
    if place.index is None:
        setattr(place.parent, place.field, nodes[0])
        return
    there = getattr(place.parent, place.field)
    if _parse(new).is_head:
        nodes[0].body = there[place.index].body
        if getattr(there[place.index], "orelse", None):
            nodes[0].orelse = there[place.index].orelse
    there[place.index : place.index + place.count] = nodes


# ---- CUDA C ----


def _strings(tree: ast.AST) -> list[ast.Constant]:
    """Return the strings of a module that may be CUDA C."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.search(r"__global__|__device__|#define", node.value)
    ]


def _tokens(text: str) -> list[tuple[str, int, int]]:
    """Return tokens with their positions, without comments."""
    blank = re.sub(r"/\*.*?\*/|//[^\n]*", lambda c: " " * len(c[0]), text, flags=re.DOTALL)
    return [(t[0], t.start(), t.end()) for t in re.finditer(r"\w[\w.]*|[^\w\s\\]", blank)]


def cuda_functions(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the name, start and end of each GPU function."""
    tokens = _tokens(text)
    place = 0
    while place < len(tokens) - 1:
        name, start, _ = tokens[place]
        if re.fullmatch(r"[A-Za-z_]\w*", name) and tokens[place + 1][0] == "(":
            after = _closing(tokens, place + 1)
            if after < len(tokens) and tokens[after][0] == "{":
                end = _closing(tokens, after)
                yield name, start, tokens[end - 1][2]
                place = end
                continue
        # Between two functions, skip structures and macros.
        place = _closing(tokens, place) if tokens[place][0] == "{" else place + 1


def _closing(tokens: list[tuple[str, int, int]], place: int) -> int:
    """Return the position after the bracket that closes the one at `place`."""
    depth = 0
    for i in range(place, len(tokens)):
        depth += (tokens[i][0] in "({") - (tokens[i][0] in ")}")
        if depth == 0:
            return i + 1
    return len(tokens)


def _find_cuda(text: str, function: str, old: str) -> list[tuple[int, int]]:
    spans = [(0, len(text))]
    if function:
        spans = [(start, end) for name, start, end in cuda_functions(text) if name == function]
    wanted = [token for token, *_ in _tokens(old)]
    found = []
    tokens = _tokens(text)
    for i in range(len(tokens) - len(wanted) + 1):
        if [token for token, *_ in tokens[i : i + len(wanted)]] == wanted:
            first, last = tokens[i][1], tokens[i + len(wanted) - 1][2]
            if any(start <= first and last <= end for start, end in spans):
                found.append((first, last))
    return found


def _plant_cuda(text: str, function: str, old: str, new: str, file: str) -> str:
    start, end = _only(_find_cuda(text, function, old), f"{file}:{function}")
    return text[:start] + new + text[end:]


def _cuda_functions_with(text: str, old: str) -> list[str]:
    """Return the GPU functions that have the code exactly once."""
    if len(_find_cuda(text, "", old)) == 0:
        return []
    names = dict.fromkeys(name for name, *_ in cuda_functions(text))
    return [name for name in names if len(_find_cuda(text, name, old)) == 1] or [""]
