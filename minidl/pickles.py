"""Reading pickles without running them.

A pickle is a program, and the machine that runs it (``pickle.load``) calls any function that the
program names. Files of numbers need very little of that. ``pickletools`` splits the program into
instructions without running it, and :func:`read_pickle` implements the few instructions needed for
dicts, lists, numbers, strings and arrays. The only "functions" are those in its tables, which are
matched by name and never looked up; any other call, and any other instruction, is an error.

Files from Python 2 and 3, protocols 0 to 5, can be read. Memory is bounded: a program may have a
million instructions, and its calls may not make more bytes than its file has. A value may hold
another many times over, and so on, until nobody could ever print, compare or hash it: such values
are refused, whether they stand in a key, in a call or in the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np

_MAX_INSTRUCTIONS = 1_000_000
_MAX_AXES = 64  # NumPy's limit
_MAX_KEY_BITS = 60


class RefusedError(Exception):
    """The pickle asks for more than plain values and arrays; the message says for what."""


class Name:
    """A function or class that a pickle names; only ever compared, never looked up."""

    def __init__(self, module: str, name: str) -> None:
        # Cut, because a few instructions may name a long text often; no known name is as long.
        module = module[:100].replace("numpy._core", "numpy.core")  # NumPy 2's becomes NumPy 1's
        self.name = f"{module}.{name[:100]}"

    def __repr__(self) -> str:
        return repr(self.name[:100])[1:-1]  # for an error's sentence


class _Array:
    """An array under construction: without a value until its state arrives."""

    value: Any = None


class _DType:
    """A dtype under construction; its state holds the byte order."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype


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
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT"}
_PYTHON2_STRINGS = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
_STRINGS = {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"}
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_KEYS = (str, bytes, int, float, type(None))  # a tuple's hash can take forever


def _values(items: list[Any]) -> list[Any]:
    """Return items of a list or a dict; a function or class is none."""
    for item in items:
        if isinstance(item, Name):
            raise RefusedError(f"the name {item}")
    return items


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(plain_keys(items[::2]), _values(items[1::2]), strict=True))


_COLLECTIONS: dict[str, Callable[[list[Any]], Any]] = {
    "TUPLE": tuple,
    "LIST": _values,
    "DICT": _pairs,
}


