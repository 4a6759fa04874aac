# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Initial values, and the collapse
#
# Weights begin as random numbers. How large? A unit adds up $n$ products of a weight and an input. If the
# weights are independent, with mean 0 and standard deviation $s$, and the inputs have mean square $q$, then
# the variances of the products add up:
#
# $$ E[z^2] = n\, s^2\, q $$
#
# A ReLU sets the negative half of such sums to 0, and with it half of the mean square. So each layer
# multiplies the size of the signal (the root of its mean square) by
#
# $$ s\, \sqrt{n / 2} $$
#
# With 8 layers this factor acts 8 times. Only a factor near 1 survives that. Here are 8 layers of 256 units,
# with four kinds of initial values.

# %%
import math
from itertools import pairwise

import numpy as np

import minidl
from minidl import nn, optim
from minidl.course import Markdown, explorable, source, table
from minidl.course.figures.common import show
from minidl.course.figures.initialization import learning, sizes_by_layer, two_pictures
from minidl.nn import functional as F
from minidl.nn import init

N, LAYERS = 256, 8


def size(t):
    return math.sqrt((t.detach().numpy() ** 2).mean())


def sizes(fill):
    """Return the size after each layer, and that of the gradient from the output back."""
    minidl.manual_seed(0)
    weights = [fill(minidl.zeros(N, N, dtype=minidl.float64)) for _ in range(LAYERS)]
    signals = [minidl.randn(100, N, dtype=minidl.float64, requires_grad=True)]
    for weight in weights:
        signals.append(F.relu(F.linear(signals[-1], weight)))
    for signal in signals:
        signal.retain_grad()
    signals[-1].backward(minidl.randn(100, N, dtype=minidl.float64))
    return [np.array(list(map(size, ts))) for ts in (signals, [s.grad for s in signals[::-1]])]


kinds = {  # name: how to fill a weight, and its standard deviation
    "0.2": (lambda w: init.normal_(w, std=0.2), 0.2),
    "He": (lambda w: init.kaiming_normal_(w, nonlinearity="relu"), math.sqrt(2 / N)),
    "Xavier": (init.xavier_normal_, math.sqrt(2 / (N + N))),
    "0.01": (lambda w: init.normal_(w, std=0.01), 0.01),
}
measured = {name: sizes(fill) for name, (fill, _) in kinds.items()}
factors = [std * math.sqrt(N / 2) for _, std in kinds.values()]

# %% tags=["hide-input"]
forward, backward = ({name: both[k] for name, both in measured.items()} for k in (0, 1))
drawing = show(
    sizes_by_layer(forward, backward, factors),
    "Two panels with a logarithmic axis: the size of the signal from the input on, and that of the gradient from the "
    "output back. In both, four straight lines fan out from 1: with a deviation of 0.2 up to nearly a thousand after "
    "8 layers, with He's level at 1, with Xavier's down to a sixteenth, with 0.01 down to some hundred-millionths.",
)
drawing

# %% tags=["hide-input"]
rows = [
    f"| {name} | {std:.3g} | {factor:.3g} | {factor**LAYERS:.2g} | {forward[name][-1]:.2g} | "
    f"{backward[name][-1]:.2g} |"
    for (name, (_, std)), factor in zip(kinds.items(), factors, strict=True)
]
Markdown(
    "| initial values | deviation | factor per layer | its 8th power | signal, measured | gradient, measured |\n"
    "|---|---:|---:|---:|---:|---:|\n" + "\n".join(rows)
)

# %% [markdown]
# The dots are measured, the dotted lines are the formula. The gradient obeys the same law on its way back: it
# goes through the transposed weights, and through the same half of the units. There $n$ is the number of
# *outputs* that an input feeds. Two recipes follow:
#
# - **Xavier** (Glorot and Bengio, 2010): $s^2 = 2 / (n_{in} + n_{out})$, a compromise between both directions,
#   for units that don't throw half of the signal away.
# - **He** (He and others, 2015): $s^2 = 2 / n_{in}$. The 2 pays for the ReLU.
#
# Try it. These are 24 units in each layer; the axis is logarithmic.

# %% tags=["hide-input"]
minidl.manual_seed(1)
few = minidl.randn(LAYERS + 1, 24, 24, dtype=minidl.float64).numpy().round(2)
explorable(
    "init_collapse", drawing, exponent=-2, depth=LAYERS,
    x=few[0, :8].tolist(), weights=few[1:].tolist(),
)  # fmt: skip

# %% [markdown]
# ## The code
#
# All of it is a matter of counting. From [`minidl/nn/init.py`](../../minidl/nn/init.py):

# %% tags=["hide-input"]
source(init._calculate_fan_in_and_fan_out)

