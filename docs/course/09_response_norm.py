# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Local response normalization
#
# A strong activation makes its neighbors weaker. That is the idea: at each pixel, every channel is
# divided by the energy of the channels around it. With $n$ channels in a window,
#
# $$ s_i = k + \frac{\alpha}{n} \sum_{j \in \text{window}(i)} x_j^2 \qquad y_i = x_i \, s_i^{-\beta} $$
#
# AlexNet normalizes after its first two convolutions. Later networks dropped the layer, so few people
# have derived its gradient. It is worth doing once: it is the smallest layer in which every output
# depends on several inputs *and* every input on several outputs.

# %%
import numpy as np

import minidl
from minidl.course import Markdown, agree, explorable, source, table
from minidl.course.figures.common import show
from minidl.course.figures.response_norm import jacobians, suppression
from minidl.nn import functional as F
from minidl.nn import response_norm

x = np.array([0.3, 0.5, 0.4, 3.0, 0.6, 0.4, 0.3, 0.5, 0.7])
y = F.local_response_norm(minidl.tensor(x.reshape(1, -1, 1, 1)), size=5, alpha=1.0, k=1.0)
y = y.numpy().ravel()

# %% tags=["hide-input"]
drawing = show(
    suppression(x, y),
    f"Two bar charts of nine channels. Before: channel 3 is {x[3]:.1f}, the others are below 1. After: "
    f"channel 3 is {y[3]:.2f}, and the two channels on either side of it are much smaller than before.",
)
drawing

# %% tags=["hide-input"]
Markdown(
    f"Channel 3 is loud. Channels 1, 2, 4 and 5 have it in their window and shrink, channel 4 for "
    f"instance from {x[4]:.2f} to {y[4]:.2f}. Channel 8 does not see it and hardly changes, "
    f"from {x[8]:.2f} to {y[8]:.2f}."
)

# %% [markdown]
# ## The gradient
#
# An input $x_m$ enters the outputs in two ways: as the numerator of its own $y_m$, and inside $s_i$ of
# every channel $i$ whose window contains $m$. So the Jacobian has a diagonal and a band:
#
# $$ \frac{\partial y_i}{\partial x_m} = [i = m] \, s_i^{-\beta} - \frac{2 \alpha \beta}{n} \, x_i \, s_i^{-\beta-1} \, x_m \, [m \in \text{window}(i)] $$


# %%
def jacobian(x, **settings):
    """Return dy_i / dx_m for one pixel with len(x) channels."""
    rows = []
    for channel in range(len(x)):
        t = minidl.tensor(x.reshape(1, -1, 1, 1), requires_grad=True)
        out = F.local_response_norm(t, **settings)
        out[0, channel, 0, 0].backward()
        rows.append(t.grad.numpy().ravel())
    return np.stack(rows)


rng = np.random.default_rng(3)
pixel = np.abs(rng.standard_normal(9)) + 0.3
large = jacobian(pixel, size=5, alpha=1.0, beta=0.75, k=1.0)
alexnet = jacobian(pixel, size=5, alpha=1e-4, beta=0.75, k=2.0)

# %% tags=["hide-input"]
show(
    jacobians({"α = 1, k = 1": large, "AlexNet: α = 1e-4, k = 2": alexnet}),
    "Two Jacobians of nine channels as colored tables. Left, with alpha 1: a blue diagonal and, two cells "
    "wide on either side, a red band of negative numbers. Right, with AlexNet's constants: the same "
    f"diagonal, all {alexnet[0, 0]:.2f}, and a band too small to see.",
)

# %% tags=["hide-input"]
off = np.abs(alexnet - np.diag(np.diag(alexnet))).max()
Markdown(
    "The left picture is the layer as everyone imagines it: red means that more of the neighbor makes me "
    f"smaller. The right one has AlexNet's constants: the largest number beside the diagonal is {off:.6f}. "
    "For activations near 1 the layer hardly does anything. In AlexNet, whose pictures have values up to "
    "255, the activations are in the hundreds: there the band matters."
)

# %% [markdown]
# Try it. The lower row is a column of the Jacobian: what a larger input does to all outputs. Set alpha to
# AlexNet's $10^{-4}$, and then make the activations larger.

