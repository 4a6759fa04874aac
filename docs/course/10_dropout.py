# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Dropout
#
# In training, dropout sets activations to 0 at random. Each step trains another thinned network, and no
# unit can rely on one particular neighbor. With a mask $m$ of zeros and ones, where $P(m = 0) = p$:
#
# | | training | test |
# |---|---|---|
# | inverted dropout, today's form | $y = x \, m \,/\, (1 - p)$ | $y = x$ |
# | plain dropout, 2012 | $y = x \, m$ | $y = x \, (1 - p)$ |
#
# Either way the mean over all masks is the same in training as at test. The gradient is as simple as it
# gets: $y$ is $x$ times a constant, and the constant is the mask of *this* forward pass.

# %%
import numpy as np

import minidl
from minidl.course import Markdown, agree, source, table
from minidl.course.figures.common import show
from minidl.course.figures.dropout import holes, means
from minidl.nn import dropout as page
from minidl.nn import functional as F

minidl.manual_seed(1)
x = minidl.randn(5, 5, dtype=minidl.float64, requires_grad=True)
y = F.dropout(x, p=0.5)
dy = minidl.randn(5, 5, dtype=minidl.float64)
y.backward(dy)
mask = (y != 0).numpy().astype(float)

# %% tags=["hide-input"]
show(
    holes(x.detach().numpy(), mask, y.detach().numpy(), x.grad.numpy()),
    f"Four grids of 5 by 5 numbers: input, mask, output and gradient. The mask has {int(mask.sum())} ones; "
    "output and gradient have holes at exactly the same places where the mask has none.",
)

# %% tags=["hide-input"]
kept = int(mask.sum())
Markdown(
    f"{kept} of 25 activations are kept, and each is doubled. The gradient has its holes at the same places "
    "as the output: what did not reach the loss can't be blamed for it."
)

# %% [markdown]
# ## The code
#
# From [`minidl/nn/dropout.py`](../../minidl/nn/dropout.py). `scale` is $1/(1-p)$ today and 1 in the form
# of 2012.

# %% tags=["hide-input"]
source(page.forward)

# %% tags=["hide-input"]
source(page.backward)

# %% [markdown]
# The mask depends on the seed and on an activation's number alone. So every kernel, any number of
# threads, the plain code and a GPU draw the same mask:

# %%
big = minidl.randn(64, 4096)
minidl.manual_seed(7)
fast = F.dropout(big, 0.5).numpy()
minidl.manual_seed(7)
with minidl.reference():
    plain = F.dropout(big, 0.5).numpy()
print("kernel and plain code agree:", np.array_equal(fast, plain))


def seeded(x):
    minidl.manual_seed(7)
    return F.dropout(x, 0.3)


numbers = np.random.default_rng(0).standard_normal(100)
print("and with gradcheck, too:", agree(seeded, numbers))

# %% [markdown]
# ## The experiment: why scale at all?
#
# Draw many masks for one unit with activation 1, dropped with $p = 0.2$, and follow the mean output:

# %%
p, unit = 0.2, minidl.ones(20_000, dtype=minidl.float64)
minidl.manual_seed(0)
inverted = F.dropout(unit, p).numpy()
minidl.manual_seed(0)
plain_form = F.plain_dropout(unit, p).numpy()
draws = np.unique(np.geomspace(5, len(unit), 60).astype(int))
forms = {
    "inverted (today)": np.cumsum(inverted)[draws - 1] / draws,
    "plain (2012), in training": np.cumsum(plain_form)[draws - 1] / draws,
}

# %% tags=["hide-input"]
show(
    means(draws, forms, 1.0),
    "The mean output of one unit against the number of masks, on a logarithmic axis. The curve of inverted "
    "dropout settles at 1, the curve of the form of 2012 at 1 minus p.",
)

# %% tags=["hide-input"]
Markdown(
    f"After {len(unit):,} masks the means are {forms['inverted (today)'][-1]:.3f} and "
    f"{forms['plain (2012), in training'][-1]:.3f}. A network trained with the second must multiply its "
    "activations by 1 - p at test, as the paper does with its factor of one half, or the next layer gets "
    "larger inputs than it was trained on."
)

# %% [markdown]
# **The trap.** $p = 1/2$ hides everything. There the share that is dropped equals the share that is kept,
# so `1 / p` instead of `1 / (1 - p)` gives the same numbers. The mistake has been made in public
# ([Theano/theanets#123](https://github.com/lmjohns3/theanets/issues/123)). Test with another $p$.
#
# A second one: to rebuild the mask in the backward pass from `y == 0`. After a ReLU many activations are 0
# by themselves, and those were not dropped.
#
# ## What this settles about AlexNet
#
# - The paper drops half of fc6's and fc7's outputs in training and halves them at test: plain dropout.
#   `minidl.nn.PlainDropout` does that. Most later programs use the inverted form; weights go from one to
#   the other by a factor in the *next* layer (exercise 3).
# - **Before or after?** The paper drops the *outputs* of fc6 and fc7. torchvision's AlexNet and many
#   programs drop the *inputs* of the same two layers instead: pool5's output and fc6's. These are
#   different networks in training, and equal ones at test.

# %%
from minidl.vision.models import alexnet

for variant in "paper", "torchvision":
    kinds = [type(layer).__name__ for layer in alexnet(variant, num_classes=1).modules()]
    tail = [kind for kind in kinds if kind in ("Linear", "Dropout", "PlainDropout")]
    print(f"{variant:12} {' → '.join(tail)}")

# %% [markdown]
# ## Exercises
#
# ```bash
# python -m minidl.course check exercises/10_dropout.py
# ```
#
# 1. `dropout`: given the random numbers, the forward pass for training and test.
# 2. `dropout_backward`: its gradient.
# 3. `plain_to_inverted`: convert a layer trained in 2012.

# %% tags=["hide-input"]
table("10_dropout")
