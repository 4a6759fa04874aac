# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Convolution, and its gradient
#
# A convolution slides a small kernel over a picture. With windows $s$ pixels apart, output $(i, j)$ is
# the sum of its window's pixels, each times the kernel's number at the same place:
#
# $$ y_{i,j} = \sum_{a,b} w_{a,b}\, x_{si+a,\; sj+b} $$
#
# Both gradients can be read off this formula. Look where a number occurs, and add up what multiplies it
# there. The kernel's number $w_{a,b}$ occurs once in every output, next to one pixel of its window:
#
# $$ \frac{\partial L}{\partial w_{a,b}} = \sum_{i,j} \frac{\partial L}{\partial y_{i,j}}\, x_{si+a,\; sj+b} $$
#
# The pixel $x_{p,q}$ occurs in every window that covers it, each time next to another number of the kernel:
#
# $$ \frac{\partial L}{\partial x_{p,q}} = \sum_{i,j} \frac{\partial L}{\partial y_{i,j}}\, w_{p-si,\; q-sj} $$
#
# The last sum runs over the windows for which $(p-si, q-sj)$ is a place in the kernel. In it, $i$ has a
# minus sign: as we walk forward over $dy$, we walk backward over the kernel. This minus sign is the
# whole mystery of the "kernel turned by 180°". Here are both ways to compute the sum, with a `dy` that is
# zero but for two numbers.

# %%
import numpy as np

import minidl
from minidl.course import Markdown, agree, source, table
from minidl.course.figures.common import show
from minidl.course.figures.convolution import correlation, coverage, losses, scatter_and_gather
from minidl.nn import conv, im2col
from minidl.nn import functional as F


def gradients(x, w, dy, stride=1):
    """Return the library's gradients for one picture and one kernel."""
    x, w = (minidl.tensor(array[None, None], requires_grad=True) for array in (x, w))
    F.conv2d(x, w, stride=stride).backward(minidl.tensor(dy[None, None]))
    return x.grad.numpy()[0, 0], w.grad.numpy()[0, 0]


w = np.arange(1.0, 10.0).reshape(3, 3)
dy = np.array([[1.0, 0, 0], [0, 0, 2], [0, 0, 0]])
x = np.array(
    [[3.0, 2, 2, 1, 1], [0, 1, 0, 0, 3], [2, 3, 2, 2, 4], [2, 2, 2, 1, 3], [1, 3, 2, 0, 1]]
)
dx, dw = gradients(x, w, dy)

# %% tags=["hide-input"]
show(
    scatter_and_gather(w, dy, dx, (2, 2)),
    "Left: dy, 3 by 3, with a blue 1 and a red 2, and the kernel with the numbers 1 to 9. Middle: the input's "
    "gradient, 5 by 5; the kernel times 1 is stamped in a blue square, the kernel times 2 in a red one, and "
    "in the two pixels where they overlap both are added, such as 9 + 8. Right: dy with zeros around, and over "
    "it, in a green square, the kernel turned by 180 degrees; the products add up to the same 17.",
)

# %% [markdown]
# - **Scatter.** Each number of `dy` stamps the kernel, as it is, on the input's gradient. Where stamps
#   overlap they **add**.
# - **Gather.** Each pixel asks which outputs it went into. The upper left window saw it at its lower right
#   corner, so the upper left number of `dy` meets the kernel's *last* number. To a pixel, the kernel looks
#   turned.
#
# Whoever scatters reads the kernel as it is, whoever gathers reads it turned. The usual mistakes are to turn
# it in a scatter, and to forget the turn in a gather. Readers of
# [Caffe](https://github.com/BVLC/caffe/issues/5812), [PyTorch](https://github.com/pytorch/pytorch/issues/61100)
# and [numpy-ml](https://github.com/ddbourgin/numpy-ml/issues/27) asked why their code does not turn the kernel
# when the books do: it scatters.
#
# The kernel's gradient needs no turn at all. Each of its numbers met one shifted piece of the input, and
# `dy` weighs that piece:

# %% tags=["hide-input"]
show(
    correlation(x, dy, dw),
    "Left: the input, 5 by 5, with a blue 3 by 3 square in the upper left corner and a red one in the lower "
    "right corner. Middle: dy. Right: the kernel's gradient; its first number is the blue piece times dy, "
    f"{dw[0, 0]:g}, its last number the red piece times dy, {dw[2, 2]:g}.",
)

