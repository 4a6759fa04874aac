# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Windows as columns: im2col
#
# A convolution, a pooling layer, a local layer: each looks at an image through a small window, again
# and again at another place. Seven nested loops would do it (image, output channel, two for the
# window's place, input channel, two for its entries). In plain Python that takes minutes.
#
# The way out is to move the data first. **im2col** writes each window into a column of a matrix. Then a
# convolution is one matrix product, and few things run as fast as a matrix product:
#
# $$ Y = W X \qquad W: O \times (C \cdot K \cdot K) \qquad X: (C \cdot K \cdot K) \times (\text{number of windows}) $$
#
# Each row of $W$ is a kernel, laid out as its windows are. The price: a pixel stands in $X$ once for
# each window that holds it.

# %%
import time

import numpy as np

import minidl
from minidl.course import Markdown, explorable, source, table
from minidl.course.figures.common import show
from minidl.course.figures.im2col import columns_of, counts, placements
from minidl.kernels.windows import Geometry
from minidl.nn import functional as F
from minidl.nn import im2col as page

image = minidl.arange(1.0, 26.0, dtype=minidl.float64).reshape(1, 1, 5, 5)  # pixels 1 to 25
columns = F.unfold(image, kernel_size=3)

# %% tags=["hide-input"]
grid, matrix = image.numpy()[0, 0], columns.numpy()[0]
drawing = show(
    columns_of(grid, matrix, pixel=13, window=1, kernel=3),
    "Left: an image of 5 by 5 pixels, numbered from 1 to 25, with one window of 3 by 3 outlined. Right: "
    f"its matrix of {matrix.shape[0]} rows and {matrix.shape[1]} columns, with that window's column outlined. "
    f"Pixel 13, in the middle of the image, is in the matrix {int((matrix == 13).sum())} times, "
    "on the diagonal from the lower left to the upper right.",
)
drawing

# %% tags=["hide-input"]
Markdown(
    f"{grid.size} pixels have become {matrix.size} numbers. Pixel 13, in the middle, is in all "
    f"{int((matrix == 13).sum())} windows, each time as another entry: at the lower right of the first window, "
    f"at the upper left of the last. Pixel 1, in the corner, is in {int((matrix == 1).sum())}."
)

# %% [markdown]
# Choose a pixel, and change the windows. The small number beside a pixel says how many windows hold it:

# %% tags=["hide-input"]
explorable("im2col_copies", drawing, size=5, kernel=3, stride=1, padding=0, pixel=13)

# %% [markdown]
# ## How many windows?
#
# Along an axis of $H$ pixels, with padding $p$ on both sides, a window of $K$ entries, stride $s$ (from
# the start of a window to that of the next) and dilation $d$ (from an entry to its neighbor):
#
# $$ \text{number of windows} = \left\lfloor \frac{H + 2p - d\,(K - 1) - 1}{s} \right\rfloor + 1 $$
#
# Read it from the inside. A window has $K - 1$ gaps of $d$, so it covers $d\,(K - 1) + 1$ places. Put the
# first window at the very start: the rest of the line is the room for steps. Each takes $s$; a step
# that doesn't fit doesn't count, hence the rounding down. The first window needed no step, hence the $+ 1$.

# %% tags=["hide-input"]
settings = [
    {"title": title, "size": 8, "kernel": 3, "stride": 2, "padding": padding, "dilation": dilation}
    for title, padding, dilation in (
        ("8 pixels, kernel 3, stride 2", 0, 1),
        ("the same with padding 1", 1, 1),
        ("the same with dilation 2", 0, 2),
    )
]
for s in settings:
    line = minidl.zeros(1, 1, 1, s["size"])
    s["out"] = F.unfold(
        line, (1, s["kernel"]), (1, s["dilation"]), (0, s["padding"]), (1, s["stride"])
    ).shape[2]
show(
    placements(settings),
    "Three rows of 8 pixels, with the windows of 3 entries below them, each two places further than the one before: "
    + ", ".join(f"{s['title']}: {s['out']} windows" for s in settings)
    + ". In each, one more window would reach beyond the edge.",
)

# %% [markdown]
# In all three a pixel at the right is left over, or a zero of the padding, and no window reads it.
#
# ## The code
#
# From [`minidl/nn/im2col.py`](../../minidl/nn/im2col.py). The loops go over the few entries of a window,
# not over the many windows: entry (0, 0) of *all* windows is one slice of the image with a step, and so
# is each other entry.

# %% tags=["hide-input"]
source(page.im2col)

# %% tags=["hide-input"]
source(Geometry.positions)

# %% [markdown]
# The backward is `col2im`. im2col copied pixel 13 nine times, so a small change of pixel 13 changes nine
# numbers, and its gradient is the sum of their gradients. It is the same code with the assignment turned
# around, and with `+=` for `=`:

# %% tags=["hide-input"]
source(page.col2im)

