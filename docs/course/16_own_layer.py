# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # A layer of your own
#
# A layer is two functions on arrays: a forward pass, and a backward pass that turns the gradient of its
# output into the gradients of its inputs. Writing them is the smaller half of the work. The larger half
# is to find out whether they are right, because a network with a wrong layer often learns all the same.
#
# This page builds a pooling layer that the library does not have, *generalized mean* pooling (GeM). Over
# the $n$ pixels of a channel, with a number $p$ that the network learns,
#
# $$ y = \left( \frac{1}{n} \sum_i x_i^p \right)^{1/p} $$
#
# For $p = 1$ this is the average, and for large $p$ nearly the maximum. The inputs must be positive.
#
# ## The gradient
#
# Derive it before you write code. Let $m = y^p$ be the mean of the powers. The input $x_i$ enters through
# one term of $m$:
#
# $$ \frac{\partial y}{\partial x_i} = \frac{1}{p} \, m^{1/p - 1} \cdot \frac{p \, x_i^{p-1}}{n} = \frac{1}{n} \left( \frac{x_i}{y} \right)^{p-1} $$
#
# The number $p$ enters twice, in each power and in the root. From $\ln y = \frac{1}{p} \ln m$,
#
# $$ \frac{\partial y}{\partial p} = \frac{y}{p} \left( \frac{\text{mean}(x^p \ln x)}{m} - \ln y \right) $$
#
# ## Forward and backward
#
# A `Function` gets arrays, not tensors. `forward` keeps in `ctx` what the gradient needs. `backward`
# returns one gradient for each argument of `forward`, in the same order.

# %%
import numpy as np

import minidl
from minidl import nn
from minidl.autograd import Function
from minidl.course import Markdown, source, table
from minidl.course.figures.common import show
from minidl.course.figures.own_layer import learning, parameters, shares
from minidl.errors import AutogradError, GradcheckError
from minidl.nn import functional as F


class GeM(Function):
    """The generalized mean of each channel."""

    @staticmethod
    def forward(ctx, x, p):  # (N, C, H, W) and (1,)
        y = (x**p).mean(axis=(2, 3), keepdims=True) ** (1 / p)  # (N, C, 1, 1)
        ctx.save_for_backward(x, p, y)
        return y

    @staticmethod
    def backward(ctx, grad):
        x, p, y = ctx.saved_tensors
        n = x.shape[2] * x.shape[3]
        dx = grad * (x / y) ** (p - 1) / n  # (N, C, H, W)
        mean_log = (x**p * np.log(x)).mean(axis=(2, 3), keepdims=True)  # (N, C, 1, 1)
        dp = grad * y / p * (mean_log / y**p - np.log(y))
        return dx, dp.sum().reshape(1)


minidl.manual_seed(16)
window = minidl.rand(1, 1, 4, 4, dtype=minidl.float64) + 0.3
found = {}
for power in 1.0, 3.0, 12.0:
    t = minidl.tensor(window.numpy(), requires_grad=True)
    GeM.apply(t, minidl.tensor([power], dtype=minidl.float64)).sum().backward()
    found[f"p = {power:g}"] = t.grad.numpy()[0, 0]

# %% tags=["hide-input"]
show(
    shares(window.numpy()[0, 0], found),
    "Four grids of 4 by 4. First a window of numbers. Then the gradient that each pixel gets: for p = 1 the "
    "same in all 16, for p = 3 more where the number is larger, for p = 12 nearly all of it in the pixels "
    f"with the largest numbers, up to {found['p = 12'].max():.2f}.",
)

# %% [markdown]
# The gradient that arrives is 1. For $p = 1$ each pixel gets a sixteenth of it, as in average pooling.
# As $p$ grows, the gradient gathers at the largest numbers, as in max-pooling
# ([page 8](08_pooling.md)). Training decides where the layer stands between the two.
#
# ## How the library's layers look
#
# They have the same two functions, and one line more. Here is tanh, whole, from
# [`minidl/nn/activation.py`](../../minidl/nn/activation.py):

# %% tags=["hide-input"]
from minidl.nn import activation

source(activation.TanhFunction)

# %% tags=["hide-input"]
source(activation.tanh_forward)

# %% tags=["hide-input"]
source(activation.tanh_backward)

# %% [markdown]
# `kernels.of` looks for a fast version of the layer for this kind of array. Where there is none, the
# plain code runs. Your own layer has no kernel, and needs none. Both ways must agree:

# %%
x = minidl.randn(3, 5, dtype=minidl.float64, requires_grad=True)
gradients = []
for mode in "kernel", "plain code":
    x.grad = None
    if mode == "plain code":
        with minidl.reference():
            y = x.tanh()
            y.sum().backward()
    else:
        y = x.tanh()
        y.sum().backward()
    gradients.append((y.detach().numpy(), x.grad.numpy()))
