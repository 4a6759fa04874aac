# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # ReLU, tanh and the slope
#
# Without something bent between them, two linear layers are one linear layer. The activation is that bend: a
# function of one number, applied to each number by itself. So its backward is one product per number. What
# comes in is multiplied by the slope at the place where the forward pass was:
#
# $$ y = f(x) \qquad \frac{\partial L}{\partial x} = \frac{\partial L}{\partial y} \cdot f'(x) $$
#
# The slope is a gate. At a slope of 1 the gradient passes, at 0 it is lost, and whatever lies before it learns nothing
# from this sample.

# %%
import numpy as np

import minidl
from minidl import nn, optim
from minidl.autograd import Function
from minidl.course import Markdown, source, table
from minidl.course.figures.activations import passing, slopes, training
from minidl.course.figures.common import show
from minidl.errors import GradcheckError
from minidl.nn import activation as page
from minidl.nn import functional as F

functions = {"ReLU": F.relu, "tanh": minidl.tanh, "sigmoid": minidl.sigmoid}


def both(function, numbers):
    """Return the values and the slopes of a function."""
    x = minidl.tensor(numbers, requires_grad=True)
    y = function(x)
    y.backward(minidl.ones_like(y))
    return y.detach().numpy(), x.grad.numpy()


line = np.linspace(-4, 4, 401)
found = {name: both(function, line) for name, function in functions.items()}

# %% tags=["hide-input"]
show(
    slopes(line, found),
    "Three functions from -4 to 4, and their slopes below. ReLU: 0, then a straight rise; its slope jumps from 0 to 1. tanh: "
    "from -1 to 1; its slope is 1 in the middle and nearly 0 beyond 3. Sigmoid: from 0 to 1; its slope is "
    f"at most {found['sigmoid'][1].max():.2f}.",
)

# %% [markdown]
# The slope of ReLU is 1 for all positive inputs, however large, and 0 for all negative ones. That of tanh is near 1 only
# in the middle: a unit with a large input of either sign is *saturated*. That of the sigmoid is a quarter at
# best.
#
# How much of a gradient comes through depends on the inputs. Take normal inputs of several sizes; the mean of the squared
# slope is the share of the gradient's variance that passes (if the gradient does not depend on the input):

# %%
normal = np.random.default_rng(0).standard_normal(20_000)
sizes = np.geomspace(0.1, 10, 30)
shares = {
    name: np.array([(both(function, size * normal)[1] ** 2).mean() for size in sizes])
    for name, function in functions.items()
}

# %% tags=["hide-input"]
show(
    passing(sizes, shares),
    "The share of the gradient's variance that passes, against the standard deviation of the inputs from one tenth to 10. "
    "ReLU: one half everywhere. tanh: nearly 1 for small inputs, falling steadily to nearly 0. "
    "Sigmoid: below one tenth everywhere.",
)

# %% tags=["hide-input"]
at_2 = {name: np.interp(2, sizes, share) for name, share in shares.items()}
Markdown(
    "ReLU lets one half through whatever the size, since half of the inputs are positive. tanh is better as long as its inputs are "
    f"small; at a standard deviation of 2 it is down to {at_2['tanh']:.2f}. Behind eight layers of such units "
    f"the shares are {at_2['ReLU'] ** 8:.0e}, {at_2['tanh'] ** 8:.0e} and {at_2['sigmoid'] ** 8:.0e}. The "
    "weights must make up for it. For ReLU that takes a constant factor of 2 in their variance, which is "
    "He's initialization (page 11); for the others no constant fits, as training changes the inputs."
)

# %% [markdown]
# ## The code
#
# From [`minidl/nn/activation.py`](../../minidl/nn/activation.py).

# %% tags=["hide-input"]
source(page.relu_forward)

# %% tags=["hide-input"]
source(page.relu_backward)

# %% tags=["hide-input"]
source(page.tanh_backward)

# %% tags=["hide-input"]
source(page.sigmoid_backward)

# %% [markdown]
# All three need the *output* alone. $\tanh' x = 1 - \tanh^2 x$ is $1 - y^2$, the sigmoid's slope is $y\,(1 - y)$, and
# ReLU's input is positive exactly where its output is. So the input need not be kept: ReLU may overwrite it
# (`inplace=True`), and the memory of one array per layer is saved.
#
# Kernels and plain code agree:

