# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Max-pooling: where does a gradient go?
#
# A max-pooling layer keeps the largest number of each window and forgets the rest. Its backward pass
# therefore answers one question: *which input does this output come from?* The gradient goes there,
# and nowhere else:
#
# $$ \frac{\partial L}{\partial x_i} = \sum_{w\,:\,\text{first max}(w) = i} \frac{\partial L}{\partial y_w} $$
#
# The sum is the point of this page. AlexNet's windows are 3×3 and lie 2 apart, so neighbors overlap:
# one pixel can win several windows, and then it collects the gradients of all of them.

# %%
import numpy as np

import minidl
from minidl.course import Markdown, agree, explorable, source, table
from minidl.course.figures.common import show
from minidl.course.figures.pooling import routes
from minidl.nn import functional as F
from minidl.nn import max_pool

minidl.manual_seed(6)
x = minidl.randn(1, 1, 7, 7, dtype=minidl.float64, requires_grad=True)
y, places = F.max_pool2d(x, kernel_size=3, stride=2, return_indices=True)
y.backward(minidl.ones_like(y))
wins = x.grad.numpy()[0, 0]

# %% tags=["hide-input"]
shared = int((wins > 1).sum())
drawing = show(
    routes(x.detach().numpy()[0, 0], places.numpy()[0, 0], wins),
    f"Left: a grid of 7 by 7 numbers with nine arrows, one from the middle of each 3 by 3 window to its "
    f"largest number. Right: the {int((wins > 0).sum())} pixels that won, with the number of windows "
    f"that each of them won; the largest is {int(wins.max())}.",
)
drawing

# %% tags=["hide-input"]
Markdown(
    f"Nine windows, but only {int((wins > 0).sum())} winners: {shared} of them won more than one window, "
    f"the busiest {int(wins.max())}. The incoming gradient is 1 everywhere here, so the numbers on the "
    f"right are the gradient itself. They add up to {int(wins.sum())}, the number of windows: pooling "
    "loses no gradient, it only moves it."
)

# %% [markdown]
# Move the windows, and press a pixel to make it larger:

# %% tags=["hide-input"]
explorable("pool_routes", drawing, x=x.detach().numpy()[0, 0].round(1).tolist(), kernel=3, stride=2)

# %% [markdown]
# ## The code
#
# This is the library's own code, from [`minidl/nn/max_pool.py`](../../minidl/nn/max_pool.py). `im2col`
# lays each window out as a column ([page 6](06_im2col.md)); the rest is a maximum along the columns.

# %% tags=["hide-input"]
source(max_pool.forward)

# %% [markdown]
# The forward pass returns not only the maximum but also its *place*: the backward pass needs nothing
# else. It writes each gradient into an empty column, at the place of the winner. `col2im` puts the
# columns back into the picture and **adds** where they overlap.

# %% tags=["hide-input"]
source(max_pool.backward)

# %% [markdown]
# Normally a faster kernel runs instead. `minidl.reference()` makes the code above run, and both must
# agree:

# %%
fast = F.max_pool2d(x, 3, 2)
with minidl.reference():
    plain = F.max_pool2d(x, 3, 2)
print("same output:", np.array_equal(fast.detach().numpy(), plain.detach().numpy()))

# %% [markdown]
# A layer has settings, and a kernel has a way of its own through each of them. `agree` runs both, forward and backward,
# and raises an error unless they give the same numbers. Then it asks gradcheck.

# %%
numbers = np.random.default_rng(0).standard_normal((2, 2, 7, 9))
pools = (
    lambda x: F.max_pool2d(x, 3, 2, padding=1),
    lambda x: F.max_pool2d(x, 2, 3, padding=1, ceil_mode=True),
    lambda x: F.max_pool2d(x, 3, 1, dilation=2),
    lambda x: F.avg_pool2d(x, 2, 2, ceil_mode=True),
    lambda x: F.avg_pool2d(x, 3, 2, padding=1, count_include_pad=False),
    lambda x: F.adaptive_avg_pool2d(x, (3, 4)),
)
print("settings in which all agree:", sum(agree(pool, numbers) for pool in pools))
numbers[0, :, :2, :2] = -np.inf  # with the padding a whole window, and its neighbors in part
numbers[1, 0, 3, 3] = numbers[1, 0, 4, 4] = np.nan
print("without numbers, too:", all(agree(pool, numbers, differences=False) for pool in pools[:2]))

