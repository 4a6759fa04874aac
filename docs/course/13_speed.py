# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Speed
#
# Nearly all the time of AlexNet goes into convolutions, and nearly all of a convolution is multiplications
# and additions. There are two ways to be fast: do them well, or do fewer. The first is the matrix product of
# [page 7](07_convolution.md), which a library of hand-tuned machine code computes at nearly the processor's full rate. This page is
# about the second, and about measuring.
#
# ## Four products instead of six
#
# Slide a kernel of 3 numbers over 4 inputs. The 2 outputs take 6 products:
#
# $$ y_0 = d_0 g_0 + d_1 g_1 + d_2 g_2 \qquad y_1 = d_1 g_0 + d_2 g_1 + d_3 g_2 $$
#
# Four are enough (Winograd, 1980):
#
# $$ m_1 = (d_0 - d_2)\, g_0 \qquad m_2 = (d_1 + d_2)\, \frac{g_0 + g_1 + g_2}{2} $$
#
# $$ m_3 = (d_2 - d_1)\, \frac{g_0 - g_1 + g_2}{2} \qquad m_4 = (d_1 - d_3)\, g_2 $$
#
# $$ y_0 = m_1 + m_2 + m_3 \qquad y_1 = m_2 - m_3 - m_4 $$
#
# Multiply it out: $m_2 + m_3$ is $d_1 g_1 + d_2 (g_0 + g_2)$, and $m_1$ takes $d_2 g_0$ away again and brings $d_0 g_0$.
# Where does one find such a thing? A sliding kernel is the transpose of a product of two
# polynomials. Such a product is known from its values at enough points, and at a point polynomials multiply
# like numbers: one product each. Here the points are 0, 1, -1 and infinity.
#
# In matrices, with ⊙ for products place by place, and in two dimensions rows first, then columns:
#
# $$ y = A^T \left[ (G g) \odot (B^T d) \right] \qquad Y = A^T \left[ (G g G^T) \odot (B^T d B) \right] A $$

# %%
import time

import numpy as np

import minidl
from minidl import nn
from minidl.course import Markdown, agree, source, table
from minidl.course.figures.common import show
from minidl.course.figures.speed import rates, tile, trade
from minidl.kernels.cpu import winograd, winograd_tiles
from minidl.nn import functional as F

A = np.array([[1, 1, 1, 0], [0, 1, -1, -1]]).T
B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]).T
G = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2

d = np.array([[1, 0, 2, 1], [3, 1, 0, 2], [0, 2, 1, 1], [1, 1, 3, 0]])
g = np.outer([1, 2, 3], [3, 0, 1])
values, weights = B.T @ d @ B, G @ g @ G.T
y = A.T @ (values * weights) @ A
direct = F.conv2d(minidl.tensor(d[None, None] * 1.0), minidl.tensor(g[None, None] * 1.0))
print("as the library's:", np.array_equal(y, direct.numpy()[0, 0]))

# %% tags=["hide-input"]
show(
    tile(d, g, (values, weights), y),
    "From left to right: 4 by 4 pixels become 4 by 4 other numbers by additions alone; a kernel of 3 by 3 numbers "
    "becomes 4 by 4 numbers, once for all tiles; the two are multiplied place by place, 16 products; from them "
    "come 2 by 2 outputs. Computed one by one, these would take 36 products.",
)

# %% [markdown]
# 16 products instead of 36. The transforms are not free, but each serves many: a kernel is transformed once for all
# tiles of all images, a tile of pixels once for all filters. The outputs are transformed back once for all
# input channels, because the sum over the channels can be taken before:
#
# $$ Y_o = A^T \left[ \sum_c (G g_{o,c} G^T) \odot (B^T d_c B) \right] A $$
#
# At each of the 16 places, the sum over channels is an ordinary matrix product, (tiles × channels) by (channels ×
# filters). With many channels nearly all the work is in these 16 products.
#
# ## The code
#
# The library's tiles are larger: 4×4 outputs from 6×6 pixels, so 36 products instead of 144. Its points are in
# [`minidl/kernels/cpu/winograd_tiles.py`](../../minidl/kernels/cpu/winograd_tiles.py), and the matrices follow
# from them:

