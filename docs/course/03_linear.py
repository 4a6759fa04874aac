# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # The linear layer
#
# A linear layer computes weighted sums: output $o$ is the sum of all inputs, each times a weight, plus a
# bias. For a whole batch, sample $n$ in row $n$,
#
# $$ y_{no} = b_o + \sum_i W_{oi} \, x_{ni} \qquad \text{or} \qquad y = x W^T + b $$
#
# The backward pass gets the gradient `dy`, of the same shape as `y`, and needs three answers. Ask of each
# number: *where is it used, and what is it multiplied by there?*
#
# - The weight $W_{oi}$ is used once for every sample. There it is multiplied by $x_{ni}$ and goes into $y_{no}$.
# - The bias $b_o$ is used once for every sample, too, with the factor 1.
# - The input $x_{ni}$ is used once for every output. There it is multiplied by $W_{oi}$.
#
# Each use contributes the gradient of its output times its factor, and the contributions add up (page 2):
#
# $$ \frac{\partial L}{\partial W_{oi}} = \sum_n dy_{no} \, x_{ni} \qquad \frac{\partial L}{\partial b_o} = \sum_n dy_{no} \qquad \frac{\partial L}{\partial x_{ni}} = \sum_o dy_{no} \, W_{oi} $$
#
# Look at the first one. For a single sample it is a table of products: a row for each output, a column for
# each input. This is called an *outer product*. The gradient of the weight is the sum of these tables, one for each sample.

# %%
import numpy as np

import minidl
from minidl.course import Markdown, source, table
from minidl.course.figures.common import show
from minidl.course.figures.linear import outer_products, ranks
from minidl.nn import functional as F
from minidl.nn import linear

x = np.array([[1.0, 2, 0], [3, -1, 1], [0, 1, 2]])  # 3 samples, 3 inputs
dy = np.array([[2.0, -1], [1, 1], [0, 3]])  # 3 samples, 2 outputs

weight = minidl.zeros(2, 3, dtype=minidl.float64, requires_grad=True)
parts = []
for n in range(3):
    y = F.linear(minidl.tensor(x[n : n + 1]), weight)
    (part,) = minidl.autograd.grad(y, weight, minidl.tensor(dy[n : n + 1]))
    parts.append(part.numpy())
F.linear(minidl.tensor(x), weight).backward(minidl.tensor(dy))
total = weight.grad.numpy()
print("the parts add up to the gradient of the batch:", np.array_equal(sum(parts), total))

# %% tags=["hide-input"]
show(
    outer_products(dy, x, np.stack(parts), total),
    "Three tables of 2 rows and 3 columns, one for each sample. Above each stand the sample's three inputs, "
    "on the left its two output gradients, and each cell is their product. A fourth table in red is the sum of "
    "the three, the gradient of the weight.",
)

# %% [markdown]
# Where an input is 0, the whole column of its table is 0: a weight learns nothing from a sample in which its
# input is silent. Where the gradient of an output is 0, the row is.
#
# ## The code
#
# As a product of matrices the sum over the samples is `dyᵀ · x`. From
# [`minidl/nn/linear.py`](../../minidl/nn/linear.py):

# %% tags=["hide-input"]
source(linear.forward)

# %% tags=["hide-input"]
source(linear.backward)

# %% [markdown]
# Nobody has to remember which matrix is transposed. With N samples, I inputs and O outputs, the gradient of W has the
# shape of W, (O, I). From `dy`, (N, O), and `x`, (N, I), a product can have that shape in one way only: (O, N) times (N, I).
# The sum runs over N, the axis that disappears, just as in the formula. For `dx`, (N, I), it is (N, O) times (O, I), and O
# disappears.
#
# Normally a kernel for your machine runs instead. `minidl.reference()` makes the code above run, and both must agree:

# %%
minidl.manual_seed(5)
arguments = [
    minidl.randn(*shape, dtype=minidl.float64) for shape in ((64, 300), (200, 300), (200,))
]
incoming = minidl.randn(64, 200, dtype=minidl.float64)


def results():
    """Return y, dx, dW and db."""
    tensors = [argument.clone().requires_grad_() for argument in arguments]
    y = F.linear(*tensors)
    return [y, *minidl.autograd.grad(y, tensors, incoming)]


fast = results()
with minidl.reference():
    plain = results()