# %% [markdown]
# ## The code
#
# The library's plain code is in [`minidl/nn/conv.py`](../../minidl/nn/conv.py). With all windows as the
# columns of a matrix $X$ ([page 6](06_im2col.md)) and the kernels as the rows of $W$, the three sums above are three
# matrix products, over all channels and images at once:
#
# $$ Y = W X \qquad dW = dY\, X^T \qquad dX = W^T dY $$

# %% tags=["hide-input"]
source(conv.forward)

# %% tags=["hide-input"]
source(conv.backward)

# %% [markdown]
# Channels need no thought: a window's pixels of all input channels are one column, and the product $W^T dY$
# adds up over all output channels. What is left is to bring the columns of $dX$ back into the picture. This is
# the scatter, from [`minidl/nn/im2col.py`](../../minidl/nn/im2col.py). It does not go window by window: it
# takes the same place $(a, b)$ of *all* windows at once. These are different pixels, so that `+=` on a
# slice is safe.

# %% tags=["hide-input"]
source(im2col.col2im)

# %% [markdown]
# The kernel that normally runs is faster. For windows one pixel apart it gathers: it calls the forward
# pass with the kernels turned and the channels exchanged. Both ways must agree, up to the order in which
# numbers are added:

# %%
minidl.manual_seed(0)
images = minidl.randn(4, 32, 12, 12, dtype=minidl.float64, requires_grad=True)
kernels = minidl.randn(48, 32, 3, 3, dtype=minidl.float64, requires_grad=True)
dy = minidl.randn(4, 48, 10, 10, dtype=minidl.float64)


def backward():
    images.grad = kernels.grad = None
    F.conv2d(images, kernels).backward(dy)
    return images.grad.numpy(), kernels.grad.numpy()


fast = backward()
with minidl.reference():
    plain = backward()
for name, ours, theirs in zip(("dx", "dw"), fast, plain, strict=True):
    print(f"{name} agrees:", np.abs(ours - theirs).max() < 1e-12 * np.abs(theirs).max())

# %% [markdown]
# The kernel takes different ways for few windows, many images, large pictures and few channels. `agree` raises an error
# unless it gives what the plain code gives, forward and backward, and unless gradcheck is satisfied (where it is asked:
# it is slow):

# %%
rng = np.random.default_rng(0)
for x_shape, w_shape, how, differences in (
    (
        (2, 4, 7, 6),
        (6, 2, 3, 2),
        {"stride": 2, "padding": 1, "dilation": (2, 1), "groups": 2},
        True,
    ),
    ((2, 6, 3, 4), (66, 3, 2, 3), {"padding": 1, "groups": 2}, False),
    ((2, 2, 5, 5), (3, 2, 4, 4), {"padding": "same"}, True),
    ((40, 3, 31, 31), (16, 3, 11, 11), {"stride": 4, "padding": 2}, False),
    ((40, 16, 9, 9), (24, 8, 5, 5), {"padding": 2, "groups": 2}, False),
    ((40, 24, 7, 7), (32, 24, 3, 3), {"padding": 1}, False),
    ((1, 3, 64, 200), (8, 3, 7, 7), {"padding": 3, "stride": 2}, False),
):
    given = (rng.standard_normal(shape) for shape in (x_shape, w_shape, w_shape[:1]))  # x, w, b
    print(x_shape, agree(lambda x, w, b: F.conv2d(x, w, b, **how), *given, differences=differences))

# %% [markdown]
# And here is the gather in one line. `dy` gets a border of zeros, as wide as the kernel less 1; the first
# two axes of the kernels are exchanged, because now 48 channels come in and 32 go out:

# %%
gathered = F.conv2d(dy, kernels.detach().transpose(0, 1).flip(2, 3), padding=2)
print("the gather gives dx:", np.allclose(gathered.numpy(), plain[0]))

# %% [markdown]
# The same operation exists as a layer of its own, under the name "transposed convolution" (or, with less
# reason, "deconvolution"):

# %%
layer = F.conv_transpose2d(dy, kernels.detach())
print("conv_transpose2d gives dx:", np.allclose(layer.numpy(), plain[0]))

# %% [markdown]
# ## How many windows see a pixel?
#
# With a kernel of ones and a `dy` of ones, the input's gradient counts the windows over each pixel:


# %%
def windows_over(size, kernel, stride):
    image, ones = np.zeros((size, size)), np.ones((kernel, kernel))
    side = (size - kernel) // stride + 1
    return gradients(image, ones, np.ones((side, side)), stride)[0]


conv1 = windows_over(227, 11, 4)

# %% tags=["hide-input"]
show(
    coverage(
        {
            "3×3, 1 apart": windows_over(7, 3, 1),
            "3×3, 2 apart": windows_over(7, 3, 2),
            "conv1's corner: 11×11, 4 apart": conv1[:19, :19],
        }
    ),
    "Three grids of pixels with the number of windows over each. 3 by 3 windows 1 apart: from 1 in the corners to 9 "
    "in the middle. 3 by 3 windows 2 apart: a pattern of 1, 2 and 4. The corner of AlexNet's conv1: a lattice of 4, "
    "6 and 9 that repeats every 4 pixels.",
)

# %% tags=["hide-input"]
inner = conv1[11:-11, 11:-11]
*few, most = (f"{n:.0f}" for n in np.unique(inner))
Markdown(
    f"Away from the border, the pixels of AlexNet's input are in {', '.join(few)} or {most} windows, in a lattice that repeats every "
    "4 pixels: 11 is not a multiple of 4. A picture of the gradient with respect to the input, such as a saliency "
    "map, therefore shows a fine checkerboard that has nothing to do with what is in the picture."
)

# %% [markdown]
# ## The experiment: a wrong gradient that learns
#
# Suppose that the input's gradient is gathered with the kernel as it is, without the turn. The kernel's own
# gradient is right. Does the loss tell?

# %%
from minidl import nn, optim
from minidl.autograd import Function
from minidl.errors import GradcheckError


def convolve(x, weight, padding=0):
    return F.conv2d(minidl.tensor(x), minidl.tensor(weight), padding=padding).numpy()


