# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Is the gradient right? Differences
#
# A wrong backward pass rarely crashes. The network still learns, only worse, and nobody knows why. So
# every layer of this course gets a test that needs no formula: move one input a little to both sides,
# and watch the output.
#
# $$ f'(x) \approx \frac{f(x + \varepsilon) - f(x - \varepsilon)}{2\varepsilon} $$
#
# This is a *central difference*. It uses the forward pass alone, so it can't share a mistake with the
# backward pass. Why both sides? Taylor's series answers:
#
# $$ f(x \pm \varepsilon) = f(x) \pm \varepsilon f'(x) + \frac{\varepsilon^2}{2} f''(x) \pm \frac{\varepsilon^3}{6} f'''(x) + \dots $$
#
# In the difference of the two the terms with an even power cancel, and what remains is $f'(x)$ with an
# error of about $\varepsilon^2 f'''(x) / 6$. A one-sided difference, $(f(x + \varepsilon) - f(x)) / \varepsilon$, keeps
# the term with $f''$: its error is about $\varepsilon f''(x) / 2$, much more.
#
# ## How small a step?
#
# A smaller step is better, until it is not: a computer rounds. The function $x^3$ shows it well,
# because its third derivative is 6, so that the error of a central difference is $\varepsilon^2$ exactly. Here is
# the largest error among 200 numbers between 1 and 2, for steps from 1 down to $10^{-14}$.

# %%
import numpy as np

import minidl
from minidl.autograd import differences
from minidl.course import Markdown, explorable, source, table
from minidl.course.figures.common import show
from minidl.course.figures.gradcheck import errors, secants
from minidl.nn import functional as F


def difference(f, x, step, sides=2):
    """Return the central difference of f at x, or the one-sided one."""
    return (f(x + step) - (f(x - step) if sides == 2 else f(x))) / (sides * step)


def cube(x):
    return x * x * x


minidl.manual_seed(1)
x = minidl.rand(200, dtype=minidl.float64) + 1
steps = 10.0 ** np.arange(-14, 0.1, 0.5)


def worst(numbers, step, sides=2):
    """Return the largest error of the slope of x³."""
    slopes = 3 * numbers.numpy().astype(float) ** 2
    return np.abs(difference(cube, numbers, step, sides).numpy() - slopes).max()


found = {
    "central, float64": np.array([worst(x, step) for step in steps]),
    "one-sided, float64": np.array([worst(x, step, 1) for step in steps]),
    "central, float32": np.array([worst(x.float(), step) for step in steps]),
}

# %% tags=["hide-input"]
units = {"central, float64": 2.0**-53, "central, float32": 2.0**-24}
best = {name: int(values.argmin()) for name, values in found.items()}
drawing = show(
    errors(steps, found, units),
    "The error of a slope over the step, both axes logarithmic: three curves shaped like a V. From right "
    "to left each falls until rounding takes over, then rises again. The central difference in float64 "
    f"reaches {found['central, float64'].min():.0e}, the one-sided {found['one-sided, float64'].min():.0e}, "
    f"the central difference in float32 only {found['central, float32'].min():.0e}.",
)
drawing

# %% tags=["hide-input"]
lines = [
    f"- {name}: best {found[name][at]:.0e}, at a step near {steps[at]:.0e}"
    for name, at in best.items()
]
Markdown("\n".join(lines))

# %% [markdown]
# On the right of each V Taylor's term rules: one decade less in the step gives two decades less in the
# error (one decade for the one-sided difference). On the left rounding rules. If numbers are stored with
# a relative error $u$, the two values of $f$ are wrong by about $u |f|$, and the division by $2\varepsilon$ makes that
# about $u |f| / \varepsilon$. Their sum is least where its derivative by $\varepsilon$ is 0:
#
# $$ \varepsilon^3 \approx \frac{3 u |f|}{|f'''|} $$
#
# So the best step is near the cube root of $u$, and the best error near $u^{2/3}$. For float64 that
# leaves ten digits, enough to be sure. For float32 it leaves four or five, and small terms of a layer
# get lost below them: *check in float64*, even if the network runs in float32.
#
# Try it. The function ReLU is here, too: bring $x$ close to 0.

# %% tags=["hide-input"]
explorable("epsilon_curve", drawing, x=1.3, power=6, curve="cube", sides=2)

# %% [markdown]
# ## The code
#
# A layer has many inputs and many outputs. Then the slopes form a matrix, the Jacobian: entry $(j, k)$
# says how output $k$ moves with input $j$. One step of one input gives all slopes by that input. This is
# what `minidl.gradcheck` does, from
# [`minidl/autograd/differences.py`](../../minidl/autograd/differences.py):