# %% [markdown]
# `F.unfold` and `F.fold` are im2col and col2im under PyTorch's names; faster kernels do their work. They
# must give what the plain code gives, and a convolution must be the matrix product:

# %%
minidl.manual_seed(0)
x = minidl.randn(2, 3, 9, 10, dtype=minidl.float64)
how = {"kernel_size": 3, "stride": 2, "padding": 1}
fast = F.unfold(x, **how)
with minidl.reference():
    plain = F.unfold(x, **how)
print("kernel and plain code, columns:", np.array_equal(fast.numpy(), plain.numpy()))

dy = minidl.randn(*fast.shape, dtype=minidl.float64)
fast_back = F.fold(dy, (9, 10), **how)
with minidl.reference():
    plain_back = F.fold(dy, (9, 10), **how)
print("kernel and plain code, images:", np.allclose(fast_back.numpy(), plain_back.numpy()))

weight = minidl.randn(4, 3, 3, 3, dtype=minidl.float64)
product = weight.reshape(4, 27) @ fast  # (4, 27) @ (2, 27, windows)
conv = F.conv2d(x, weight, stride=2, padding=1)
print("convolution:", np.allclose(product.numpy(), conv.numpy().reshape(2, 4, -1)))


# %% [markdown]
# What are the copies worth? Here is a convolution in loops (the three innermost are NumPy's, or we would
# wait too long), and after it im2col with a matrix product:


# %% tags=["measured"]
def in_loops(x, weight):
    out = x.shape[1] - weight.shape[2] + 1
    y = np.empty((len(weight), out, out))
    for o in range(len(weight)):
        for i in range(out):
            for j in range(out):
                y[o, i, j] = (weight[o] * x[:, i : i + 5, j : j + 5]).sum()
    return y


photo, kernels_5x5 = np.random.rand(16, 44, 44), np.random.rand(8, 16, 5, 5)
started = time.perf_counter()
slow = in_loops(photo, kernels_5x5)
middle = time.perf_counter()
quick = kernels_5x5.reshape(8, -1) @ F.unfold(minidl.tensor(photo[None]), 5).numpy()[0]
end = time.perf_counter()
assert np.allclose(slow.ravel(), quick.ravel())
print(f"loops {1e3 * (middle - started):.0f} ms, im2col {1e3 * (end - middle):.0f} ms")

# %% [markdown]
# ## The copies
#
# Send ones through `unfold` and back through `fold`, and each pixel returns the number of its copies:


# %%
def copies(size, kernel, stride, padding=0):
    """Return in how many windows each pixel of a square image is."""
    there = F.unfold(minidl.ones(1, 1, size, size), kernel, padding=padding, stride=stride)
    return F.fold(there, size, kernel, padding=padding, stride=stride).numpy()[0, 0]


conv1 = copies(227, 11, 4)

# %% tags=["hide-input"]
show(
    counts(
        {"3×3, stride 1": copies(7, 3, 1), "3×3, stride 2": copies(7, 3, 2)},
        ("11×11, stride 4 (AlexNet's conv1)", conv1[:40, :40]),
    ),
    "In how many windows each pixel is. Windows of 3 by 3 at stride 1 on 7 by 7 pixels: from 1 in the corners "
    "to 9 inside. The same at stride 2: 1, 2 or 4, in a regular pattern. Windows of 11 by 11 at stride 4: "
    f"a woven pattern of {', '.join(f'{n:g}' for n in np.unique(conv1[12:-12, 12:-12]))} inside, lighter at the edges.",
)

# %% [markdown]
# At stride 1 the pixels near an edge are in fewer windows, so they get less gradient. At a stride above 1
# pixels far from any edge differ as well: with windows of 11 pixels, 4 apart, a pixel is in two or in three
# windows along an axis. (Transposed convolutions, which run col2im *forward*, paint this pattern into
# their pictures; it is known as the checkerboard.)
#
# ## The experiment: two tests of col2im
#
# Suppose that you have written both functions, and want to test the second. The first idea is the round
# trip: take an image apart and put it together again. Here is col2im as above, and once more with `=` in
# the place of `+=`:


# %%
def put_back(columns, size, kernel, stride, add):
    """Return the image of columns (kernel², windows); `add`: as col2im should."""
    out = (size - kernel) // stride + 1
    parts, image = columns.reshape(kernel, kernel, out, out), np.zeros((size, size))
    for a in range(kernel):
        for b in range(kernel):
            end = stride * (out - 1) + 1
            to = slice(a, a + end, stride), slice(b, b + end, stride)
            if add:
                image[to] += parts[a, b]
            else:
                image[to] = parts[a, b]
    return image


rng = np.random.default_rng(0)
picture = rng.standard_normal((7, 7))
windows = F.unfold(minidl.tensor(picture[None, None]), 3, stride=2).numpy()[0]
any_columns = rng.standard_normal(windows.shape)
for name, add in ("added", True), ("overwritten", False):
    same = np.allclose(put_back(windows, 7, 3, 2, add), picture)
    left = (windows * any_columns).sum()
    right = (picture * put_back(any_columns, 7, 3, 2, add)).sum()
    print(f"{name:12} round trip: {same!s:6} two sums: {left:7.4f} and {right:7.4f}")

