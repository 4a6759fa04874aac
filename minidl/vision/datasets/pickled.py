"""Reading CIFAR's pickles without running them.

A pickle is a program, and the machine that runs it (``pickle.load``) calls any function that the
program names. The published CIFAR files need very little of that: dicts, lists, numbers, strings
and uint8 arrays. ``pickletools`` splits the program into instructions without running it, and
:class:`_Machine` implements the few instructions needed for those values. The only "functions" are
those of ``_Machine._call``, which are matched by name and never looked up; any other call, and any
other instruction, is an error.

Files from Python 2 (as published) and Python 3, protocols 0 to 5, can be read.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import DataError


class _RefusedError(Exception):
    """The pickle holds more than plain values."""


class _Name:
    """A function or class that a pickle names; only ever compared, never looked up."""

    def __init__(self, module: str, name: str) -> None:
        module = module.replace("numpy._core", "numpy.core")  # NumPy 2's name becomes NumPy 1's
        self.name = f"{module}.{name}"


class _DType:
    """Stands for ``numpy.dtype("uint8")``."""


class _Array:
    """A uint8 array under construction: empty until its state arrives."""

    value: np.ndarray | None = None


_MARK = object()
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "MARK": lambda: _MARK,
}
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1"}
_PYTHON2_STRINGS = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
_STRINGS = {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"}
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


_COLLECTIONS: dict[str, Callable[[list[Any]], Any]] = {
    "TUPLE": tuple,
    "LIST": list,
    "DICT": _pairs,
}


class _Machine:
    """A stack and a memo, as in ``pickle``; see ``pickletools`` for the instructions."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, program: bytes) -> Any:
        import pickletools

        for instruction, argument, _ in pickletools.genops(program):
            self._step(instruction.name, argument)
        (value,) = self.stack
        return value

    def _step(self, code: str, argument: Any) -> None:
        stack = self.stack
        if code in _NUMBERS or code in _STRINGS:
            stack.append(argument)
        elif code in _BYTES:
            stack.append(bytes(argument))
        elif code in _PYTHON2_STRINGS:
            stack.append(argument.encode("latin-1"))  # undoes pickletools' decoding
        elif code in _CONSTANTS:
            stack.append(_CONSTANTS[code]())
        elif code in _TUPLES:
            stack[-_TUPLES[code] :] = [tuple(stack[-_TUPLES[code] :])]
        elif code in _COLLECTIONS:
            stack.append(_COLLECTIONS[code](self._pop_to_mark()))
        elif code in ("APPEND", "APPENDS"):
            items = [stack.pop()] if code == "APPEND" else self._pop_to_mark()
            _only(list, stack[-1]).extend(items)
        elif code in ("SETITEM", "SETITEMS"):
            if code == "SETITEM":
                value, key = stack.pop(), stack.pop()
                items = [key, value]
            else:
                items = self._pop_to_mark()
            _only(dict, stack[-1]).update(_pairs(items))
        elif code in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif code == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif code in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif code == "GLOBAL":
            stack.append(_Name(*argument.split(" ", 1)))
        elif code == "STACK_GLOBAL":
            name, module = _only(str, stack.pop()), _only(str, stack.pop())
            stack.append(_Name(module, name))
        elif code == "REDUCE":
            arguments, function = _only(tuple, stack.pop()), _only(_Name, stack.pop())
            stack.append(self._call(function.name, arguments))
        elif code == "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], _Array):
                version, shape, _dtype, fortran, raw = state
                stack[-1].value = _uint8_array(raw, _only(_DType, _dtype) and shape, bool(fortran))
            else:  # a dtype's byte order, which uint8 does not have
                _only(_DType, stack[-1])
        elif code not in ("PROTO", "FRAME", "STOP"):
            raise _RefusedError(f"the instruction {code}")

    def _pop_to_mark(self) -> list[Any]:
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise _RefusedError("a list without a start")
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items

    @staticmethod
    def _call(name: str, arguments: tuple[Any, ...]) -> Any:
        """Return the result of the named function for plain values."""
        if name == "_codecs.encode" and arguments[1] == "latin1":
            return _only(str, arguments[0]).encode("latin-1")
        if name == "numpy.dtype" and arguments[0] in ("u1", b"u1", "|u1", b"|u1"):
            return _DType()
        is_array = name == "numpy.core.multiarray._reconstruct"
        if is_array and _only(_Name, arguments[0]).name == "numpy.ndarray":
            return _Array()
        if name == "numpy.core.numeric._frombuffer":
            raw, dtype, shape, order = arguments
            array = _Array()
            array.value = _uint8_array(raw, _only(_DType, dtype) and shape, order == "F")
            return array
        raise _RefusedError(f"a call of {name}")


def _only(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise _RefusedError(f"{type(value).__name__} where {kind.__name__} was expected")
    return value


def _uint8_array(raw: Any, shape: Any, fortran: bool) -> np.ndarray:
    array = np.frombuffer(_only(bytes, raw), dtype=np.uint8)
    sides = [_only(int, side) for side in _only(tuple, shape)]
    if min(sides, default=0) < 0 or math.prod(sides) != array.size:
        raise _RefusedError(f"an array of shape {shape} from {array.size} bytes")
    return array.reshape(sides, order="F" if fortran else "C")


def read_pickled_dict(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a pickled dict of plain values; nothing in the file is executed.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    dict of str to value
        Keys are str, whether the file has bytes or text. Values are int, str, bytes, None, bool,
        list, tuple, dict and, directly in the dict, read-only uint8 arrays.

    Raises
    ------
    DataError
        The file is missing or damaged, or holds anything but plain values.
    """
    try:
        with open(path, "rb") as file:
            value = _Machine().run(file.read())
        pairs = _only(dict, value).items()
        return {
            as_text(key): value.value if isinstance(value, _Array) else value
            for key, value in pairs
        }
    except _RefusedError as refused:
        raise DataError(
            f"{os.fspath(path)} was refused: a CIFAR file holds lists, strings and uint8 arrays, "
            f"this pickle asks for {refused}; nothing in it was executed"
        ) from None
    except FileNotFoundError:
        raise DataError(f"{os.fspath(path)} is missing") from None
    except Exception as error:  # a damaged program may fail in any way
        raise DataError(
            f"{os.fspath(path)} is damaged or not a pickle ({type(error).__name__}: {error})"
        ) from error


def as_text(value: Any) -> str:
    """Return text that Python 2 may have written as bytes."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(_only(str, value))