# %% tags=["hide-input"]
source(differences.difference)

# %% tags=["hide-input"]
source(differences.jacobian)

# %% [markdown]
# The backward pass gives the same numbers in another way: for each output, hand it a gradient that is 1
# there and 0 elsewhere, and it returns that output's slopes by all inputs. Let us do both for a
# convolution. Normally a fast kernel computes it; `minidl.reference()` runs the plain code. Both must
# agree with the differences, and with each other.

# %%
image = minidl.randn(1, 2, 4, 4, dtype=minidl.float64)
weight = minidl.randn(3, 2, 3, 3, dtype=minidl.float64)


def by_differences(f, x, step=1e-5):
    """Return the Jacobian, (inputs, outputs)."""
    columns = []
    for place in range(x.numel()):
        unit = np.zeros(x.numel())
        unit[place] = step
        move = minidl.tensor(unit.reshape(x.shape))
        columns.append(((f(x + move) - f(x - move)) / (2 * step)).numpy().ravel())
    return np.stack(columns)


def by_backward(f, x):
    """Return the same matrix from the backward pass: a column for each output."""
    x = x.clone().requires_grad_()
    y = f(x)
    rows = []
    for unit in np.eye(y.numel()):
        weights = minidl.tensor(unit.reshape(y.shape))
        rows.append(minidl.autograd.grad(y, x, weights, retain_graph=True)[0].numpy().ravel())
    return np.stack(rows, axis=1)


def conv(x):
    return F.conv2d(x, weight, padding=1)


measured, kernel = by_differences(conv, image), by_backward(conv, image)
with minidl.reference():
    plain = by_backward(conv, image)
print("Jacobian:", measured.shape)
print("plain code and differences agree to 1e-8:", np.allclose(plain, measured, atol=1e-8, rtol=0))
print("kernel and plain code agree to 1e-13:", np.allclose(kernel, plain, atol=1e-13, rtol=0))

# %% tags=["hide-input"]
Markdown(
    f"{measured.shape[0]} inputs need {2 * measured.shape[0]} forward passes, and "
    f"{measured.shape[1]} outputs as many backward passes. A check is slow: use small arrays."
)

# %% [markdown]
# ## Kinks
#
# Where a function has a corner, a difference measures something else. ReLU's slope is 0 on the left of 0
# and 1 on the right. If the two points lie on different sides of the corner, the line between them has
# a slope that belongs to neither:

# %%
points = []
for here in (0.6, 0.1, 0.0):
    t = minidl.tensor(here, dtype=minidl.float64, requires_grad=True)
    F.relu(t).backward()
    points.append((here, 0.3, t.grad.item(), round(difference(F.relu, t.detach(), 0.3).item(), 4)))

# %% tags=["hide-input"]
line = np.linspace(-1, 1, 201)
show(
    secants(
        F.relu(minidl.tensor(line)).numpy(),
        line,
        points,
        ["far from the corner", "near the corner", "on the corner"],
    ),
    "Three drawings of ReLU, each with a point, the tangent of the backward pass in blue and a dashed red "
    "line through the points a step to both sides. Far from the corner both slopes are 1. Near it the "
    f"backward says 1 and the difference {points[1][3]:.2g}; on it the backward says 0 and the difference "
    f"{points[2][3]:.2g}.",
)

# %% [markdown]
# In the middle the difference is wrong and the backward is right. On the right there is no slope, and both
# are answers to a question that has none. `gradcheck` recognizes a corner: it compares the slopes to the
# left and to the right for a step, 8 steps and 16 steps. For a smooth function the two slopes come together
# as the step shrinks; at a corner they don't.

# %%
from minidl.errors import GradcheckError

try:
    minidl.gradcheck(F.relu, minidl.tensor([0.5, 0.0], dtype=minidl.float64, requires_grad=True))
except GradcheckError as error:
    print(error)

# %% [markdown]
# A much-read [course](https://cs231n.github.io/neural-networks-3/) warns of this with the example
# $x = -10^6$ and a step above $10^{-6}$. That is a slip: a million below zero, no such step reaches
# the corner. It must be $-10^{-6}$:

# %%
for here in (-1e6, -1e-6):
    t = minidl.tensor(here, dtype=minidl.float64)
    print(f"x = {here:g}: difference {difference(F.relu, t, 1e-5).item():.3g}, slope 0")

# %% [markdown]
# ## The experiment: a check that accepts a wrong backward
#
# A loss is one number, so it seems natural to check `f(x).sum()`. Here is a tanh whose backward ignores
# the gradient that comes in. In a network that gradient is hardly ever 1, and this backward is useless.

