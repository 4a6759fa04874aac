# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # The step: momentum and decay
#
# The gradient says in which direction the loss grows. What remains is to move the weights, and there
# are two ways to write the same idea. With gradient $g$, weights $w$, rate $\varepsilon$, momentum $m$ and
# decay $\lambda$:
#
# | PyTorch | the AlexNet paper, Caffe |
# |---|---|
# | $b \leftarrow m\,b + g + \lambda w$ | $v \leftarrow m\,v - \varepsilon\lambda w - \varepsilon g$ |
# | $w \leftarrow w - \varepsilon\,b$ | $w \leftarrow w + v$ |
#
# On the left the velocity is a running sum of gradients, and the rate is applied when the weights move.
# On the right the rate is already inside the velocity. As long as the rate is constant, $v = -\varepsilon b$:
# both take the same path. The rate of AlexNet was not constant.

# %%
import numpy as np

import minidl
from minidl import optim
from minidl.course import Markdown, explorable, source, table
from minidl.course.figures.common import show
from minidl.course.figures.step import paths, speeds, valley


def path(in_velocity, rates, gradient=1.0, momentum=0.9):
    """Return the weight before each step, and after the last, under a constant gradient."""
    w = minidl.nn.Parameter(minidl.zeros(1, dtype=minidl.float64))
    optimizer = optim.SGD([w], lr=rates[0], momentum=momentum, rate_in_velocity=in_velocity)
    found = [0.0]
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        w.grad = minidl.tensor([gradient], dtype=minidl.float64)
        optimizer.step()
        found.append(w.item())
    return np.array(found)


rates = [0.1] * 15 + [0.01] * 35
torch_form, paper_form = path(False, rates), path(True, rates)

# %% tags=["hide-input"]
show(
    paths({"PyTorch's form": torch_form, "the paper's form": paper_form}, 15, "weight"),
    "The weight over 50 steps under a constant gradient. Both forms fall along the same curve for 15 steps. "
    "There the rate is divided by 10: PyTorch's form bends at once, the paper's form keeps falling for "
    f"about ten more steps and ends {torch_form[-1] - paper_form[-1]:.1f} lower.",
)

# %% tags=["hide-input"]
short = [path(in_velocity, [0.1, 0.01])[-1] for in_velocity in (False, True)]
Markdown(
    f"After the drop PyTorch's form moves by {torch_form[15] - torch_form[-1]:.2f} in 35 "
    f"steps, the paper's by {paper_form[15] - paper_form[-1]:.2f}: its velocity still remembers "
    "the old rate. Two steps are enough to tell them apart: with gradient 1 and rates 0.1 and 0.01 the weight "
    f"is {short[0]:.3f} in PyTorch's form and {short[1]:.3f} in the paper's."
)

# %% [markdown]
# ## What momentum does
#
# Under a constant gradient the velocity is a geometric sum, $1 + m + m^2 + \dots = 1 / (1 - m)$. With
# $m = 0.9$ a step becomes ten times as long as without momentum. Whoever changes the momentum changes the
# rate, too.

# %%
momenta = [0.0, 0.5, 0.9]
curves = [-np.diff(path(False, [0.1] * 40, momentum=m)) / 0.1 for m in momenta]

# %% tags=["hide-input"]
show(
    speeds(momenta, curves),
    "The length of a step, in units of rate times gradient, over 40 steps. Without momentum it is always 1, "
    "with momentum one half it rises to 2 within a few steps, with nine tenths to 10 within about 40.",
)

# %% [markdown]
# A constant gradient is rare. In a valley that is steep across and flat along, a plain step must be small
# for the steep direction, and so it is tiny along the flat one. Momentum adds up what the gradients agree
# on, and what changes its sign cancels. Here both forms go down such a valley, and the rate falls on the way:


