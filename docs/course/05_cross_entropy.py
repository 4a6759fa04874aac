# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Softmax and cross-entropy
#
# The last layer of a classifier gives a score for each class, its *logits* $z$. They may be any numbers. Two
# steps make a loss of them. The **softmax** turns them into probabilities; the **cross-entropy** is the negative
# logarithm of the probability of the true class $t$:
#
# $$ p_c = \frac{e^{z_c}}{\sum_k e^{z_k}} \qquad L = -\log p_t = \log \sum_k e^{z_k} - z_t $$
#
# The right-hand form shows the gradient. The derivative of $\log \sum_k e^{z_k}$ with respect to $z_c$
# is $e^{z_c} / \sum_k e^{z_k}$, which is $p_c$ itself, and $-z_t$ adds $-1$ for the true class. With $y$ the vector of
# zeros that has a 1 at the true class:
#
# $$ \frac{\partial L}{\partial z} = p - y $$
#
# What the network said, minus what it should have said.

# %%
import numpy as np

import minidl
from minidl.autograd import Function
from minidl.course import Markdown, agree, explorable, source, table
from minidl.course.figures.common import show
from minidl.course.figures.cross_entropy import bars, margins
from minidl.errors import GradcheckError
from minidl.nn import cross_entropy as page
from minidl.nn import functional as F

classes = ["cat", "dog", "ship", "car", "frog"]
logits = minidl.tensor(
    [[1.0, 0.6, -0.4, 0.0, 0.3], [4.5, 1.0, -1.0, 0.0, 0.0], [0.0, 4.5, -1.0, 0.0, 0.5]],
    dtype=minidl.float64,
    requires_grad=True,
)
target = minidl.tensor([0, 0, 0])  # three pictures of cats
losses = F.cross_entropy(logits, target, reduction="none")
losses.sum().backward()
p, gradient = F.softmax(logits, 1).detach().numpy(), logits.grad.numpy()

# %% tags=["hide-input"]
names = "unsure", "sure and right", "sure and wrong"
samples = [
    (f"{name}: loss {loss:.2f}", row, 0, slope)
    for name, loss, row, slope in zip(names, losses.detach().numpy(), p, gradient, strict=True)
]
drawing = show(
    bars(samples, classes),
    "Three columns of bars, one for each of three pictures of a cat. Above: the probabilities of five classes, with the "
    "true class outlined up to 1. Below: the gradient, which is the height of the bar for the wrong classes and what is "
    "missing up to 1, downwards, for the true one. It is large where the network is unsure, nearly nothing where "
    "it is sure and right, and nearly 1 for two classes where it is sure and wrong.",
)
drawing

# %% tags=["hide-input"]
Markdown(
    "In each column the gradients add up to 0: what the true class is pulled up, the others are pushed "
    "down, in proportion to their probabilities. No entry exceeds 1, however wrong the network is, though "
    f"the loss of the third picture is {losses[2].item() / losses[1].item():.0f} times that of the second."
)

# %% [markdown]
# Change the logits and the true class. Add the same number to all five logits: nothing happens. Then take steps,
# and watch how the pull fades as the answer becomes right:

# %% tags=["hide-input"]
start = dict(zip(["z0", "z1", "z2", "z3", "z4"], logits.detach().numpy()[2].tolist(), strict=True))
explorable("logits", drawing, **start, target=0)

# %% [markdown]
# ## The code
#
# From [`minidl/nn/cross_entropy.py`](../../minidl/nn/cross_entropy.py). It can do more than our formula:
# `q` says how much each class of each sample counts. For a plain class index it is $y$, and `q.sum` is 1.

# %% tags=["hide-input"]
source(page.forward)

# %% tags=["hide-input"]
source(page.backward)

# %% [markdown]
# `grad` is the gradient that comes in, for each sample. The loss of a batch is the *mean* of the
# losses of its $N$ samples, so `grad` is $1/N$. Saved are `q` and the log-probabilities `logs`, whose exponential
# is $p$: the backward pass needs nothing else. `@in_float64` computes in float64 if the logits are
# float16 ([page 14](14_precision.md) says why). Kernel and plain code agree:

# %%
minidl.manual_seed(0)
z = minidl.randn(64, 1000, dtype=minidl.float64, requires_grad=True)
t = minidl.randint(0, 1000, (64,))
fast = F.cross_entropy(z, t)
(fast_dz,) = minidl.autograd.grad(fast, [z])
with minidl.reference():
    plain = F.cross_entropy(z, t)
    (plain_dz,) = minidl.autograd.grad(plain, [z])