# %%
from minidl.autograd import Function


class Deaf(Function):
    """tanh, with a mistake in its backward."""

    @staticmethod
    def forward(ctx, x):
        ctx.y = np.tanh(x)
        return ctx.y

    @staticmethod
    def backward(ctx, grad):
        return 1 - ctx.y**2  # should be multiplied by grad


def agrees(loss, x, step=1e-6):
    """Compare the gradient of a loss with its differences."""
    (slopes,) = minidl.autograd.grad(loss(x), x)
    numeric = by_differences(loss, x.detach(), step)[:, 0].reshape(x.shape)
    return np.allclose(slopes.numpy(), numeric, atol=1e-7, rtol=0)


t = minidl.randn(5, dtype=minidl.float64, requires_grad=True)
dy = minidl.randn(5, dtype=minidl.float64)
print("loss = sum of y:         ", agrees(lambda x: Deaf.apply(x).sum(), t))
print("loss = sum of dy times y:", agrees(lambda x: (dy * Deaf.apply(x)).sum(), t))
try:
    minidl.gradcheck(Deaf.apply, t)
except GradcheckError as error:
    print("gradcheck:", str(error).splitlines()[0])

# %% [markdown]
# **The trap.** The gradient of a sum is 1 for every output, and nobody misses a factor of 1. The same
# blindness hides a backward that reads its gradient in the wrong order, or transposed: ones look alike
# from every side. Weight the outputs with random numbers, or take the Jacobian.
#
# Three more traps, all of them exercises:
#
# - *One number for all.* A mean error, or an error divided by the largest entry, lets one wrong entry drown
#   among many right ones. Bugs live at edges, and an image has few edge pixels.
# - *NaN.* Every comparison with NaN is false. "No entry is too far off" holds for NaN; "each entry is close
#   enough" does not. Write the second.
# - *Integers.* An array of integers takes a step of $10^{-4}$, and rounds it away.
#
# ## What this settles about AlexNet

# %%
sizes = {
    "conv1": (96, 55),
    "conv2": (256, 27),
    "conv3": (384, 13),
    "conv4": (384, 13),
    "conv5": (256, 13),
}
neurons = {name: channels * side * side for name, (channels, side) in sizes.items()}
relus = sum(neurons.values()) + 2 * 4096
inputs = 3 * 227 * 227
step = 1e-6
print(f"ReLUs: {relus:,}")
print(f"entries of conv1's Jacobian: {inputs * neurons['conv1']:.1e}")

# %% tags=["hide-input"]
near = relus * 2 * step / np.sqrt(2 * np.pi)
Markdown(
    f"- **The whole network at once is the wrong thing to check.** It has {relus:,} ReLUs. If their inputs are "
    f"spread like a standard normal distribution, {near:.2f} of them lie within a step of 1e-6 of the corner on "
    f"average, and {100 * (1 - np.exp(-near)):.0f} % of all images have at least one. Moreover, one pixel moves "
    "the loss by little beside the loss itself, so rounding takes most digits. Check each layer alone.\n"
    f"- **The Jacobian of conv1** has {inputs * neurons['conv1']:.1e} entries, "
    f"{inputs * neurons['conv1'] * 8 / 1e9:.0f} GB in float64. `gradcheck` compares the whole matrix only up "
    "to 16,384 entries. Above that it draws random vectors $u$ and $v$ and compares one number, $v^T J u$: a "
    "step along $u$ on one side, one backward pass with $v$ on the other. A wrong entry changes that number, "
    "and a binary search finds where.\n"
    "- **float32 is enough to train, not to check.** Even the best step in float32 leaves an error of "
    f"{found['central, float32'].min():.0e} in a slope between 3 and 12. Training lives with less: the gradient of a "
    "batch is an estimate anyway. A check compares two numbers that must be equal."
)

# %% [markdown]
# A layer has the same code at every size, so a check of a small one counts for the large one, *if the small
# one needs all of that code*: more than one channel, more than one sample, sides that differ, windows that
# overlap, padding, groups. The following pages show what happens otherwise.
#
# ## Exercises
#
# ```bash
# python -m minidl.course start exercises           # writes exercises/01_gradcheck.py and others
# python -m minidl.course check exercises/01_gradcheck.py
# ```
#
# 1. `numerical_jacobian`: central differences for a function of arrays.
# 2. `relative_error`: one number that says how far two gradients are apart.
# 3. `backward_is_right`: the check itself. The judge gives it right and wrong backward passes.
#
# The judge tries each function on several inputs, its *probes*. Here is which probe finds which
# mistake; a column that finds little is a test that would have let you through.

# %% tags=["hide-input"]
table("01_gradcheck")
