# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Pictures, randomness, and the GPU's view
#
# Two things surround the layers. Before them, pictures are cut, mirrored and colored at random. Below
# them, a GPU runs thousands of threads in an order that nobody knows. Both have the same difficulty:
# a mistake changes the results a little, and never raises an error.
#
# ## How many places does a crop have?
#
# AlexNet's pictures have 256×256 pixels, and training sees a random square of 224×224. Along one axis,
# a window of $k$ in a line of $n$ can start at $0, 1, \dots, n - k$: these are $n - k + 1$ places. Here
# are 1600 crops of 5×5 from a picture of 8×8:

# %%
import numpy as np

import minidl
from minidl.course import Markdown, source, table
from minidl.course.figures.common import show
from minidl.course.figures.data_and_gpu import colors, coverage, scatter_and_gather
from minidl.nn import avg_pool
from minidl.nn import functional as F
from minidl.vision.transforms import RandomCrop
from minidl.vision.transforms.color import IMAGENET_EIGENVALUES, IMAGENET_EIGENVECTORS

picture = minidl.arange(64.0).reshape(1, 8, 8)  # each pixel says where it is
minidl.manual_seed(15)
right, wrong = np.zeros((4, 4)), np.zeros((4, 4))
crop, rng = RandomCrop(5), np.random.default_rng(15)
for _ in range(1600):
    corner = int(crop(picture)[0, 0, 0].item())
    right[divmod(corner, 8)] += 1
    wrong[rng.integers(8 - 5), rng.integers(8 - 5)] += 1  # one place too few

# %% tags=["hide-input"]
show(
    coverage({"the library": right, "integers(n - k)": wrong}),
    "How often a crop began at each of 4 by 4 places. In the library all 16 places occur about 100 times "
    f"each. With integers(n - k) the last row and the last column are never drawn: {int((wrong == 0).sum())} "
    "framed zeros.",
)

# %% tags=["hide-input"]
places = 256 - 224 + 1
Markdown(
    "`rng.integers(n)` never returns `n`. With the mistake, the lowest row and the rightmost column of "
    "*every* picture are never seen in training. No test of shapes notices it. "
    f"For 224 of 256 there are {places} places an axis, so {places}² · 2 = {2 * places**2} different crops "
    "with their mirror images. The paper says that the crops increase the training set "
    f'"by a factor of 2048", which is {places - 1}² · 2: one place too few.'
)

# %% [markdown]
# ## Who draws the random numbers?
#
# Pictures are prepared by several processes at once. Each gets a copy of the program's memory, with the
# random generator in it:

# %%
program = np.random.RandomState(0)
for worker in range(3):
    copied = np.random.RandomState()
    copied.set_state(program.get_state())  # what starting a process by a copy does
    print(f"worker {worker} crops at", copied.randint(33, size=6).tolist())

# %% [markdown]
# All workers draw the same numbers. The augmentation is several times weaker than it looks, and each
# single crop is fine. This has happened to many
# ([pytorch/pytorch#5059](https://github.com/pytorch/pytorch/issues/5059)). A different seed for each
# worker helps, but then the results depend on the number of workers.
#
# The library's answer is that a random choice belongs to a *picture*, not to a process. It is a function of
# the seed, the purpose, the epoch and the picture's place in that epoch:

# %%
from minidl import random

for worker, places in enumerate(([0, 1], [2, 3], [4, 5])):
    drawn = [random.stream(0, "sample", 1, place).integers(33, size=2).tolist() for place in places]
    print(f"worker {worker}, pictures {places}: crops at {drawn}")

# %% tags=["hide-input"]
source(random.stream)