# %% tags=["hide-input"]
source(init.kaiming_normal_)

# %% [markdown]
# In a convolution a sum adds up a whole window of all channels that its filter sees: the "fan in" is the number
# of values in one filter. `weight.shape[1]` already has the channels of *one group*. Let us check this on
# AlexNet's conv2, with the plain code and with the kernel:

# %%
minidl.manual_seed(2)
layer = nn.Conv2d(96, 256, kernel_size=5, padding=2, groups=2, bias=False, dtype=minidl.float64)
init.kaiming_normal_(layer.weight, nonlinearity="relu")
pixels = minidl.randn(1, 96, 27, 27, dtype=minidl.float64)
fan_in, fan_out = init._calculate_fan_in_and_fan_out(layer.weight)
fast = layer(pixels)
with minidl.reference():
    plain = layer(pixels)
inside = fast[:, :, 2:-2, 2:-2]  # away from the zeros around the picture
print(f"fan in {fan_in} = 48 · 5 · 5; deviation {math.sqrt(2 / fan_in):.4f}")
print(f"size before the ReLU {size(inside):.2f}, after it {size(F.relu(inside)):.2f}")
print("the plain code agrees:", np.allclose(fast.detach().numpy(), plain.detach().numpy()))

# %% [markdown]
# ## The experiment: does it learn?
#
# The task is easy: in which of four directions does a bar run? The network has five hidden layers of 64 units.
# Only the initial values of the hidden layers differ.

# %%
rng = np.random.default_rng(0)


def bars(count):
    direction = rng.integers(4, size=count)
    rows, columns = np.indices((12, 12)) - 5.5
    angle, shift = np.pi / 4 * direction[:, None, None], rng.uniform(-3, 3, (count, 1, 1))
    distance = rows * np.cos(angle) + columns * np.sin(angle) + shift
    pictures = np.exp(-(distance**2)) + 0.2 * rng.standard_normal(distance.shape)
    return pictures.reshape(count, -1), direction


batches = [bars(32) for _ in range(100)]


def train(fill):
    minidl.manual_seed(0)
    widths = [144, 64, 64, 64, 64, 64]
    net = nn.Sequential()
    for inputs, outputs in pairwise(widths):
        hidden = nn.Linear(inputs, outputs, dtype=minidl.float64)
        fill(hidden.weight)
        init.zeros_(hidden.bias)
        net.extend([hidden, nn.ReLU()])
    net.append(nn.Linear(64, 4, dtype=minidl.float64))
    optimizer, found = optim.SGD(net.parameters(), lr=0.05, momentum=0.9), []
    for pictures, directions in batches:
        loss = F.cross_entropy(net(minidl.tensor(pictures)), minidl.tensor(directions))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return np.convolve(found, np.ones(5) / 5, "valid")  # means of five steps


curves = {
    "deviation 0.01": train(lambda w: init.normal_(w, std=0.01)),
    "He": train(lambda w: init.kaiming_normal_(w, nonlinearity="relu")),
    "PyTorch's default": train(lambda w: init.kaiming_uniform_(w, a=math.sqrt(5))),
}

# %% tags=["hide-input"]
show(
    learning(curves, np.log(4)),
    "The loss over 100 steps. With He's values it falls close to 0 within 30 steps. With a deviation of 0.01 it stays at "
    "the loss of a guess. With PyTorch's default values it stays there for most of the time and begins to fall "
    "near the end.",
)

# %% tags=["hide-input"]
Markdown(
    f"With a deviation of 0.01 the loss stays at {np.median(curves['deviation 0.01']):.1f}, and ln 4 is "
    f"{np.log(4):.1f}: a guess among four. The last layer sees next to nothing, learns how frequent the classes are, and the "
    "gradient that it sends down shrinks as much again. The weights don't move, so that it stays this way. "
    "**A loss that sits at the logarithm of the number of classes is a guess: no signal arrives**, or the labels don't "
    "belong to the pictures. With 1,000 classes that "
    f"is {np.log(1000):.2f}, a number in many a bug report "
    "([BVLC/caffe#59](https://github.com/BVLC/caffe/issues/59), "
    "[#2085](https://github.com/BVLC/caffe/issues/2085), [#3243](https://github.com/BVLC/caffe/issues/3243))."
)

# %% [markdown]
# **The trap.** PyTorch's layers draw their weights by `kaiming_uniform_(weight, a=sqrt(5))`. That sounds like He's
# recipe, and it is not: the odd 5 was chosen to keep an older default
# ([pytorch/pytorch#15314](https://github.com/pytorch/pytorch/issues/15314)). It means numbers drawn evenly between
# ±1/√n. Their variance is a *third* of the square of that bound, and no 2 pays for the ReLU:

# %%
default, _ = sizes(lambda w: init.kaiming_uniform_(w, a=math.sqrt(5)))
print(f"factor by the formula: {math.sqrt(1 / (3 * N)) * math.sqrt(N / 2):.3f}")
print(f"measured over {LAYERS} layers: {default[-1] ** (1 / LAYERS):.3f}")
print(f"after {LAYERS} layers: {default[-1]:.1e}")

# %% [markdown]
# minidl has the same default, to be like PyTorch. Shallow networks and batch normalization forgive it; a deep plain
# network does not. A second trap is the word "size". The outputs of a ReLU have a mean above 0. Their standard deviation
# takes this mean away, although the next layer multiplies it, too. What the formula speaks of is the root of
# the mean *square*.
#
# ## What this settles about AlexNet
#
# The paper draws all weights with a deviation of 0.01 and sets the biases of conv2, conv4, conv5 and the hidden fully
# connected layers to 1: "this initialization accelerates the early stages of learning by providing the
# ReLUs with positive inputs". Let us look at what reaches each layer. The size alone would deceive us: a layer that
# answers 1 to every picture has a fine size, and says nothing. So we give the network two pictures and also
# measure how far its answers differ.

# %%
from minidl.vision.models import alexnet

net = alexnet("paper").eval()
layers = net.named_rows()
patches = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8))
pictures = np.kron(patches, np.ones((1, 1, 29, 29)))[:, :, :227, :227]  # 0 to 255, coarse patches
pictures = (pictures - pictures.mean()).astype(np.float32)
found = {}
for name, layer in layers.items():
    layer.register_forward_hook(
        lambda _, inputs, y, name=name: found.update({name: np.maximum(y.numpy(), 0)})
    )


def by_layer(bias, scale=1.0):
    """Return each layer's size, and the difference of its answers to two pictures."""
    for name in ("conv2", "conv4", "conv5", "fc6", "fc7"):
        init.constant_(layers[name].bias, bias)
    with minidl.no_grad():
        net(minidl.tensor(pictures * np.float32(scale)))
    size = [math.sqrt((y**2).mean()) for y in found.values()]
    difference = [math.sqrt(((y[0] - y[1]) ** 2).mean() / 2) for y in found.values()]
    return np.array(size), np.array(difference)


panels = {}
for title, bias in (("biases 1 (the paper)", 1.0), ("biases 0.1 (Caffe's AlexNet)", 0.1)):
    whole, told_apart = by_layer(bias)
    _, normalized = by_layer(bias, scale=1 / pictures.std())
    panels[title] = {
        "size": whole,
        "difference of two pictures": told_apart,
        "the same, input of size 1": normalized,
    }

# %% tags=["hide-input"]
show(
    two_pictures(list(layers), panels),
    "Two panels, by layer from conv1 to fc8, with a logarithmic axis. Left, biases of 1: the size stays near 1 up to fc7, "
    "but the difference of two pictures falls steadily to thousandths. Right, biases of 0.1: the difference falls in the "
    "same way, but the size has come down towards it. A dotted line far below: the difference for an input of size 1.",
)

# %% tags=["hide-input"]
shares = [100 * p["difference of two pictures"][-2] / p["size"][-2] for p in panels.values()]
paper = panels["biases 1 (the paper)"]
ratio = (paper["difference of two pictures"] / paper["the same, input of size 1"])[-1]
Markdown(
    f"""- With biases of 1, {100 - shares[0]:.0f} % of what fc7 says is the same for both pictures. The ReLUs are alive, as the
  paper says, but the pictures drown in the biases. With 0.1 the pictures' share grows from {shares[0]:.1f} % to
  {shares[1]:.0f} %. Caffe's authors report that 1 "resulted in flat training loss" and took 0.1
  ([BVLC/caffe#327](https://github.com/BVLC/caffe/pull/327)).
- The deviation of 0.01 belongs to **pixels from 0 to 255**. Fed with normalized pictures, as every program does today,
  the same network tells two pictures apart {ratio:.0f} times less. Whoever takes over the paper's initial values must
  take over its input, too; `alexnet("paper").input_scale` says which one a network wants: "{net.input_scale}".
- He's recipe came three years later. `alexnet(init="he")` uses it for the convolutions."""
)

# %% [markdown]
# ## Exercises
#
# ```bash
# python -m minidl.course start exercises
# python -m minidl.course check exercises/11_initialization.py
# ```
#
# 1. `he_std`: He's deviation for a convolution, with groups.
# 2. `xavier_bound`: Xavier's recipe with numbers drawn evenly.
# 3. `signal`: what this page measures, layer by layer.

# %% tags=["hide-input"]
table("11_initialization")
