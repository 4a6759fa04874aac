"""Helpers of the tests of all pools."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

#: AlexNet's windows overlap.
PAPER = {"kernel_size": 3, "stride": 2}


@st.composite
def problems(draw: Any, with_dilation: bool) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Draw the shape of images, and arguments of a pool whose window fits them."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2))) if with_dilation else (1, 1)
    stride = draw(st.none() | st.tuples(st.integers(1, 4), st.integers(1, 4)))
    size = [
        max(1, dilation[i] * (kernel[i] - 1) + 1 - 2 * padding[i]) + draw(st.integers(0, 5))
        for i in (0, 1)
    ]
    options: dict[str, Any] = {
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "ceil_mode": draw(st.booleans()),
    }
    if with_dilation:
        options["dilation"] = dilation
    return (draw(st.integers(0, 3)), draw(st.integers(1, 4)), *size), options