# %% [markdown]
# ## The experiment: a wrong backward that passes
#
# Suppose that we write the gradient into the winner's place instead of adding it:

# %%
from minidl.autograd import Function
from minidl.errors import GradcheckError


class Overwriting(Function):
    """Max-pooling of one picture (H, W), with a mistake in its backward."""

    @staticmethod
    def forward(ctx, x, kernel, stride):
        views = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel))[::stride, ::stride]
        flat = views.reshape(*views.shape[:2], -1)  # (OH, OW, kernel²)
        i, j = np.indices(flat.shape[:2]) * stride
        row, column = np.divmod(flat.argmax(-1), kernel)
        ctx.winners, ctx.shape = (i + row, j + column), x.shape
        return flat.max(-1)

    @staticmethod
    def backward(ctx, grad):
        dx = np.zeros(ctx.shape)
        dx[ctx.winners] += grad  # looks like adding, but NumPy adds once per place
        return dx, None, None


picture = minidl.randn(8, 8, dtype=minidl.float64, requires_grad=True)
for kernel, stride in (2, 2), (3, 2):
    try:
        minidl.gradcheck(lambda x: Overwriting.apply(x, kernel, stride), (picture,))
        print(f"{kernel}×{kernel} windows, {stride} apart: gradcheck is satisfied")
    except GradcheckError as error:
        print(f"{kernel}×{kernel} windows, {stride} apart: {str(error).splitlines()[0]}")

# %% [markdown]
# **The trap.** A test with windows side by side can't see this mistake: there no pixel is in two windows.
# A well-known course tests its pooling layer exactly so, and the mistake has been in a published
# library ([FluxML/NNlib.jl#205](https://github.com/FluxML/NNlib.jl/issues/205)). Test a layer with the
# shapes that need all of its code.
#
# The second trap is a tie. After a ReLU, whole windows are 0: every pixel of such a window is "the
# largest". The library sends the gradient to the first of them. If all of them got it, the network
# would receive up to nine times the gradient that it should.
#
# ## What this settles about AlexNet
#
# - Overlapping windows (3×3, 2 apart) turn 55 pixels into 27, then 13, then 6: each size is
#   (size - 3) / 2 + 1, rounded down. The paper reports that they lower the top-1 error
#   by [four tenths of a percent](https://papers.nips.cc/paper/4824) against windows side by side.
# - It is often said that max-pooling is better than average pooling because its gradients are larger.
#   Its gradients are *fewer*, not larger in sum: in both cases a window passes on exactly what it got.

# %%
moved = {}
for name, pool in (("max", F.max_pool2d), ("average", F.avg_pool2d)):
    t = minidl.tensor(x.detach().numpy(), requires_grad=True)
    out = pool(t, 3, 2)
    out.backward(minidl.ones_like(out))
    moved[name] = t.grad.numpy()
for name, gradient in moved.items():
    print(f"{name:8} sum {gradient.sum():.0f}, pixels with a gradient {np.count_nonzero(gradient)}")

# %% [markdown]
# ## Exercises
#
# ```bash
# python -m minidl.course start exercises           # writes exercises/08_pooling.py and others
# python -m minidl.course check exercises/08_pooling.py
# ```
#
# 1. `maxpool`: the forward pass. Loops are fine.
# 2. `maxpool_backward`: the gradient, for overlapping windows, with ties.
# 3. `avgpool_backward`: the same for the mean.
#
# The judge tries each function on several inputs, its *probes*. Here is which probe finds which
# mistake; a column that finds little is a test that would have let you through.

# %% tags=["hide-input"]
table("08_pooling")