print("same loss:", np.isclose(fast.item(), plain.item(), rtol=1e-12))
print("same gradient:", np.allclose(fast_dz.numpy(), plain_dz.numpy(), rtol=1e-12, atol=0))

# %% [markdown]
# The options that our formula lacks: a weight for each class, labels that don't count, smoothed labels, probabilities in
# place of labels. `agree` raises an error unless kernel, plain code and gradcheck give the same:

# %%
scores = np.random.default_rng(0).standard_normal((6, 5))
labels, weight = minidl.tensor([0, 4, 2, 1, 2, 3]), minidl.linspace(0.5, 2, 5, dtype=minidl.float64)
for how in (
    {"ignore_index": 2},
    {"weight": weight},
    {"weight": weight, "ignore_index": 2, "label_smoothing": 0.1},
    {"reduction": "sum"},
):
    print(*how, agree(lambda z: F.cross_entropy(z, labels, **how), scores))
shares = np.exp(scores[::-1]) / np.exp(scores[::-1]).sum(1, keepdims=True)
soft = agree(lambda z, q: F.cross_entropy(z, q, label_smoothing=0.1), scores, shares)
print("probabilities as labels", soft)

# %% [markdown]
# ## The first trap: exp
#
# Written as the formula stands, the softmax fails for logits that are not even large. In float32, $e^{89}$ is too large
# for a number, and $e^{-104}$ is 0. The largest of the three logits below is always one ahead of the second:


# %%
def as_it_stands(z):
    e = np.exp(z)
    return np.log(e / e.sum())


def log_of_softmax(z):
    e = np.exp(z - z.max())
    return np.log(e / e.sum())


with np.errstate(all="ignore"):
    for shift, gap in (0, 1), (80, 1), (100, 1), (-120, 1), (0, 150):
        z3 = np.array([shift, shift - 1, shift - 1 - gap], np.float32)
        right = F.log_softmax(minidl.tensor(z3), 0).numpy()
        print(f"logits {z3[0]:6.0f} {z3[1]:6.0f} {z3[2]:6.0f}")
        for name, answer in (
            ("as it stands", as_it_stands(z3)),
            ("log of softmax", log_of_softmax(z3)),
            ("library", right),
        ):
            print(f"{'':8}{name:15}", "  ".join(f"{v:8.2f}" for v in answer))

# %% [markdown]
# The first cure is to subtract the largest logit. That changes nothing ($e^{z - m} / \sum e^{z - m}$: the factor
# $e^{-m}$ cancels), and then all powers lie between 0 and 1 and their sum between 1 and $C$. It has to be the largest of
# *each row*. With the largest of the whole batch, a row that lies far below it becomes 0 divided by 0.
#
# The second cure is to take the logarithm on paper: $\log p_c = z_c - m - \log \sum_k e^{z_k - m}$. The logarithm
# of a quotient that has become 0 is minus infinity; a difference of two moderate numbers is exact. That is why
# cross-entropy takes logits, and not probabilities.
#
# A third cure, which is none, is a small number added before the logarithm. In a metric it only puts a ceiling
# on the number shown ([apache/mxnet#4594](https://github.com/apache/mxnet/pull/4594)). In a loss
# the infinity is gone, and so is the gradient:

# %%
margin = np.linspace(-30, 10, 161)


def along(loss_of):
    """Return the loss and its slope for two classes, the true one ahead by `margin`."""
    ahead = minidl.tensor(margin, requires_grad=True)
    loss = loss_of(minidl.stack([ahead, minidl.zeros_like(ahead)], 1))
    loss.sum().backward()
    return loss.detach().numpy(), ahead.grad.numpy()


found = {
    "cross-entropy": along(lambda z: -F.log_softmax(z, 1)[:, 0]),
    "−log(p + 1e-9)": along(lambda z: -(F.softmax(z, 1)[:, 0] + 1e-9).log()),
    "(1 − p)²": along(lambda z: (1 - F.softmax(z, 1)[:, 0]) ** 2),
}

# %% tags=["hide-input"]
show(
    margins(
        margin,
        {name: loss for name, (loss, _) in found.items()},
        {name: slope for name, (_, slope) in found.items()},
    ),
    "Left: three losses against the margin of the true class, from very wrong to right. Cross-entropy rises in a straight line "
    "toward wrong; with a small number in the logarithm it stops rising; the squared error never exceeds 1. Right: "
    "their pull on the true logit. That of cross-entropy stays 1 where the network is wrong, that of the second falls to 0, "
    "that of the squared error is 0 but near the middle.",
)