for name, one, other in zip(("y", "dx", "dW", "db"), fast, plain, strict=True):
    agree = np.allclose(one.detach().numpy(), other.detach().numpy(), atol=1e-11, rtol=0)
    print(f"{name:2} {tuple(one.shape)!s:10} kernel and plain code agree to 1e-11: {agree}")
small = minidl.nn.Linear(4, 3, dtype=minidl.float64)
print("gradcheck:", minidl.gradcheck(small, minidl.randn(2, 4, requires_grad=True)))

# %% [markdown]
# ## The experiment: square shapes and batches of one
#
# The argument with the shapes fails where shapes are equal. Here are four wrong backward passes, tried on three
# shapes. "Wrong shape" means that NumPy itself complains, or that the shape of a gradient gives the mistake away at once.


# %%
def passes(**wrong):
    """Return a backward with one gradient computed in another way."""
    right = {
        "dx": lambda dy, x, w: dy @ w,
        "dw": lambda dy, x, w: dy.T @ x,
        "db": lambda dy, x, w: dy.sum(0),
    }
    return lambda *given: [part(*given) for part in {**right, **wrong}.values()]


mistakes = {
    "dx with W transposed": passes(dx=lambda dy, x, w: dy @ w.T),
    "dW transposed": passes(dw=lambda dy, x, w: x.T @ dy),
    "db of the first sample": passes(db=lambda dy, x, w: dy[0]),
    "db is the mean": passes(db=lambda dy, x, w: dy.mean(0)),
}
rng = np.random.default_rng(1)
for n, o, i in (1, 3, 3), (4, 3, 3), (4, 3, 5):
    print(f"{n} samples, {o} outputs, {i} inputs")
    given = rng.standard_normal((n, o)), rng.standard_normal((n, i)), rng.standard_normal((o, i))
    right = passes()(*given)
    for name, backward in mistakes.items():
        try:
            found = backward(*given)
            shapes = all(a.shape == b.shape for a, b in zip(found, right, strict=True))
            equal = shapes and all(map(np.allclose, found, right))
            verdict = "passes" if equal else "wrong numbers" if shapes else "wrong shape"
        except ValueError:
            verdict = "wrong shape"
        print(f"    {name:23} {verdict}")

# %% [markdown]
# With one sample both mistakes of the bias pass. With a square layer both transposes run without complaint: only
# a test that compares numbers can see them. And training does not show them either. Here a network learns
# twice, with the right backward and with the first mistake in its square layers:

# %%
from minidl.autograd import Function


class Square(Function):
    """A square linear layer without bias, right or with a transposed dx."""

    @staticmethod
    def forward(ctx, x, weight, transposed):
        ctx.save_for_backward(x, weight)
        ctx.transposed = transposed
        return x @ weight.T

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        return grad @ (weight.T if ctx.transposed else weight), grad.T @ x, None


