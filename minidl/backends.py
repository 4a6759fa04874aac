"""Switches of ``torch.backends`` that scripts set: accepted, with an effect where there is one.

``cuda.matmul.allow_tf32`` and ``cudnn.allow_tf32`` are :func:`minidl.cuda.allow_tf32`. The others
change nothing: minidl has no cuDNN, and its results are deterministic in any case.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from .cuda import allow_tf32, is_tf32_allowed
from .errors import ArgumentError
from .missing import attributes

__all__ = ["cuda", "cudnn", "mkldnn", "mps", "openmp"]


class _Backend(SimpleNamespace):
    """A library that PyTorch can use, and its switches."""

    _there = False

    def is_available(self) -> bool:
        """Return whether minidl uses it."""
        return self._there

    is_built = is_available

    def version(self) -> None:
        """Return None: there is no version."""

    @contextmanager
    def flags(self, **switches: Any) -> Iterator[None]:
        """Set switches inside a ``with`` block, such as ``flags(enabled=False)``."""
        before = {name: getattr(self, name, None) for name in switches}
        for name, value in switches.items():
            setattr(self, name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)


class _TF32(_Backend):
    """Switches among which one is TF32's."""

    @property
    def allow_tf32(self) -> bool:
        """Whether matrix products on a GPU may round their factors to TF32."""
        return is_tf32_allowed()

    @allow_tf32.setter
    def allow_tf32(self, value: bool) -> None:
        allow_tf32(bool(value))


cudnn: Any = _TF32(enabled=False, benchmark=False, deterministic=True, benchmark_limit=10)
cuda: Any = _Backend(matmul=_TF32())
mps, mkldnn, openmp = _Backend(), _Backend(), _Backend()

for _name in __all__:  # import minidl.backends.cudnn
    sys.modules[f"{__name__}.{_name}"] = globals()[_name]


def set_float32_matmul_precision(precision: str) -> None:
    """Set ``cuda.matmul.allow_tf32``: False for "highest", True for "high" and "medium".

    Raises
    ------
    ArgumentError
        `precision` is none of the three.
    """
    if precision not in ("highest", "high", "medium"):
        raise ArgumentError(f"precision must be 'highest', 'high' or 'medium', got {precision!r}")
    allow_tf32(precision != "highest")


def get_float32_matmul_precision() -> str:
    """Return "high" if TF32 is allowed, else "highest"."""
    return "high" if is_tf32_allowed() else "highest"


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Accepted for compatibility with PyTorch: all results are deterministic in any case."""


def are_deterministic_algorithms_enabled() -> bool:
    """Return True: all results are deterministic."""
    return True


__getattr__ = attributes(globals())