# %%
def descent(in_velocity, rate=0.05, momentum=0.8, drop=9, steps=40):
    """Return the weights before each step, and after the last, on (w0² + 10 w1²) / 2."""
    w = minidl.nn.Parameter(minidl.tensor([-4.0, 1.2], dtype=minidl.float64))
    optimizer = optim.SGD([w], lr=rate, momentum=momentum, rate_in_velocity=in_velocity)
    found = [w.tolist()]
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate if step < drop else rate / 10
        optimizer.zero_grad()
        ((w[0] ** 2 + 10 * w[1] ** 2) / 2).backward()
        optimizer.step()
        found.append(w.tolist())
    return np.array(found)


in_valley = {"PyTorch's form": descent(False), "the paper's form": descent(True)}

# %% tags=["hide-input"]
drawing = show(
    valley(in_valley, 9),
    "Two paths down a long valley, over ellipses of equal loss. They swing across it together for nine "
    "steps. There the rate falls to a tenth: PyTorch's form nearly stops, the paper's form coasts on.",
)
explorable("momentum", drawing, start=[-4.0, 1.2], rate=0.05, momentum=0.8, drop=9, steps=40)

# %% [markdown]
# ## The code
#
# From [`minidl/optim/sgd.py`](../../minidl/optim/sgd.py). Both forms are one function; which lines run
# depends on the settings.

# %% tags=["hide-input"]
source(optim.SGD._rule)

# %% [markdown]
# ## The trap
#
# A test with a constant rate can't tell the two forms apart, and most tests have a constant rate. The
# difference was noticed in PyTorch when people could not repeat results of Caffe
# ([pytorch/pytorch#1099](https://github.com/pytorch/pytorch/issues/1099)). A second trap is the weight
# decay. In both forms it goes *through* the velocity. Applied to the weights alone it is another method,
# known as decoupled decay (AdamW). Let us see how far that is from the paper's:


# %%
def decayed(through_velocity, steps=60, rate=0.1, momentum=0.9, decay=0.05):
    """Return the weight's way to 0 with no gradient at all, only decay."""
    w, v, found = 1.0, 0.0, [1.0]
    for _ in range(steps):
        v = momentum * v - (rate * decay * w if through_velocity else 0.0)
        w = w + v - (0.0 if through_velocity else rate * decay * w)
        found.append(w)
    return np.array(found)


for name, values in (("through the velocity", decayed(True)), ("beside it", decayed(False))):
    print(f"{name:21} after 20 steps {values[20]:.3f}, after 60 {values[60]:.3f}")

# %% [markdown]
# Through the velocity the decay gains momentum like everything else: it is ten times as strong.
#
# ## What this settles about AlexNet
#
# - The paper's recipe is momentum 0.9, decay 0.0005, a rate of 0.01 that is divided by ten three times,
#   by hand, "when the validation error rate stopped improving". `examples/alexnet_imagenet.py` uses the
#   paper's form (`rate_in_velocity=True`).
# - "We found that this small amount of weight decay was important for the model to learn": it does not
#   only regularize, it lowers the *training* error.
# - Biases have twice the rate and no decay in the program of 2012. Parameter groups say that:

# %%
layer = minidl.nn.Linear(3, 2)
optimizer = optim.SGD(
    [{"params": [layer.weight], "weight_decay": 5e-4}, {"params": [layer.bias], "lr": 0.02}],
    lr=0.01, momentum=0.9, rate_in_velocity=True,
)  # fmt: skip
for group in optimizer.param_groups:
    print({name: group[name] for name in ("lr", "momentum", "weight_decay")})

# %% [markdown]
# ## Exercises
#
# ```bash
# python -m minidl.course check exercises/12_step.py
# ```
#
# 1. `sgd_torch`: several steps in PyTorch's form.
# 2. `sgd_paper`: several steps in the paper's form.
# 3. `drops`: the rate of each epoch when it falls as the authors made it fall.
#
# Look at the column "three steps, constant rate": it can't tell the two forms apart.

# %% tags=["hide-input"]
table("12_step")