def train(transposed, steps=300):
    """Return the loss at the beginning and at the end."""
    minidl.manual_seed(7)
    x = minidl.randn(256, 16, dtype=minidl.float64)
    target = minidl.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:3]
    weights = [minidl.nn.Parameter(minidl.randn(16, 16, dtype=x.dtype) / 4) for _ in range(3)]
    last = minidl.nn.Linear(16, 1, dtype=x.dtype)
    optimizer = minidl.optim.SGD([*weights, *last.parameters()], lr=0.05, momentum=0.9)
    losses = []
    for _ in range(steps):
        h = x
        for weight in weights:
            h = minidl.tanh(Square.apply(h, weight, transposed))
        loss = (last(h) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses[0], losses[-1]


ends = {transposed: train(transposed) for transposed in (False, True)}

# %% tags=["hide-input"]
Markdown(
    f"Right: the loss falls from {ends[False][0]:.1f} to {ends[False][1]:.4f}. With the transposed `dx` it falls "
    f"from {ends[True][0]:.1f} to {ends[True][1]:.4f}. The wrong network learns, too, only worse. Whoever sees "
    "the second curve alone blames the rate, the data or the size of the network."
)

# %% [markdown]
# **The trap.** The last layers get right gradients in any case, and they make up for much. So "the loss goes down"
# is no test of a backward pass. Test with three different sizes, and more than one sample. A published library
# forgot the sum over the batch in the gradient of a bias; the test that came with the repair has a batch of one,
# which passed before, and a larger one, which failed ([mlpack#3679](https://github.com/mlpack/mlpack/pull/3679)).
#
# A second trap is the mean. A loss is usually a mean over the batch, so each sample's `dy` already contains
# the factor 1 / N. The layer only adds. (Users have asked why:
# [mxnet#2427](https://github.com/apache/mxnet/issues/2427).) If it divides as well, the gradient is N times too
# small, and nothing looks wrong but the rate:

# %%
for size in 32, 256:
    layer = minidl.nn.Linear(10, 3)
    out = layer(minidl.randn(size, 10))
    (dy_mean,) = minidl.autograd.grad(out.square().mean(), out, retain_graph=True)
    (dy_sum,) = minidl.autograd.grad(out.square().sum(), out)
    ratio = (dy_sum / dy_mean).mean().item()
    print(f"batch of {size}: dy of the sum is {ratio:.0f} = {size} · 3 times that of the mean")

# %% [markdown]
# ## A gradient made of few numbers
#
# A sum of N outer products is a matrix of rank N at most, however large it is. Its singular values show how many products
# it would take to write it down: those beyond the rank are 0. Here they are for the gradient of a layer with 100 inputs and 80
# outputs, in a small network with ten classes.

# %%
found = {}
for size in 4, 16, 64:
    net = minidl.nn.Sequential(
        minidl.nn.Linear(100, 80, dtype=minidl.float64), minidl.nn.Tanh(),
        minidl.nn.Linear(80, 10, dtype=minidl.float64),
    )  # fmt: skip
    labels = minidl.randint(0, 10, (size,))
    F.cross_entropy(net(minidl.randn(size, 100, dtype=minidl.float64)), labels).backward()
    found[size] = np.linalg.svd(net[0].weight.grad.numpy(), compute_uv=False)

# %% tags=["hide-input"]
counts = {size: int((values > 1e-12 * values[0]).sum()) for size, values in found.items()}
show(
    ranks(found),
    "The singular values of a weight's gradient, largest first, logarithmic, for three sizes of the batch. Each curve "
    f"ends after as many values as the batch has samples: {counts[4]}, {counts[16]} and {counts[64]}, although the "
    "matrix could have 80.",
)

# %% [markdown]
# (Why is there a step after the ninth? The gradient comes from ten classes, whose gradients add up to 0 in each
# sample, page 5. Without the tanh between the layers, nothing would be left after nine.)
#
# ## What this settles about AlexNet

# %%
model = minidl.vision.models.alexnet()
weights = {name: part.weight for name, part in model.named_modules() if hasattr(part, "weight")}
sides = dict(zip(weights, (55, 27, 13, 13, 13, 1, 1, 1), strict=True))
numbers = {name: weight.numel() for name, weight in weights.items()}
products = {name: numbers[name] * sides[name] ** 2 for name in weights}
full = [name for name in weights if weights[name].ndim == 2]
for name in full:
    print(f"{name:18} {tuple(weights[name].shape)!s:13} {numbers[name]:>10,} weights")

# %% tags=["hide-input"]
outputs, inputs = weights[full[0]].shape
share, work = (sum(d[name] for name in full) / sum(d.values()) for d in (numbers, products))
factors = 128 * (outputs + inputs)
Markdown(
    f"- **Three linear layers hold {100 * share:.0f} % of the weights and do {100 * work:.0f} % of the multiplications.** "
    "In a linear layer each weight is used once for a sample; in a convolution once for each place.\n"
    f"- **That is why batches matter.** {full[0]} alone has {4 * numbers[full[0]] / 1e6:.0f} MB of weights in float32. For one "
    "sample, each of them is fetched from memory for a single multiplication; in a batch of 128, for 128.\n"
    f"- **The gradient is cheap to send.** The gradient of {full[0]} has {numbers[full[0]] / 1e6:.1f} million numbers, but its factors "
    f"`dy` and `x` for a batch of 128 have only {factors / 1e6:.1f} million: {numbers[full[0]] / factors:.0f} times fewer, and the same "
    "information. Several machines that share the work of the linear layers exchange activations and "
    "not gradients of weights for this reason "
    "([Krizhevsky 2014](https://arxiv.org/abs/1404.5997))."
)

# %% [markdown]
# ## Exercises
#
# ```bash
# python -m minidl.course check exercises/03_linear.py
# ```
#
# 1. `linear`: the forward pass.
# 2. `linear_backward`: the three gradients.
# 3. `weight_gradients`: the outer product of each sample, without their sum.
#
# In the table look at the column "a batch of 1", which lets many mistakes pass. And only one probe finds a bias that goes
# down the samples: where NumPy can't add it, everyone notices.

# %% tags=["hide-input"]
table("03_linear")
