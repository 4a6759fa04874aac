"""Kernels that work on planes, a plane being one channel of one image (``geometry.cuh``)."""

from __future__ import annotations

from ..windows import Geometry, Pair


def on_planes(geometry: Geometry, size: Pair) -> tuple[int, ...]:
    """Return the arguments that a kernel calls GEOMETRY, for planes of height and width `size`."""
    g = geometry
    return (*size, *g.out, *g.kernel, *g.stride, *g.dilation, *g.before)