# %% [markdown]
# Whoever prepares picture 3 of epoch 1 draws the same numbers for it: with one worker, with eight, or after
# a restart in the middle of the epoch.
#
# ## Colors
#
# AlexNet also changes the colors. The covariance of red, green and blue over all pixels of ImageNet has
# three eigenvectors $p_i$ with eigenvalues $\lambda_i$. To every pixel of a picture the same shift is added,
#
# $$ \sum_i \alpha_i \, \lambda_i \, p_i, \qquad \alpha_i \sim N(0, \sigma^2) $$
#
# with $\sigma$ a tenth. Here is a gray that is shifted along each component, as the formula says, and then
# along the same directions with equal lengths:

# %%
values, vectors = np.array(IMAGENET_EIGENVALUES), np.array(IMAGENET_EIGENVECTORS)
steps = np.linspace(-3, 3, 25)  # in standard deviations
sigma = 0.1
rows = {}
for i, name in enumerate(("1st", "2nd", "3rd")):
    rows[f"{name}, ±3 σ"] = 0.5 + np.outer(steps * sigma * values[i], vectors[:, i])
for i, name in enumerate(("1st", "2nd", "3rd")):
    rows[f"{name}, enlarged"] = 0.5 + np.outer(steps / 12, vectors[:, i])

# %% tags=["hide-input"]
show(
    colors(rows),
    "Six strips of color from minus 3 to plus 3 standard deviations around a gray. By the formula only the "
    "first changes visibly, a little in brightness; the second and third look uniform. Drawn with equal "
    "lengths, the first goes from light to dark, the second from blue to orange, the third from green to "
    "violet.",
)

# %% tags=["hide-input"]
gray = 255 * sigma * values[0] * np.abs(vectors[:, 0]).max()
root = 255 * sigma * np.sqrt(values[0]) * np.abs(vectors[:, 0]).max()
Markdown(
    f"One standard deviation along the first component is {gray:.1f} of 255 gray levels; along the third it "
    f"is {255 * sigma * values[2] * np.abs(vectors[:, 2]).max():.1f}. So the jitter changes little but the "
    "brightness. An eigenvalue of a covariance is a *variance*; its root would be the natural length of a "
    f'shift, and gives {root:.0f} gray levels. `PCAJitter` has both: `mode="paper01"` is the '
    'printed formula, `mode="original"` takes the root, as the authors\' program does.'
)

# %% [markdown]
# Two mistakes are easy here. The eigenvectors are the *columns* of the matrix. And the shift has to be added
# to channels: in an array $(3, H, W)$, adding an array of shape $(3,)$ lines it up with the *last* axis. NumPy
# complains, unless the picture happens to be three pixels wide.
#
# ## The GPU's view
#
# Now the other end. The gradient of average pooling hands each window's gradient to the window's pixels.
# This is how the library's plain code says it:

# %% tags=["hide-input"]
source(avg_pool.backward)

# %% [markdown]
# `col2im` adds where windows overlap. On a GPU thousands of threads work at once, and the obvious division
# of labor is a thread for each window:

# %% tags=["hide-input"]
show(
    scatter_and_gather(7, 3, 2, 2),
    "Twice the same three windows above seven pixels, with windows 3 wide and 2 apart. Left, scatter: arrows "
    "from the windows down to the pixels; two red arrows meet in pixel 2, where two threads write. Right, "
    "gather: arrows go up from the pixels; pixel 2 reads both of its windows, and one thread writes once.",
)

# %% [markdown]
# Left, two threads add to the same number. Adding is reading, adding and writing back. If both read before
# either writes, one gradient is lost. NumPy has the same hazard in one line, because `dx[i] += g` reads all
# places before it writes any:

# %%
dy = np.array([1.0, 1.0, 1.0])
windows = np.arange(3)[:, None] * 2 + np.arange(3)  # the pixels of each window
race, added = np.zeros(7), np.zeros(7)
race[windows] += dy[:, None]  # all read, then all write
np.add.at(added, windows, dy[:, None])  # one after the other
print("race: ", race)
print("right:", added)