# %% tags=["hide-input"]
source(winograd_tiles.transforms)

# %% [markdown]
# With these matrices, a whole convolution fits on a few lines. `einsum` says what the transforms do; the `@` is
# where the time goes:


# %%
def winograd_conv(x, weight):
    """Convolve x (N, C, H, W) with weight (O, C, 3, 3): tiles of 4×4 outputs."""
    AT, G, BT = winograd_tiles.transforms(3, x.dtype)
    (n, channels, h, w), m = x.shape, 4
    down, across = -(-(h - 2) // m), -(-(w - 2) // m)
    padded = np.zeros((n, channels, m * down + 2, m * across + 2), x.dtype)
    padded[:, :, :h, :w] = x
    tiles = np.lib.stride_tricks.sliding_window_view(padded, (6, 6), (2, 3))[:, :, ::m, ::m]
    values = np.einsum("pa,ncijab,qb->pqnijc", BT, tiles, BT, optimize=True)
    kernels = np.einsum("pa,ocab,qb->pqco", G, weight, G, optimize=True)
    products = values.reshape(6, 6, -1, channels) @ kernels  # 36 matrix products
    products = products.reshape(6, 6, n, down, across, -1)
    y = np.einsum("ap,pqnijo,bq->noiajb", AT, products, AT, optimize=True)
    return y.reshape(n, -1, m * down, m * across)[:, :, : h - 2, : w - 2]


minidl.manual_seed(0)
x = minidl.randn(16, 192, 15, 15, dtype=minidl.float64)
w = minidl.randn(192, 192, 3, 3, dtype=minidl.float64)
fast = F.conv2d(x, w).numpy()
with minidl.reference():
    plain = F.conv2d(x, w).numpy()
ours = winograd_conv(x.numpy(), w.numpy())
for name, result in (("these lines", ours), ("the kernel", fast)):
    print(f"{name}: as the plain code", np.abs(result - plain).max() < 1e-12 * np.abs(plain).max())

rng = np.random.default_rng(0)
for images, kernels, padding in (
    ((9, 48, 27, 26), (128, 48, 5, 5), 2),  # AlexNet's second layer
    ((40, 16, 19, 21), (20, 16, 3, 3), 1),  # few channels: tiles along one axis
):
    pair = rng.standard_normal(images), rng.standard_normal(kernels)
    same = agree(lambda x, w: F.conv2d(x, w, padding=padding), *pair, differences=False)
    print(f"{kernels}: the gradients, too: {same}")

# %% [markdown]
# The sizes are those of a layer like AlexNet's conv3: 13×13 outputs, so that the tiles hang over the edge. Here is when
# the library takes this way at all:

# %% tags=["hide-input"]
source(winograd.suits)

# %% [markdown]
# ## The experiment: your machine
#
# The speed of a convolution is given in operations a second; a multiplication and an addition count as two. How to
# measure: leave out the first calls, which reserve memory and fill caches. Take the *median* of several, because
# now and then another program disturbs one. Keep to one kind of number: float32 is twice as fast as float64.


# %%
def seconds(function, calls=5, warmup=1):
    times = []
    for _ in range(warmup + calls):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times[warmup:]))


def loop(x, w):
    """Return the upper left output of each filter: three loops in Python."""
    y = np.zeros(len(w), x.dtype)
    for c in range(x.shape[1]):
        for i in range(3):
            for j in range(3):
                y += w[:, c, i, j] * x[0, c, i, j]
    return y


def in_reference():
    with minidl.reference():
        F.conv2d(x32, w32)


x32, w32 = minidl.tensor(x, dtype=minidl.float32), minidl.tensor(w, dtype=minidl.float32)
xs, ws = x32.numpy(), w32.numpy()
outputs, per_output = 16 * 192 * 13 * 13, 2 * 192 * 3 * 3
work = outputs * per_output