class Unturned(Function):
    """A convolution with 3×3 kernels, with a mistake in its backward."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return convolve(x, weight)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        dx = convolve(grad, weight.swapaxes(0, 1), padding=2)  # weight[:, :, ::-1, ::-1] is right
        dw = convolve(x.swapaxes(0, 1), grad.swapaxes(0, 1))  # dy slides over x, channel by channel
        return dx, dw.swapaxes(0, 1)


# %% [markdown]
# The task: in which of four directions does a noisy bar run? The network: two convolutions, the second of
# them with the mistake, so that the first learns from wrong gradients.

# %%
rng = np.random.default_rng(0)


def bars(count):
    direction = rng.integers(4, size=count)
    rows, columns = np.indices((12, 12)) - 5.5
    angle, shift = np.pi / 4 * direction[:, None, None], rng.uniform(-3, 3, (count, 1, 1))
    distance = rows * np.cos(angle) + columns * np.sin(angle) + shift
    noise = 0.6 * rng.standard_normal(distance.shape)
    return (np.exp(-(distance**2)) + noise)[:, None], direction


batches = [bars(24) for _ in range(110)]


def train(second):
    minidl.manual_seed(0)
    conv1 = nn.Conv2d(1, 8, 3, dtype=minidl.float64)
    conv2 = nn.Conv2d(8, 8, 3, bias=False, dtype=minidl.float64)
    last = nn.Linear(8 * 4 * 4, 4, dtype=minidl.float64)
    parameters = [*conv1.parameters(), *conv2.parameters(), *last.parameters()]
    optimizer, found = optim.SGD(parameters, lr=0.05, momentum=0.9), []
    for pictures, directions in batches:
        hidden = F.relu(second(F.relu(conv1(minidl.tensor(pictures))), conv2.weight))
        scores = last(F.max_pool2d(hidden, 2).flatten(1))
        loss = F.cross_entropy(scores, minidl.tensor(directions))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return np.convolve(found, np.ones(10) / 10, "valid")  # means of ten steps


curves = {"right": train(F.conv2d), "without the turn": train(Unturned.apply)}

# %% tags=["hide-input"]
show(
    losses(curves, np.log(4)),
    "The loss over the steps for the right gradient and for the one without the turn. Both begin at the loss of "
    "a guess and fall far below it, the wrong one more slowly and not quite as far.",
)

# %% [markdown]
# Both learn. Seen alone, the dashed curve looks like a training whose rate could be better. The second
# convolution and the last layer have right gradients, and they make do with whatever the first layer offers.
# **A falling loss proves nothing about a gradient.** Only differences do ([page 1](01_gradcheck.md)), and only with the right
# inputs:

# %%
picture = minidl.randn(1, 1, 5, 5, dtype=minidl.float64, requires_grad=True)
for name, values in (
    ("a symmetric kernel", np.outer([1.0, 2, 1], [1.0, 2, 1])),
    ("another kernel", w),
):
    kernel = minidl.tensor(values[None, None], requires_grad=True)
    try:
        minidl.gradcheck(Unturned.apply, (picture, kernel))
        print(f"{name}: gradcheck is satisfied")
    except GradcheckError as error:
        print(f"{name}: {str(error).partition(':')[0]}")

# %% [markdown]
# **The trap.** Several comfortable test inputs hide mistakes in a convolution. A symmetric kernel (a blur, or
# all ones) hides the turn. As many filters as channels hide exchanged axes. A distance of 1 hides a lost
# stride. Windows side by side hide an overwritten sum. Take a random kernel, different numbers of everything,
# and overlapping windows more than 1 apart. A published training program had both the turn
# and the exchanged axes to mend ([nntrainer/nntrainer#705](https://github.com/nntrainer/nntrainer/issues/705)).
#
# One mistake more belongs to NumPy. `dx[rows, columns] += values` with arrays of indices adds **once** to a
# place that occurs twice; `np.add.at` adds twice:

# %%
once, twice = np.zeros(3), np.zeros(3)
once[[1, 1]] += 1.0
np.add.at(twice, [1, 1], 1.0)
print(once, twice)

# %% [markdown]
# ## Groups
#
# AlexNet was spread over two GPUs with 3 GB each. In conv2, conv4 and conv5 a filter sees only the maps of its
# own GPU. With `groups=2` the matrix $W$ falls into two blocks, and each block meets its own half of the
# channels. The backward pass inherits this: no gradient crosses over.

# %%
x = minidl.randn(1, 4, 5, 5, dtype=minidl.float64, requires_grad=True)
weight = minidl.randn(6, 2, 3, 3, dtype=minidl.float64)
y = F.conv2d(x, weight, groups=2)
y[:, :3].sum().backward()  # the first group's filters alone
print("gradient by channel:", np.abs(x.grad.numpy()).max(axis=(0, 2, 3)).round(2))

# %% [markdown]
# ## What this settles about AlexNet

# %% tags=["hide-input"]
shapes = {"conv2": (256, 96, 5), "conv4": (384, 384, 3), "conv5": (256, 384, 3)}
whole = {name: o * c * k * k for name, (o, c, k) in shapes.items()}
halves = ", ".join(f"{name} {n // 2:,} instead of {n:,}" for name, n in whole.items())
Markdown(
    f"""- The groups halve three layers' weights: {halves}. Together that saves {sum(whole.values()) // 2:,} weights,
  and half of these layers' multiplications. conv3 sees all maps: there the GPUs exchange.
- The famous course CS231n says that the backward pass of a convolution is a convolution, too, "for both the data
  and the weights", "with spatially-flipped filters", and leaves the derivation out
  ([notes](https://cs231n.github.io/convolutional-networks/)). For the data that is the gather above. For the
  weights nothing is flipped: `dy` slides over the input as it is.
- conv1's windows are 4 apart, so its gather would have to put zeros between the numbers of `dy`. Here the
  scatter is simpler. In training nobody needs conv1's input gradient at all, and the library does not compute
  it: a picture asks for no gradient."""
)

# %% [markdown]
# ## Exercises
#
# ```bash
# python -m minidl.course start exercises
# python -m minidl.course check exercises/07_convolution.py
# ```
#
# 1. `conv`: the forward pass, with stride and padding.
# 2. `col2im`: the scatter.
# 3. `conv_weight_backward`: the kernel's gradient.
# 4. `conv_input_backward`: the input's gradient, by scatter or by gather.
# 5. `grouped_pointwise`: groups, with 1×1 kernels to keep it short.
#
# In the tables, look at the columns "a symmetric kernel", "windows side by side" and "as many filters as
# channels".

# %% tags=["hide-input"]
table("07_convolution")