# %% [markdown]
# GPUs have *atomic* additions, which nothing interrupts. They cure the race, but not the order: floats that
# are added in another order give other bits ([page 14](14_precision.md)). Turn the work around. Give each
# **pixel** a thread, and let it collect from the windows that contain it. Then nothing is written twice,
# and every sum has a fixed order. The whole question is which windows those are: the third exercise. Here is
# how the library's CUDA code answers it for max-pooling, beside the same loop in Python for the average:

# %% tags=["hide-input"]
from pathlib import Path

code = (Path(minidl.__file__).parent / "kernels" / "cuda" / "max_pool.cu").read_text()
kernel = code[code.index('extern "C" __global__ void max_backward') :].rstrip()
Markdown(f"```cpp\n{kernel}\n```")


# %%
def gathered(dy, size, kernel, stride, order):
    """Return average pooling's gradient along one axis, a pixel at a time, in any order."""
    dx = np.zeros(size, dy.dtype)
    for pixel in order:
        for window, gradient in enumerate(dy):
            if stride * window <= pixel < stride * window + kernel:
                dx[pixel] += gradient / dy.dtype.type(kernel)
    return dx


def scattered(dy, size, kernel, stride, order):
    """Return the same, a window at a time: each adds to its pixels."""
    dx = np.zeros(size, dy.dtype)
    for window in order:
        dx[stride * window : stride * window + kernel] += dy[window] / dy.dtype.type(kernel)
    return dx


# %% [markdown]
# ## The experiment: threads in any order
#
# Let the threads run in 50 random orders, in float32, with windows of 8 that lie 1 apart:

# %%
size, width = 40, 8
dy = rng.standard_normal(size - width + 1).astype(np.float32)
bits = {"scatter": set(), "gather": set()}
for _ in range(50):
    threads = rng.permutation(len(dy))
    bits["scatter"].add(scattered(dy, size, width, 1, threads).tobytes())
    bits["gather"].add(gathered(dy, size, width, 1, rng.permutation(size)).tobytes())
for name, found in bits.items():
    print(f"{name}: {'always the same bits' if len(found) == 1 else 'many different results'}")

# %% [markdown]
# Both are right to float32's precision. Only one can be repeated. And both agree with the library, its
# kernel and its plain code:


# %%
def library():
    """Return the library's gradient."""
    x = minidl.zeros(1, 1, 1, size, requires_grad=True)
    F.avg_pool2d(x, (1, width), stride=1).backward(minidl.tensor(dy.reshape(1, 1, 1, -1)))
    return x.grad.numpy().ravel()


fast = library()
with minidl.reference():
    plain = library()
mine = gathered(dy, size, width, 1, range(size))
print("kernel, plain code and gather agree:",
      np.allclose(fast, plain, atol=1e-6) and np.allclose(mine, plain, atol=1e-6))  # fmt: skip

# %% [markdown]
# **The trap.** Windows side by side, as in 2×2 pooling at stride 2, have no pixel in common. There a race
# loses nothing, any order gives the same bits, and "which windows contain this pixel?" has the answer
# "pixel / stride" for everyone. The second trap is the test itself: a simulator, or a debugger, that runs the
# threads from first to last never shows a race. The library's own simulator runs them forward, backward and
# shuffled.
#
# ## What this settles about AlexNet
#
# - 256 to 224 leaves 33 places an axis, and twice their square in crops, not the 2048 of the paper. Where the
#   crop is 227, as in Caffe, there are 30.
# - The ten crops of testing are the four corners and the center, and their mirror images. Three of these
#   corners are places that the wrong crop never draws.
# - A whole training run can be repeated bit for bit, because no sum of a gradient depends on the order of
#   threads.
#
# ## Exercises
#
# ```bash
# python -m minidl.course check exercises/15_data_and_gpu.py
# ```
#
# 1. `random_crop`: every place that there is, with equal probability.
# 2. `pca_jitter`: the shift of the paper, for a whole picture.
# 3. `readers`: which windows contain a position. Draw the axis; mind both ends.

# %% tags=["hide-input"]
table("15_data_and_gpu")