# %% tags=["measured"]
square = np.random.default_rng(0).random((1200, 1200), np.float32)
peak = 2 * len(square) ** 3 / seconds(lambda: square @ square) / 1e9
speeds = {
    "loops": 192 * per_output / seconds(lambda: loop(xs, ws)) / 1e9,
    "im2col: the plain code": work / seconds(in_reference) / 1e9,
    "Winograd: the lines above": work / seconds(lambda: winograd_conv(xs, ws)) / 1e9,
    "the kernel": work / seconds(lambda: F.conv2d(x32, w32)) / 1e9,
}
show(
    rates(speeds, peak),
    f"Speeds on a logarithmic axis: loops {speeds['loops']:.2g} GFLOP/s, the plain code with im2col, Winograd's lines, "
    f"and the kernel, {speeds['the kernel']:.0f}. A dashed line: a matrix product, {peak:.0f}.",
)

# %% [markdown]
# Between Python's loops and a matrix product lie two to three orders of magnitude. Our Winograd lines do less than half of
# the products and yet are hardly faster than im2col, if at all: fewer products are not yet less time. Each `einsum`
# sends all numbers through the main memory once more, which takes longer than multiplying them. The kernel does the
# same sums in pieces that stay in a core's cache. With more channels and pictures it even passes the dashed line. No
# matrix product can do that; but its speed is counted as if no product had been saved. ([How the kernels get
# their speed](../performance.md), with a table of what was tried and what it brought.)
#
# **The trap.** A measurement is easily wrong by more than what it should show. The usual ways:
#
# - *The first call is measured, too.* Here is what several calls in a row take on your machine:

# %% tags=["measured"]
layer, image = nn.Conv2d(64, 64, 3), minidl.randn(4, 64, 30, 30)
calls = [seconds(lambda: layer(image), calls=1, warmup=0) for _ in range(6)]
print("milliseconds:", ", ".join(f"{1000 * each:.2f}" for each in calls))

# %% [markdown]
# - *Something else has more threads.* NumPy's matrix product uses all cores by default. Compare one thread with one
#   thread, and say so.
# - *The result is never waited for.* A GPU answers at once and computes later. Stop the clock after a
#   synchronization, or you measure the queue.
# - *The work is not the same.* Another layout, another precision, a result that is thrown away and never computed.
#
# ## Why not larger tiles?
#
# With tiles of $m \times m$ outputs, each output needs $(m + 2)^2 / m^2$ products. Larger tiles need more points, and
# more points mean larger numbers in the matrices: 2, 4, 8 times a pixel, and their differences. Sums of large
# numbers that nearly cancel lose digits. We build the matrices for several $m$ and compare with the exact result:


# %%
def matrices(m, points):
    """Return A^T, G and B^T for m outputs, a kernel of 3, and m + 1 points (and infinity)."""
    at = np.array([[p**i for p in points] + [i == m - 1] for i in range(m)], float)
    g, bt = [], []
    for p in points:
        others = [q for q in points if q != p]
        g.append(np.array([1, p, p * p]) / np.prod([p - q for q in others]))
        bt.append([*np.poly(others)[::-1], 0])
    return at, np.array([*g, [0, 0, 1]]), np.array([*bt, np.poly(points)[::-1]])


simple = [0, 1, -1, 2, -2, 0.5, -0.5, 3, -3]
rng = np.random.default_rng(0)
sides, errors = [2, 3, 4, 5, 6, 8], []
for m in sides:
    at, gm, bt = matrices(m, simple[: m + 1])
    data, kernel = rng.standard_normal((200, m + 2, m + 2)), rng.standard_normal((200, 3, 3))
    wanted = np.einsum(
        "nijab,nab->nij",
        np.lib.stride_tricks.sliding_window_view(data, (3, 3), (1, 2)), kernel,
    )  # fmt: skip
    at, gm, bt, data, kernel = (each.astype(np.float32) for each in (at, gm, bt, data, kernel))
    got = at @ ((gm @ kernel @ gm.T) * (bt @ data @ bt.T)) @ at.T
    errors.append(float(np.sqrt(np.mean((got - wanted) ** 2) / np.mean(wanted**2))))