print("same output:  ", np.allclose(gradients[0][0], gradients[1][0], rtol=1e-12))
print("same gradient:", np.allclose(gradients[0][1], gradients[1][1], rtol=1e-12))

# %% [markdown]
# ## The checklist
#
# 1. **Another way to compute the forward pass.** Loops, a formula written differently, another library.
#    It may be slow, but it must share nothing with your code.
# 2. **gradcheck** ([page 1](01_gradcheck.md)), in float64, with inputs that need all of the code: several
#    samples and channels, sides that differ, no special values.
# 3. **Twenty pictures.** A network with the layer must be able to learn twenty pictures by heart, even
#    when they are noise with labels drawn at random.
# 4. **Numbers of any size.** Zeros, huge and tiny numbers.
#
# Some mistakes need no check, because the tape notices them:


# %%
class Forgetful(GeM):
    """Returns the gradient of x, and forgets p."""

    @staticmethod
    def backward(ctx, grad):
        return GeM.backward(ctx, grad)[0]


x = (minidl.rand(2, 3, 4, 5, dtype=minidl.float64) + 0.3).requires_grad_()
p = minidl.tensor([3.0], dtype=minidl.float64, requires_grad=True)
try:
    Forgetful.apply(x, p).sum().backward()
except AutogradError as error:
    print(error)

# %% [markdown]
# ## The experiment: one right layer, four wrong ones
#
# Each of the following classes differs from the right one in a single thing:


# %%
class NotDivided(GeM):
    """The gradient of x lacks 1/n."""

    @staticmethod
    def backward(ctx, grad):
        dx, dp = GeM.backward(ctx, grad)
        return dx * ctx.saved_tensors[0][0, 0].size, dp


class NeverLearnsP(GeM):
    """The gradient of p is 0."""

    @staticmethod
    def backward(ctx, grad):
        dx, dp = GeM.backward(ctx, grad)
        return dx, 0 * dp


class SumForMean(GeM):
    """Adds instead of averaging; its gradients are those of what it computes."""

    @staticmethod
    def forward(ctx, x, p):
        y = GeM.forward(ctx, x, p)
        ctx.factor, ctx.n = x[0, 0].size ** (1 / p), x[0, 0].size
        return ctx.factor * y

    @staticmethod
    def backward(ctx, grad):
        (dx, dp), (_, p, y) = GeM.backward(ctx, grad * ctx.factor), ctx.saved_tensors
        return dx, dp - (grad * y * ctx.factor).sum() * np.log(ctx.n) / p**2


class IgnoresTheGradient(GeM):
    """The chain rule's factor is missing."""

    @staticmethod
    def backward(ctx, grad):
        return GeM.backward(ctx, np.ones_like(grad))


# %% [markdown]
# First the twenty pictures. The network is a convolution, a ReLU, the layer, and a linear layer:


# %%
class Pool(nn.Module):
    """GeM with its p, for inputs that may be 0."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.p = nn.Parameter(minidl.tensor([3.0]))

    def forward(self, x):
        return self.function.apply(x.clamp(min=1e-3), self.p).flatten(1)


def learn(function, steps=70):
    """Return the losses while a small network learns 20 pictures of noise."""
    minidl.manual_seed(1)
    pictures, labels = minidl.randn(20, 1, 7, 7, dtype=minidl.float64), minidl.arange(20) % 4
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), Pool(function), nn.Linear(8, 4)).double()
    optimizer = minidl.optim.Adam(net.parameters(), lr=0.05)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(pictures), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


versions = {
    "right": GeM,
    "1/n forgotten": NotDivided,
    "p never learns": NeverLearnsP,
    "sum for mean": SumForMean,
    "gradient ignored": IgnoresTheGradient,
}
curves = {name: learn(function) for name, function in versions.items()}

# %% tags=["hide-input"]
show(
    learning(curves),
    "The loss of five networks over 70 steps. Four of them fall to nearly 0: the right one, the one that "
    "forgot 1/n, which lies on it, the one that never learns p, and the one that adds instead of "
    "averaging. Only the network that ignores the incoming gradient stays where it began.",
)

# %% [markdown]
# **The trap.** Three of the four wrong layers learn. One of them even lies on the right curve: Adam
# divides each gradient by its usual size, and with it a constant factor. A falling loss says that a
# network works *somehow*. It never says that a layer is right.
#
# Now the other checks, on the same classes. The other way to compute the forward pass is a loop:


# %%
def loops(x, p):
    """Return the generalized mean by its definition."""
    y = np.zeros((*x.shape[:2], 1, 1))
    for sample, channel in np.ndindex(*x.shape[:2]):
        numbers = [float(number) ** p for number in x[sample, channel].ravel()]
        y[sample, channel] = (sum(numbers) / len(numbers)) ** (1 / p)
    return y


def passes_gradcheck(function):
    """Return whether the gradients belong to what the forward pass computes."""
    try:
        return minidl.gradcheck(function.apply, (x, p))
    except GradcheckError:
        return False


expected = loops(x.detach().numpy(), p.item())
lines = ["| layer | forward pass | gradcheck | 20 pictures |", "|---|:---:|:---:|:---:|"]
for name, function in versions.items():
    same = np.allclose(function.apply(x, p).detach().numpy(), expected)
    marks = ["passes" if each else "**found**"
             for each in (same, passes_gradcheck(function), curves[name][-1] < 0.2)]  # fmt: skip
    lines.append(f"| {name} | " + " | ".join(marks) + " |")
Markdown("\n".join(lines))

# %% [markdown]
# No column finds everything. gradcheck compares the backward pass with *your* forward pass: if that
# computes the wrong thing, and the gradient is the gradient of the wrong thing, gradcheck has no
# complaint. So the first check comes first. What gradcheck does find, it locates:

# %%
try:
    minidl.gradcheck(NotDivided.apply, (x, p))
except GradcheckError as error:
    print(error)

# %% [markdown]
# ## Numbers of any size
#
# A formula that is right on paper can fail in floats. For large $p$ the powers overflow or vanish,
# although the mean itself is an ordinary number:

# %%
numbers = np.array([1.0, 20.0, 30.0])
for power in 3.0, 300.0:
    with np.errstate(over="ignore"):
        as_written = (numbers**power).mean() ** (1 / power)
    largest = numbers.max()
    scaled = largest * ((numbers / largest) ** power).mean() ** (1 / power)
    print(f"p = {power:g}: as written {as_written:.6f}, largest number taken out {scaled:.6f}")

# %% [markdown]
# The way out is always the same: take the largest part out before the dangerous operation, and put it back
# afterwards. Then what is given to a power or to `exp` is at most 1 or at most 0, and nothing overflows.
# That also holds for the first exercise, $\text{softplus}(x) = \ln(1 + e^x)$, a smooth ReLU. There the
# danger has a second face. In floats 1 plus a tiny number is 1, and the answer is lost:

# %%
tiny = 1e-20
print("log(1 + t):", np.log(1 + tiny), "  log1p(t):", np.log1p(tiny))

# %% [markdown]
# ## What this settles about AlexNet
#
# A layer has one more number that can be checked without any training: how many parameters it has. The
# paper says "60 million". Here they are:

# %%
from minidl.vision.models.rows import parameter_shapes
from minidl.vision.models.variants import plan


def count(plan):
    """Return the number of parameters of each layer of a network."""
    counts = {}
    for name, shape in parameter_shapes(plan).items():
        layer = name.partition(".")[0]
        counts[layer] = counts.get(layer, 0) + int(np.prod(shape))
    return counts


counts = count(plan("paper"))

# %% tags=["hide-input"]
dense = sum(number for name, number in counts.items() if name.startswith("fc"))
show(
    parameters(counts),
    f"Bars of the parameters in AlexNet's eight layers. The five convolutions have hardly visible bars, "
    f"together {sum(counts.values()) - dense:,}. The three dense layers have {dense:,}, most of them fc6 "
    f"with {counts['fc6']:,}.",
)

# %% tags=["hide-input"]
total, whole = sum(counts.values()), sum(count(plan("paper", groups=1)).values())
Markdown(
    f"Together {total:,}: {dense / total:.0%} of them are in the three dense layers, and "
    f"{counts['fc6'] / total:.0%} in fc6 alone, which sees all {256 * 6 * 6:,} numbers of the last pooling. "
    f"Without the two groups of conv2, conv4 and conv5 it would be {whole:,}. Both numbers are called "
    '"AlexNet\'s" in the literature; the first is the network of the paper.'
)

# %% [markdown]
# - A convolution with $g$ groups has filters that see only $1/g$ of the input's channels. Each filter has
#   one bias. That is all it takes to count them, and a network whose count is off has a layer that is off.
# - The dense layers hold nearly all the parameters, and so dropout is there ([page 10](10_dropout.md)).
#
# ## Exercises
#
# ```bash
# python -m minidl.course check exercises/16_own_layer.py
# ```
#
# 1. `softplus`: the forward pass, for numbers of any size.
# 2. `softplus_backward`: its gradient. Derive it first, and look where it may overflow.
# 3. `conv_parameters`: how many numbers a convolution learns.
#
# And one without a judge: give the library a layer with its tests, as
# [Writing a layer](../write-a-layer.md) shows.

# %% tags=["hide-input"]
table("16_own_layer")