# %%
minidl.manual_seed(0)
x = minidl.randn(1000, dtype=minidl.float64, requires_grad=True)
dy = minidl.randn(1000, dtype=minidl.float64)
for name, function in functions.items():
    fast = function(x)
    (fast_dx,) = minidl.autograd.grad(fast, [x], dy)
    with minidl.reference():
        plain = function(x)
        (plain_dx,) = minidl.autograd.grad(plain, [x], dy)
    pairs = (fast.detach(), plain.detach()), (fast_dx, plain_dx)
    print(name, *(np.allclose(a.numpy(), b.numpy(), rtol=1e-12, atol=1e-15) for a, b in pairs))

# %% [markdown]
# ## The experiment: three activations, three rates
#
# Three spirals, wound into each other, in the plane: which one is a point on? A network of three hidden layers, each of 64
# units, learns it with one of the activations. Beside it, ReLU with three learning rates; every ten steps we
# count the units that are 0 for *all* 2000 points. The weights of such a unit get no gradient: it is *dead*, and
# only the layers before it can revive it, if they change its inputs.


# %%
def spirals(count):
    rng = np.random.default_rng(0)
    arm, r = rng.integers(3, size=count), rng.uniform(0.1, 1, count)
    angle = 2 * np.pi * arm / 3 + 4.5 * r + rng.normal(0, 0.15, count)
    points = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)
    return minidl.tensor(points), minidl.tensor(arm)


def learn(activation, rate, steps=240):
    """Return the error at each step (mean of 20), and the share of dead units at each tenth."""
    minidl.manual_seed(0)
    widths = [2, 64, 64, 64]
    hidden = [
        layer for i in range(3) for layer in (nn.Linear(widths[i], widths[i + 1]), activation())
    ]
    net = nn.Sequential(*hidden, nn.Linear(64, 3)).double()
    optimizer = optim.SGD(net.parameters(), lr=rate, momentum=0.9)
    rng, errors, dead = np.random.default_rng(0), [], []
    for step in range(steps):
        chosen = minidl.tensor(rng.integers(len(points), size=64))
        scores = net(points[chosen])
        errors.append((scores.argmax(1) != arms[chosen]).float().mean().item())
        optimizer.zero_grad()
        F.cross_entropy(scores, arms[chosen]).backward()
        optimizer.step()
        if step % 10 == 0:
            silent, h = [], points
            with minidl.no_grad():
                for layer in net:
                    h = layer(h)
                    if isinstance(layer, activation):
                        silent.append((h.numpy() == 0).all(axis=0))
            dead.append(np.mean(silent))
    window = np.minimum(np.arange(steps) + 1, 20)
    total = np.cumsum([0.0, *errors])
    return (total[1:] - total[np.arange(steps) + 1 - window]) / window, np.array(dead)


points, arms = spirals(2000)
runs = {
    ("ReLU", 0.03): learn(nn.ReLU, 0.03),
    ("ReLU", 0.1): learn(nn.ReLU, 0.1),
    ("ReLU", 0.5): learn(nn.ReLU, 0.5),
    ("tanh", 0.1): learn(nn.Tanh, 0.1),
    ("tanh", 0.3): learn(nn.Tanh, 0.3),
    ("sigmoid", 0.1): learn(nn.Sigmoid, 0.1),
}

# %% tags=["hide-input"]
show(
    training(
        {name: runs[name, 0.1][0] for name in ("ReLU", "tanh", "sigmoid")},
        {
            f"rate {rate:g}": (10 * np.arange(24), share)
            for (name, rate), (_, share) in runs.items()
            if name == "ReLU"
        },
    ),
    "Left: training errors over 240 steps at the same rate. ReLU falls to 25 percent first, tanh somewhat later, both end "
    "near 0; the sigmoid stays where it began. Right: the share of dead units with ReLU. At the two lower "
    "rates it stays at about a fifth, at the highest it climbs within 100 steps to nearly all.",
)