class _Bounded:
    """A file whose reads ask for no more bytes than are left, whatever a length in it claims."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        begin = file.tell()
        self.end = file.seek(0, 2)
        file.seek(begin)
        self.tell, self.readline = file.tell, file.readline

    def read(self, size: int) -> bytes:
        return self._file.read(min(size, self.end - self._file.tell()))


class _Machine:
    """A stack and a memo, as in ``pickle``; see ``pickletools`` for the instructions."""

    def __init__(
        self,
        calls: Mapping[str, Callable[..., Any]],
        persistent: Callable[[Any], Any] | None,
        dtypes: str,
        constants: Mapping[str, Any],
    ) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.persistent, self.dtypes, self.constants = persistent, dtypes, constants
        self.calls: dict[str, Callable[..., Any]] = {
            "_codecs.encode": self._encode,
            "__builtin__.bytearray": self._bytearray,
            "builtins.bytearray": self._bytearray,
            "numpy.dtype": self._dtype,
            "numpy.core.multiarray._reconstruct": self._reconstruct,
            "numpy.core.multiarray.scalar": self._scalar,
            "numpy.core.numeric._frombuffer": self._frombuffer,
            **calls,
        }

    def run(self, file: BinaryIO) -> Any:
        import pickletools

        bounded: Any = _Bounded(file)
        self.room = bounded.end  # bytes that calls may still make
        self.items = min(bounded.end, _MAX_INSTRUCTIONS)  # that calls may still copy
        for number, (instruction, argument, _) in enumerate(pickletools.genops(bounded)):
            if number > _MAX_INSTRUCTIONS:
                raise RefusedError(f"more than {_MAX_INSTRUCTIONS:,} instructions")
            try:
                self._step(instruction.name, argument)
            except RefusedError as refused:  # the last text before it is usually its key
                key = next((item for item in reversed(self.stack) if isinstance(item, str)), None)
                raise RefusedError(f"{refused}, after {key[:40]!r}" if key else refused) from None
        (value,) = _values(self.stack)
        return _countable(finished(value))

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
            stack[-_TUPLES[code] :] = [tuple(map(finished, stack[-_TUPLES[code] :]))]
        elif code in _COLLECTIONS:
            stack.append(_COLLECTIONS[code](self._pop_to_mark()))
        elif code in ("APPEND", "APPENDS"):
            items = [finished(stack.pop())] if code == "APPEND" else self._pop_to_mark()
            only(list, stack[-1]).extend(_values(items))
        elif code in ("SETITEM", "SETITEMS"):
            if code == "SETITEM":
                value, key = finished(stack.pop()), stack.pop()
                items = [key, value]
            else:
                items = self._pop_to_mark()
            only(dict, stack[-1]).update(_pairs(items))
        elif code in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif code == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif code in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif code == "GLOBAL":
            self._name(*argument.split(" ", 1))
        elif code == "STACK_GLOBAL":
            name, module = only(str, stack.pop()), only(str, stack.pop())
            self._name(module, name)
        elif code == "REDUCE":
            arguments, function = only(tuple, stack.pop()), only(Name, stack.pop())
            if function.name not in self.calls:
                raise RefusedError(f"a call of {function}")
            parts = [part for part in arguments if isinstance(part, dict | list | tuple)]
            self.items -= len(arguments) + sum(map(len, parts))
            if self.items < 0:
                raise RefusedError("more items in calls than its file has bytes")
            stack.append(self.calls[function.name](*arguments))
        elif code in ("NEWOBJ", "NEWOBJ_EX"):
            kind = only(Name, stack[-2 if code == "NEWOBJ" else -3])
            raise RefusedError(f"an object of class {kind}")
        elif code == "BINPERSID" and self.persistent is not None:
            stack.append(self.persistent(stack.pop()))
        elif code == "BUILD":
            self._build(stack.pop(), stack[-1])
        elif code not in ("PROTO", "FRAME", "STOP"):
            raise RefusedError(f"the instruction {code}")

    def _name(self, module: str, name: str) -> None:
        found = Name(module, name)
        self.stack.append(self.constants.get(found.name, found))

    def _pop_to_mark(self) -> list[Any]:
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise RefusedError("a list without a start")
        items = [finished(item) for item in self.stack[place + 1 :]]
        del self.stack[place:]
        return items

    def _build(self, state: Any, target: Any) -> None:
        if isinstance(target, _Array):
            _, shape, dtype, fortran, raw = state
            target.value = self._array(raw, dtype, shape, bool(fortran))
        elif isinstance(target, _DType):
            order: Any = only((bytes, str), state[1])[:1]
            order = order.decode() if isinstance(order, bytes) else order
            target.dtype = target.dtype.newbyteorder(order)
        else:  # the attributes that PyTorch gives to an OrderedDict are dropped
            only(dict, target), only(dict, state)
            if set(state) - {"_metadata"}:
                raise RefusedError("attributes of a dict")

    def _encode(self, text: Any, encoding: Any) -> bytes:
        if only(str, encoding) not in ("latin1", "latin-1"):
            raise RefusedError(f"a call of _codecs.encode for {encoding[:40]!r}")
        self._make_room(len(only(str, text)))
        return text.encode("latin-1")

    def _bytearray(self, content: Any = b"", encoding: Any = None) -> bytes:
        return content if isinstance(content, bytes) else self._encode(content, encoding)

    def _make_room(self, count: int) -> None:
        self.room -= count
        if self.room < 0:
            raise RefusedError("more bytes than its file has")

    def _dtype(self, code: Any, *options: Any) -> _DType:
        code = code.decode() if isinstance(code, bytes) else only(str, code)
        kind = code.lstrip("<>|=")[:1]
        if kind not in self.dtypes or not code.lstrip("<>|=")[1:].isdigit():
            raise RefusedError(f"a call of numpy.dtype for {code[:40]!r}")
        return _DType(np.dtype("O" if kind == "O" else code))

    @staticmethod
    def _reconstruct(kind: Any, *start: Any) -> _Array:
        if only(Name, kind).name != "numpy.ndarray":
            raise RefusedError(f"an array of class {kind}")
        return _Array()

    def _frombuffer(self, raw: Any, dtype: Any, shape: Any, order: Any) -> Any:
        return self._array(raw, dtype, shape, order == "F")

    def _scalar(self, dtype: Any, raw: Any) -> Any:
        return self._array(raw, dtype, (), False)[()]

    @staticmethod
    def _array(raw: Any, dtype: Any, shape: Any, fortran: bool) -> Any:
        dtype = only(_DType, dtype).dtype
        sides = [only(int, side) for side in only(tuple, shape)]
        if dtype.hasobject:
            if sides or len(only(list, raw)) != 1:
                raise RefusedError("an array of several objects")
            return raw[0]
        array = np.frombuffer(only(bytes, raw), dtype=dtype)
        if (
            len(sides) > _MAX_AXES
            or min(sides, default=0) < 0
            or math.prod(sides) != array.size
            or array.size == 0 != len(raw)
        ):
            raise RefusedError(f"an array of shape {_shown(sides)} from {len(raw)} bytes")
        return array.reshape(sides, order="F" if fortran else "C")


def _shown(sides: list[int]) -> str:
    return str(tuple(sides[:_MAX_AXES]))[:200]


def finished(value: Any) -> Any:
    """Return an array that was under construction."""
    return value.value if isinstance(value, _Array) else value


def plain_keys(keys: Any) -> list[Any]:
    """Return the keys of a dict or the elements of a set, after checking their types."""
    return [plain_key(key) for key in only((list, tuple), keys)]


def plain_key(key: Any) -> Any:
    """Return a key, after checking its type."""
    # Thousands of larger ints may have the same hash, and a dict of them takes forever.
    if isinstance(only(_KEYS, key), int) and key.bit_length() > _MAX_KEY_BITS:
        raise RefusedError(f"a key of {key.bit_length()} bits")
    return key


def _countable(value: Any) -> Any:
    """Return a value that holds at most a million items, shared ones counted again each time."""
    waiting, left = [value], _MAX_INSTRUCTIONS
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict | list | tuple):
            left -= len(item)
            if left < 0:
                raise RefusedError(f"more than {_MAX_INSTRUCTIONS:,} items, or a value in itself")
            waiting += item.values() if isinstance(item, dict) else item
    return value


def only(kind: Any, value: Any) -> Any:
    """Return a value of the expected type.

    Raises
    ------
    RefusedError
        It has another type.
    """
    if not isinstance(value, kind):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        expected = "a plain key" if kind is _KEYS else " or ".join(one.__name__ for one in kinds)
        raise RefusedError(f"{type(value).__name__} where {expected} was expected")
    return value


def read_pickle(
    file: BinaryIO,
    calls: Mapping[str, Callable[..., Any]] | None = None,
    persistent: Callable[[Any], Any] | None = None,
    dtypes: str = "biuf",
    constants: Mapping[str, Any] | None = None,
) -> Any:
    """Read a pickle of plain values and arrays; nothing in it is executed.

    Parameters
    ----------
    file : binary file
        At the pickle's beginning; afterwards, behind its end. It must know its position.
    calls : mapping of str to function, optional
        What stands for a call of a name such as "collections.OrderedDict", besides NumPy's.
    persistent : callable, optional
        Returns what stands for a persistent ID, by which PyTorch's files refer to numbers.
        Default: such an ID is refused.
    dtypes : str
        Kinds of dtypes that arrays may have; "O" allows a single object in an array. Default
        "biuf".

    constants : mapping of str to object, optional
        What stands for a name that is not called.

    Returns
    -------
    object
        Dicts, lists, tuples, numbers, str, bytes (Python 2's strings and bytearrays, too), None,
        read-only arrays and scalars, and what `calls` and `persistent` returned.

    Raises
    ------
    RefusedError
        The pickle asks for more than that.
    Exception
        The pickle is damaged; any kind.
    """
    return _Machine(calls or {}, persistent, dtypes, constants or {}).run(file)
