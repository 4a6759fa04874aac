"""AlexNets with 64 units instead of 4096: a tenth of the parameters to save.

``python small_networks.py PROGRAM ARGUMENTS`` runs a program with this network.
``--without-figures`` before the program's name hides Matplotlib and tensorboardX: importing them
and drawing takes longer than a tiny training.
"""

from __future__ import annotations

import importlib
import os
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace


@contextmanager
def small_networks() -> Iterator[None]:
    """Make all variants of ``alexnet`` small within the block."""
    variants = importlib.import_module("minidl.vision.models.variants").VARIANTS
    before = dict(variants)
    for name, variant in before.items():
        rows = (row._replace(outputs=64) if row.outputs == 4096 else row for row in variant.rows)
        variants[name] = replace(variant, rows=tuple(rows))
    try:
        yield
    finally:
        variants.update(before)


@contextmanager
def zeros() -> Iterator[None]:
    """Start with zeros within the block: drawing 60 million initial values takes seconds."""
    tensor = importlib.import_module("minidl").Tensor
    before = tensor.uniform_, tensor.normal_
    tensor.uniform_ = tensor.normal_ = lambda self, *args, **options: self.zero_()
    try:
        yield
    finally:
        tensor.uniform_, tensor.normal_ = before


if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    if sys.argv[0] == "--without-figures":
        sys.argv = sys.argv[1:]
        sys.modules.update(dict.fromkeys(("matplotlib", "tensorboardX")))  # as if not installed
    sys.path.insert(0, os.path.dirname(sys.argv[0]))  # as for a program that is started itself
    with small_networks():
        runpy.run_path(sys.argv[0], run_name="__main__")