products = [(m + 2) ** 2 / m**2 for m in sides]

# %% tags=["hide-input"]
show(
    trade(sides, products, errors),
    "Left: products for each output, falling from 4 for tiles of 2 by 2 outputs to about one and a half for 8 by 8; most of the "
    "gain is made by 4 by 4. Right, on a logarithmic axis: the rounding error in float32, rising steeply with "
    "the size of the tile.",
)

# %% tags=["hide-input"]
Markdown(
    f"From 2×2 to 8×8 outputs the products fall from {products[0]:.3g} to {products[-1]:.3g} for each output, and the error grows "
    f"by a factor of some {10 ** round(np.log10(errors[-1] / errors[0])):,}. The library stops at 4×4. Its points are fractions such as "
    "3/2 and 2/3, which keep the numbers in the matrices small."
)

# %% [markdown]
# [Page 14](14_precision.md) is about such errors.
#
# ## What this settles about AlexNet
#
# How many products does a layer need for one picture, one by one and by tiles? conv1 has kernels of 11×11 that move
# by 4 pixels. Cut into blocks of 4×4 pixels, it is a convolution with 3×3 kernels that move by 1, on 48 channels.


# %%
def by_tiles(side, kernel, m=4):
    return (-(-side // m) * (m + kernel - 1)) ** 2


layers = {  # side of the output, filters, channels and kernel; the same in blocks or as it is
    "conv1": (55, 96, (3, 11), (48, 3)),
    "conv2": (27, 256, (48, 5), (48, 5)),
    "conv3": (13, 384, (256, 3), (256, 3)),
    "conv4": (13, 384, (192, 3), (192, 3)),
    "conv5": (13, 256, (192, 3), (192, 3)),
}
counted = {
    name: (side**2 * filters * c * k**2, by_tiles(side, tk) * filters * tc)
    for name, (side, filters, (c, k), (tc, tk)) in layers.items()
}

# %% tags=["hide-input"]
total = tuple(map(sum, zip(*counted.values(), strict=True)))
rows = [
    f"| {name} | {one / 1e6:.1f} | {other / 1e6:.1f} | {one / other:.2f} |"
    for name, (one, other) in {**counted, "together": total}.items()
]
kernels = sum(f * c * k**2 for _, f, (c, k), _ in layers.values()) / 1e6
linear = (9216 * 4096 + 4096 * 4096 + 4096 * 1000) / 1e6
Markdown(
    "| layer | million products, one by one | by tiles | ratio |\n|---|---:|---:|---:|\n"
    + "\n".join(rows)
    + "\n\n"
    f"- The promise is 144 / 36 = {144 / 36:g} for kernels of 3. conv3 to conv5 get {counted['conv3'][0] / counted['conv3'][1]:.2f}, because "
    "13 outputs need 4 tiles of 4: a third of the work hangs over the edge. conv2's kernels of 5 promise "
    f"{400 / 64:g} and get {counted['conv2'][0] / counted['conv2'][1]:.2f}.\n"
    f"- The three linear layers hold {linear / (linear + kernels):.0%} of AlexNet's weights, but have only {linear:.1f} million products, "
    f"{linear / (total[0] / 1e6 + linear):.0%} of all. For one picture they are slow for another reason: each weight is "
    "read from memory for a single product. In a batch it serves all pictures."
)

# %% [markdown]
# ## Exercises
#
# ```bash
# python -m minidl.course start exercises
# python -m minidl.course check exercises/13_speed.py
# ```
#
# 1. `winograd_tile`: two outputs out of four products.
# 2. `winograd_f23`: a picture in tiles of 2×2 outputs, ragged edges included.
# 3. `multiplications`: count them.
# 4. `gflops`: from measured times to a speed.

# %% tags=["hide-input"]
table("13_speed")