# %% [markdown]
# **The trap.** The round trip accepts the wrong function and rejects the right one! All copies of a pixel are
# equal, so overwriting one with another does no harm, and adding them counts the pixel several times.
# im2col and col2im are *not* inverse to each other, and people are surprised by it
# ([pytorch/pytorch#7519](https://github.com/pytorch/pytorch/issues/7519)). Gradients, unlike copies, differ
# from window to window.
#
# They are *transposes*. im2col is linear: it is multiplication by a matrix $A$ of zeros and ones, with a
# single 1 in each row (which pixel does this number come from?), or none if the number comes from the padding. A backward pass multiplies by $A^T$, and
# that is what the second test says, for any image $x$ and any columns $y$:
#
# $$ \langle A x, y \rangle = \langle x, A^T y \rangle $$
#
# Two sums over random numbers, and no derivative in it. It tests the backward of every linear layer: one
# wrong entry makes the sums differ. (If both functions are wrong in the same way, they don't; so im2col
# needs a test of its own.)

# %%
for kernel, stride, padding, dilation in (3, 1, 0, 1), (3, 2, 1, 1), (2, 3, 0, 1), (3, 2, 2, 2):
    how = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    ax = F.unfold(x, **how)
    y = minidl.randn(*ax.shape, dtype=minidl.float64)
    left, right = (ax * y).sum().item(), (x * F.fold(y, (9, 10), **how)).sum().item()
    print(*(f"{name} {value}," for name, value in how.items()), np.isclose(left, right))

# %% [markdown]
# ## What this settles about AlexNet
#
# **224 or 227?** The paper says that its first layer reads images of 224×224 pixels with windows of 11×11,
# 4 apart, and Figure 2 of the paper says that its output is 55×55. The formula says otherwise, and it has puzzled many
# ([ageron/handson-ml#202](https://github.com/ageron/handson-ml/issues/202)). The ways out that programs
# have taken:

# %%
ways = {
    "227 pixels (Caffe)": (227 - 11) // 4 + 1,
    "224 and padding of 2 (torchvision)": (224 + 2 * 2 - 11) // 4 + 1,
    "224, rounded up (the program of 2012)": -(-(224 - 11) // 4) + 1,
    "224, rounded down (TF-slim)": (224 - 11) // 4 + 1,
}
for way, out in ways.items():
    print(f"{way:38} {out}")

# %% [markdown]
# The program of 2012 lets the last window hang over the edge, where it reads zeros: 224 pixels and 55
# windows are both right, with three columns of zeros on the right and three rows below. The number of neurons in the
# caption of Figure 2 stays odd: it fits neither 55×55 nor any other square.

# %%
maps, remainder = divmod(253_440, 96)  # neurons of the first layer, and its kernels
print(f"{maps} places, remainder {remainder}; 54² = {54**2}, 55² = {55**2}, 55·48 = {55 * 48}")

# %% [markdown]
# **How large are the matrices?** For one image, in numbers per number of the input:

# %% tags=["hide-input"]
layers = {"conv1": (3, 227, 11, 4, 0), "conv2": (96, 27, 5, 1, 2), "conv3": (256, 13, 3, 1, 1),
          "conv4": (384, 13, 3, 1, 1), "conv5": (384, 13, 3, 1, 1)}  # fmt: skip
lines = [
    "| layer | input | columns | numbers of the matrix | times the input |",
    "|---|---|---|--:|--:|",
]
for name, (channels, size, kernel, stride, padding) in layers.items():
    out = (size + 2 * padding - kernel) // stride + 1
    numbers, entries = channels * kernel**2 * out**2, channels * size**2
    lines.append(
        f"| {name} | {channels}×{size}×{size} | {channels * kernel**2}×{out**2} | {numbers:,} "
        f"| {numbers / entries:.1f} |"
    )
batch = 128 * 96 * 25 * 27**2 * 4 / 2**30
Markdown(
    "\n".join(lines)
    + f"\n\nWith the paper's batch of 128 images the matrix of conv2 alone would fill {batch:.1f} GiB in "
    "float32; each of the two cards of 2012 had 3. So fast convolutions, the library's own among them, never "
    "hold the whole matrix: they write a small block of it, multiply, and forget it."
)

# %% [markdown]
# ## Exercises
#
# ```bash
# python -m minidl.course start exercises           # writes exercises/06_im2col.py and others
# python -m minidl.course check exercises/06_im2col.py
# ```
#
# 1. `out_size`: the number of windows. Public libraries have had at least three wrong versions.
# 2. `im2col`: the columns, with channels, stride and padding. Loops are fine.
# 3. `copies`: how often each pixel is in the matrix. A hint that saves work: how often is it along one
#    axis?

# %% tags=["hide-input"]
table("06_im2col")