# %% tags=["hide-input"]
reached = {run: int(np.argmax(errors < 0.25)) // 10 * 10 for run, (errors, _) in runs.items()}
assert runs["ReLU", 0.5][1][-1] > 0.6 > 0.3 > runs["ReLU", 0.1][1][-1]
Markdown(
    f"At the rate 0.1 ReLU passes 25 % after about {reached['ReLU', 0.1]} steps, tanh after about "
    f"{reached['tanh', 0.1]}; the sigmoid does not get anywhere in that time, so little of its gradient arrives at the "
    "first layer. Some units are dead from the beginning, by the luck of the initial weights. At the rate 0.5 nearly "
    "all die: one step that is too long makes a unit negative for all points, and its weights get no more gradient. A "
    "saturated tanh still has a slope, if a small one. At the rate 0.3 tanh needs about "
    f"{reached['tanh', 0.3]} steps, fewer than ReLU at 0.1. So ReLU's advantage is not a law: the paper found it in a "
    "larger network, on photographs."
)

# %% [markdown]
# ## The trap: inputs that are too kind
#
# Here are three backward passes of tanh, the first of them right. `gradcheck` tries them with inputs of two sizes:


# %%
def tanh_with(slope):
    """Return tanh with a backward of its own, from the output."""

    class Tanh(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.y = np.tanh(x)
            return ctx.y

        @staticmethod
        def backward(ctx, grad):
            return grad * slope(ctx.y)

    return Tanh.apply


rules = {
    "1 − y²": lambda y: 1 - y**2,
    "1 − tanh(y)²": lambda y: 1 - np.tanh(y) ** 2,
    "1 + y²": lambda y: 1 + y**2,
}
for size in 0.01, 1:
    numbers = (size * minidl.linspace(-2, 2, 20, dtype=minidl.float64)).requires_grad_()
    for name, slope in rules.items():
        try:
            minidl.gradcheck(tanh_with(slope), (numbers,))
            verdict = "accepted"
        except GradcheckError:
            verdict = "found"
        print(f"inputs of size {size:<5g} {name:13} {verdict}")

# %% [markdown]
# With inputs around 0.01 all three are accepted: there tanh is a straight line, and every slope is 1. Inputs of
# that size are what a network with small weights produces, so such tests get written. Both
# mistakes have been published
# ([davidrmiller/neural2d#40](https://github.com/davidrmiller/neural2d/issues/40),
# [gy910210/neural-network-from-scratch#2](https://github.com/gy910210/neural-network-from-scratch/issues/2)). Test an
# activation where it is bent.
#
# ReLU has a trap of the opposite kind, a single point. At exactly 0 it has no derivative. Any slope from 0 to 1 can be
# defended there, and random inputs never find out which one you took. The library and PyTorch take 0. It matters because
# exact zeros are common: half of the outputs of the ReLU before, everything that dropout removed, a black
# image.

# %%
x = minidl.tensor([-1.0, 0.0, 1.0], requires_grad=True)
F.relu(x).sum().backward()
print(x.grad)

# %% [markdown]
# ## What this settles about AlexNet
#
# - **Why ReLU?** The paper's answer is speed of *training*: a small network on CIFAR-10 reached 25 % training error six times
#   faster than with tanh, "the learning rates for each network were chosen independently to make training as
#   fast as possible". It is often said that ReLU prevents overfitting. The paper says nothing of the kind; it
#   sets its finding apart from earlier work whose "primary concern is preventing overfitting".
# - **"Its derivative is always 1."** Only where the unit is on. AlexNet has seven ReLUs in a row, and a path through
#   them carries a gradient only if its unit is on in all seven; but then no slope makes it smaller.
# - **Biases of 1.** The paper starts the biases of conv2, conv4, conv5 and the hidden linear layers at 1,
#   which "accelerates the early stages of learning by providing the ReLUs with positive inputs". How
#   much that changes with weights as small as the paper's:

# %%
minidl.manual_seed(0)
features = F.relu(minidl.randn(256, 4096))
weight = 0.01 * minidl.randn(1000, 4096)
for bias in 0, 1:
    on = (features @ weight.T + bias > 0).float().mean(0)
    print(f"bias {bias}: a unit is on for {100 * on.mean().item():.0f} % of the samples")

# %% [markdown]
# - **Memory.** ReLU in place saves an array per layer. For the paper's batch of 128 images in float32:

# %% tags=["hide-input"]
outputs = {"conv1": 96 * 55**2, "conv2": 256 * 27**2, "conv3": 384 * 13**2, "conv4": 384 * 13**2,
           "conv5": 256 * 13**2}  # fmt: skip
parts = ", ".join(f"{name} {128 * 4 * size / 2**20:.0f}" for name, size in outputs.items())
Markdown(f"{parts} MiB: {128 * 4 * sum(outputs.values()) / 2**20:.0f} MiB together.")

# %% [markdown]
# ## Exercises
#
# ```bash
# python -m minidl.course start exercises           # writes exercises/04_activations.py and others
# python -m minidl.course check exercises/04_activations.py
# ```
#
# 1. `relu_backward`: from the input.
# 2. `tanh_backward`: from the output.
# 3. `dead_units`: which units of a layer are dead for a batch.
#
# Look at the column "a slope of 1: y is nearly 0" of the second one: it lets two mistakes through.

# %% tags=["hide-input"]
table("04_activations")