# %% tags=["hide-input"]
explorable("lrn_window", drawing, x=x.tolist(), size=5, power=0, k=1, scale=0, channel=3)

# %% [markdown]
# ## The code
#
# From [`minidl/nn/response_norm.py`](../../minidl/nn/response_norm.py). `window_sum` adds up neighboring
# channels; forward needs it once, backward twice.

# %% tags=["hide-input"]
source(response_norm.window_sum)

# %% tags=["hide-input"]
source(response_norm.forward)

# %% tags=["hide-input"]
source(response_norm.backward)

# %% [markdown]
# Look at `mirrored=True`. In the forward pass channel $i$ sums over the channels that *it looks at*. In
# the backward pass $x_m$ collects from the channels that *look at it*. For an odd window these are the
# same channels; for an even one they are not.

# %%
maps = rng.standard_normal((2, 8, 2, 3))
for size in (3, 4, 5, 11):
    same = agree(lambda x: F.local_response_norm(x, size, 1.0, 0.75, 2.0), maps)
    print(f"size {size}: kernel, plain code and gradcheck agree: {same}")

# %% [markdown]
# ## The experiment: gradcheck is satisfied with half a gradient
#
# Here is a backward that forgets the band altogether. It treats $s$ as a constant:

# %%
from minidl.autograd import Function
from minidl.errors import GradcheckError


class DiagonalOnly(Function):
    """LRN with a backward that has no cross term."""

    @staticmethod
    def forward(ctx, x, size, alpha, k):
        y, s = response_norm.forward(x, size, alpha, 0.75, k, 1)
        ctx.scale = s.reshape(x.shape) ** -0.75
        return y

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.scale, None, None, None


maps = minidl.tensor(rng.uniform(-0.5, 0.5, (1, 6, 2, 2)), requires_grad=True)
for alpha in 1e-4, 1.0:
    try:
        minidl.gradcheck(lambda x: DiagonalOnly.apply(x, 5, alpha, 2.0), (maps,))
        print(f"alpha = {alpha:g}: gradcheck is satisfied")
    except GradcheckError as error:
        print(f"alpha = {alpha:g}: wrong, {str(error).rpartition(': ')[2]}")

# %% [markdown]
# **The trap.** With the constants of the paper the missing term is smaller than what a gradient check
# tolerates. The same holds for a window that is not mirrored, as long as the window is odd. A test must
# use *inconvenient* numbers: a large alpha, an even size, fewer channels than the window.
#
# ## What this settles about AlexNet
#
# - **α or α/n?** The paper prints $k + \alpha \sum x_j^2$ with $\alpha = 10^{-4}$, but the program
#   behind it divides by $n$. Caffe, PyTorch and ONNX divide, too
#   ([BVLC/caffe#1453](https://github.com/BVLC/caffe/issues/1453)). Whoever types the paper's constants
#   into the printed formula gets a norm that is five times as strong. `alexnet("paper")` takes the
#   printed formula, `alexnet("original")` the program's.
# - **k.** The paper has $k = 2$. Caffe's AlexNet has $k = 1$: its weights need a network with that value.
# - **Order.** The paper normalizes, then pools. Caffe's reference network pools first, which is cheaper:
#   there are a quarter as many pixels to normalize. The results differ, so weights belong to an order.
# - **ReLU comes first.** The norm sees only numbers that are 0 or positive.

# %%
from minidl.vision.models import alexnet

for variant in "paper", "original", "caffe", "caffenet":
    layers = list(alexnet(variant, num_classes=1).modules())
    kinds = [type(layer).__name__ for layer in layers]
    norm = layers[kinds.index("LocalResponseNorm")]
    order = [kind for kind in kinds if kind in ("LocalResponseNorm", "MaxPool2d")][:2]
    print(f"{variant:9} {' then '.join(order):35} alpha {norm.alpha:g}, k {norm.k:g}")

# %% [markdown]
# ## Exercises
#
# ```bash
# python -m minidl.course check exercises/09_response_norm.py
# ```
#
# 1. `lrn`: the forward pass.
# 2. `lrn_backward`: the gradient. Derive it on paper first; the band is the whole difficulty.
# 3. `to_printed_alpha`: from PyTorch's convention to the paper's formula.
#
# Which probe finds which mistake? Mind the last columns.

# %% tags=["hide-input"]
table("09_response_norm")