# %% tags=["hide-input"]
ceiling = found["−log(p + 1e-9)"][0].max()
pulls = [abs(slope[0]) for _, slope in found.values()]
Markdown(
    f"With $10^{{-9}}$ in the logarithm the loss has a ceiling at {ceiling:.1f}. A sample that is 30 logits off "
    f"is hardly corrected any more: its pull is {pulls[1]:.0e}. That of the squared error is {pulls[2]:.0e}. "
    "Cross-entropy pulls with its full strength of 1: its logarithm and the exponential of the softmax cancel, "
    "and that is what makes the two a pair."
)

# %% [markdown]
# ## The second trap: a batch of one
#
# Three backward passes with a mistake each. `gradcheck` compares them with differences, first on one sample,
# then on three:


# %%
def wrong(rule):
    """Return a cross-entropy with a backward of its own."""

    class Loss(Function):
        @staticmethod
        def forward(ctx, z, t):
            logs = z - z.max(1, keepdims=True)
            logs = logs - np.log(np.exp(logs).sum(1, keepdims=True))
            ctx.p, ctx.t = np.exp(logs), t
            return -logs[np.arange(len(z)), t].mean()

        @staticmethod
        def backward(ctx, grad):
            return grad * rule(ctx.p.copy(), ctx.t), None

    return Loss.apply


def not_divided(p, t):
    p[np.arange(len(t)), t] -= 1
    return p


def all_pairs(p, t):
    p[:, t] -= 1  # every row, at the classes of all samples
    return p / len(t)


def true_class_alone(p, t):
    one_hot = np.eye(p.shape[1])[t]
    return one_hot * (p - 1) / len(t)


z = minidl.randn(3, 4, dtype=minidl.float64, requires_grad=True)
t = np.array([2, 0, 3])
for rule in not_divided, all_pairs, true_class_alone:
    for size in 1, 3:
        part = z[:size].detach().requires_grad_()
        try:
            minidl.gradcheck(lambda z: wrong(rule)(z, t[: len(z)]), (part,))
            verdict = "accepted"
        except GradcheckError:
            verdict = "found"
        print(f"{rule.__name__:17} batch of {size}: {verdict}")

# %% [markdown]
# A batch of one hides everything that goes on between samples. The missing $1/N$ is the most patient of these mistakes:
# training works, only the learning rate now means something else for each size of batch. With 128 samples the
# gradient is 128 times as large.
#
# ## What this settles about AlexNet
#
# **The first loss.** Before training, a network with small initial weights gives nearly equal logits, so each of
# the $C$ classes has probability $1/C$ and the loss is $\log C$. That is the cheapest test there is. Here is the paper's
# network, fresh:

# %%
from minidl.vision.models import alexnet

minidl.manual_seed(0)
net = alexnet("paper", num_classes=1000).eval()
with minidl.no_grad():
    z = net(minidl.randn(2, 3, 227, 227))
first = F.cross_entropy(z, minidl.tensor([3, 141])).item()
print(f"first loss {first:.2f}, log 1000 = {np.log(1000):.2f}")

# %% tags=["hide-input"]
minidl.manual_seed(1)
loud = F.cross_entropy(10 * minidl.randn(2000, 1000), minidl.randint(0, 1000, (2000,))).item()
Markdown(
    "It is a little above, as the logits are not quite equal. A first loss far above means that the network is "
    "sure before it has seen "
    f"anything: with random logits of standard deviation 10 it is {loud:.0f}. A loss that *stays* at $\\log C$ means that nothing is learned."
)

# %% [markdown]
# **What the paper maximizes** is, in its words, "the average across training cases of the log-probability of the correct
# label": minus our loss, with the mean over the batch.
#
# **Averaging ten crops.** At test the paper averages the *softmax's* outputs over ten crops of a picture. To average the
# logits is another method, and it can give another answer. Three crops, two classes:

# %%
crops = minidl.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 10.0]])
for name, mean in (
    ("probabilities", F.softmax(crops, 1).mean(0)),
    ("logits", F.softmax(crops.mean(0), 0)),
):
    print(f"mean of the {name:14} class {mean.argmax().item()}, with {mean.max().item():.2f}")

# %% [markdown]
# In probabilities each crop has one vote to divide among the classes. In logits a single crop that is very
# sure outvotes the others. For one crop there is no difference, and not even the softmax is needed: it keeps the
# order of the logits.
#
# ## Exercises
#
# ```bash
# python -m minidl.course start exercises           # writes exercises/05_cross_entropy.py and others
# python -m minidl.course check exercises/05_cross_entropy.py
# ```
#
# 1. `log_softmax`: for scores of any size.
# 2. `cross_entropy`: the mean over a batch.
# 3. `cross_entropy_backward`: its gradient.
#
# The column "a batch of 1" is the second trap in numbers.

# %% tags=["hide-input"]
table("05_cross_entropy")
