# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # The tape: in which order gradients flow
#
# A network is a chain of simple functions, and the chain rule multiplies their slopes. That is all there
# is to backpropagation, as long as each value is used once. But values are used twice: a weight by every
# sample of a batch, an activation by two layers. Then the rule has a sum in it:
#
# $$ \frac{\partial L}{\partial x} = \sum_{y \text{ made from } x} \frac{\partial L}{\partial y} \cdot \frac{\partial y}{\partial x} $$
#
# The sum brings a question that a chain does not have. A value may pass on its gradient only when *all* of
# it has arrived. In which order do we visit the values, so that this is always so?
#
# While the forward pass runs, the library writes down each operation: which function, and from which
# values. This record is the *tape*. Here is one with three entries.

# %%
import numpy as np

import minidl
from minidl.autograd import traveling, walk
from minidl.course import Markdown, explorable, source, table
from minidl.course.figures.common import show
from minidl.course.figures.tape import bias_sums, forward_and_back, walks

a = minidl.tensor(2.0, dtype=minidl.float64, requires_grad=True)
b = a * a
c = a + b
d = b * c

names = {b.grad_fn: "b", c.grad_fn: "c", d.grad_fn: "d"}
used = {"b": ["a", "a"], "c": ["a", "b"], "d": ["b", "c"]}
visits, graph = [], {}


def watch(node):
    """Write down what a node passes on, when the walk comes to it."""

    def note(passed, arrived):
        amounts = [amount.item() for amount in passed]
        visits.append((names[node], list(zip(used[names[node]], amounts, strict=True))))
        slopes = [amount / arrived[0].item() for amount in amounts]
        graph[names[node]] = list(zip(used[names[node]], slopes, strict=True))

    node.register_hook(note)


for node in names:
    watch(node)
d.backward()
graph = {name: graph[name] for name in "bcd"}  # in the order of making
print("visited:", ", ".join(name for name, _ in visits))
print("gradient of a:", a.grad.item())

# %% tags=["hide-input"]
formulas = {"a": f"a = {a.item():g}", "b": f"b = a · a\n= {b.item():g}",
            "c": f"c = a + b\n= {c.item():g}", "d": f"d = b · c\n= {d.item():g}"}  # fmt: skip
drawing = show(
    forward_and_back(formulas, graph, visits),
    "Left: a computation of four values with its number on the tape and the slope on each edge: b is a times a, c is a plus b, d is b "
    "times c. Right: the walk back visits d, then c, then b. On b arrive 6 from d and 4 from c, so it passes on "
    f"10 times 2, twice; a collects {a.grad.item():g}.",
)
drawing

# %% [markdown]
# On the left, `b` is used by `c` and by `d`, and it uses `a` twice: two edges. On the right the walk goes back.
# It visits `d`, which passes 6 to `b`. Now `b` has a gradient, but it has to wait: `c` was made from it,
# too, and has not been visited. After `c` the sum is complete.
#
# Which order guarantees that? **The reverse of the order in which the values were made.** Whatever was made from
# `b` was made after `b`. So if the latest comes first, all users of `b` have been visited before `b`. This
# needs no search through the graph: a counter at the time of the forward pass is enough. (Mathematicians
# call any such order *topological*.)
#
# ## The code
#
# From [`minidl/autograd/walk.py`](../../minidl/autograd/walk.py). This loop is the whole walk. It knows nothing
# of layers: a node has edges, and its backward turns the gradient of its output into gradients of its
# inputs.

# %% tags=["hide-input"]
source(walk.walk)

# %% [markdown]
# `latest` takes the node with the highest number from a heap. `send` brings a gradient to the next node, where it
# waits, and the last line of it is the sum in the formula above:

# %% tags=["hide-input"]
source(traveling.Traveling.send)

# %% [markdown]
# The walk does not care whether a fast kernel or the plain code computes a node, and the result must not,
# either. Here `h` is used twice:

# %%
minidl.manual_seed(3)
x = minidl.randn(8, 5, dtype=minidl.float64)
layer, head = (minidl.nn.Linear(5, 5, dtype=minidl.float64) for _ in range(2))


def gradient():
    """Return the gradient of the first layer's weight."""
    h = minidl.relu(layer(x))
    loss = (h + head(h)).square().mean()
    return minidl.autograd.grad(loss, layer.weight)[0].numpy()


fast = gradient()
with minidl.reference():
    plain = gradient()
print("plain code and kernels agree to 1e-14:", np.allclose(fast, plain, atol=1e-14, rtol=0))
print("gradcheck:", minidl.gradcheck(lambda x: minidl.relu(layer(x)) + head(x), x.requires_grad_()))

# %% [markdown]
# ## The experiment: two other orders
#
# Two other walks look right, and are right for a chain. The first is a recursion: a value gets a gradient, and
# passes it on at once to what it was made from. It has been proposed as a simplification of a well-known teaching library
# ([micrograd#64](https://github.com/karpathy/micrograd/pull/64)). The second marks each value when it is first seen,
# so that none is visited twice ([PyNorch#90](https://github.com/lucasdelimanogueira/PyNorch/issues/90)).


# %%
def latest_first(graph, output):
    """Visit each value once, the latest first. (The dictionary is in the order of making.)"""
    sums, visits = {output: 1.0}, []
    for name in reversed(graph):
        if name in sums:
            visits.append((name, [(used, sums[name] * slope) for used, slope in graph[name]]))
            for used, amount in visits[-1][1]:
                sums[used] = sums.get(used, 0.0) + amount
    return sums, visits


def from_above(graph, output, again):
    """Visit a value when it is first reached (or, `again`, each time that it is reached)."""
    sums, visits, seen = {output: 1.0}, [], set()

    def visit(name):
        if name not in graph or (name in seen and not again):
            return
        seen.add(name)
        visits.append((name, [(used, sums[name] * slope) for used, slope in graph[name]]))
        for used, amount in visits[-1][1]:
            sums[used] = sums.get(used, 0.0) + amount
        for used in dict.fromkeys(used for used, _ in graph[name]):
            visit(used)

    visit(output)
    return sums, visits


right, _ = latest_first(graph, "d")
once, once_visits = from_above(graph, "d", again=False)
again, again_visits = from_above(graph, "d", again=True)
for title, sums in ("latest first", right), ("first visit", once), ("recursion", again):
    print(f"{title:12} gradient of a: {sums['a']:g}")

# %% tags=["hide-input"]
show(
    walks({"each value once, when first reached": once_visits, "recursion": again_visits}, right),
    "Two wrong walks of the same graph, with wrong sums in red. On the left b is visited second, before c: it "
    f"passes on 6 instead of 10, and a gets {once['a']:g}. On the right b is visited twice and passes on its first 6 "
    f"both times: a gets {again['a']:g}.",
)

# %% tags=["hide-input"]
Markdown(
    f"On the left `b` was visited too early: 4 arrive after it has passed on 6, and `a` gets {once['a']:g} instead "
    f"of {right['a']:g}. On the right `b` passes on 6, and later 6 + 4: the first 6 count twice, and `a` gets "
    f"{again['a']:g}."
)

# %% [markdown]
# Step through all three orders; press a line to exchange `+` and `×`:

# %% tags=["hide-input"]
explorable("tape_stepper", drawing, a=2, step=0, order="latest first", signs=["×", "+", "×"])

# %% [markdown]
# A recursion can be mended: it must pass on only what has newly arrived, and follow every *path* from the output.
# Then it is right, and useless. In `b = a + a`, `c = b + b` and so on, the paths double with every line:

# %%
lengths = (1, 2, 4, 8, 16, 32, 64)


def paths(length):
    """Return the number of paths from the last value to the first."""
    y = start = minidl.tensor(1.0, dtype=minidl.float64, requires_grad=True)
    for _ in range(length):
        y = y + y
    y.backward()
    return start.grad.item()  # each path contributes 1


for length in lengths:
    print(f"{length:2} lines: {length:2} visits in order, {paths(length):.3g} paths")

# %% [markdown]
# The tape computes the number of paths, in as many visits as there are lines. The order is not only right, it is
# what makes backpropagation cheap: each operation goes back once, however many paths lead through it. And it is a
# loop, so that a long chain does not exceed Python's limit on recursion:

# %%
y = start = minidl.tensor(1.0, requires_grad=True)
for _ in range(10_000):
    y = y + 0.001
y.backward()
print("10,000 operations, gradient", start.grad.item())

# %% [markdown]
# ## Arrays: copies are uses
#
# A bias of shape (4,) is added to every row of a batch. NumPy does not write the copies down, but for the
# gradient they count: each copy is a use of the bias, and the sum over the uses is a sum over the rows.

# %%
bias = minidl.zeros(4, dtype=minidl.float64, requires_grad=True)
batch = minidl.randn(3, 4, dtype=minidl.float64)
dy = minidl.randint(-4, 5, (3, 4)).double()
(batch + bias).backward(dy)

# %% tags=["hide-input"]
show(
    bias_sums(dy.numpy(), bias.grad.numpy()),
    "A grid of 3 rows and 4 columns, the gradient of a batch plus a bias. Below it one row in red, the gradient "
    "of the bias: each number is the sum of the column above it, to which an arrow leads.",
)

# %% [markdown]
# This is how the library does it for any shapes. NumPy lines shapes up at the *last* axis: axes that it has put in
# front are summed and disappear; axes of length 1 that it has repeated are summed and stay.

# %% tags=["hide-input"]
from minidl.ops.operands import unbroadcast

source(unbroadcast)

# %% [markdown]
# **The traps.**
#
# - *`=` for `+=`.* If a gradient is stored and not added, `b = a + a` has the gradient 1
#   ([nn-zero-to-hero#52](https://github.com/karpathy/nn-zero-to-hero/issues/52)). A chain can't show it.
# - *A set of inputs.* `b = a + a` has one input in a set, and two in a list.
# - *The second walk.* Gradients of parameters add up across walks. That is wanted: two half batches give the
#   gradient of the whole. But whoever forgets to set them to zero trains with the sum of all gradients so
#   far. And the values in between must start anew: if they keep what arrived in the first walk, they pass it on
#   again in the second ([micrograd#102](https://github.com/karpathy/micrograd/pull/102)).
# - *A square array.* For a bias of 3 and a batch of 3, the sum over the wrong axis has the right shape.

# %%
w = minidl.tensor(3.0, requires_grad=True)
for count in 1, 2, 3:
    (w * w).backward()
    print(f"after walk {count}: {w.grad.item():g}")

# %% [markdown]
# ## What this settles about AlexNet

# %%
model = minidl.vision.models.alexnet()
parts = dict(model.named_modules())
first = next(name for name, part in parts.items() if isinstance(part, minidl.nn.Conv2d))
side, samples = 55, 128
print(
    f"{first}: a bias of each channel is used {samples * side * side:,} times in a batch of {samples}"
)

# %% [markdown]
# - AlexNet's layers form a chain, so its *activations* need no order beyond "backwards". Its *parameters* are
#   used many times: by every sample, and in a convolution at every place of the picture. Their gradients are
#   long sums, which is why pages 3 and 7 are about sums, and why rounding matters on page 14.
# - The network of 2012 ran on two GPUs, and was no chain: `conv3` reads the outputs of both halves. Each half of
#   layer 2 was used by both halves of layer 3, so on the way back two gradients meet, one from each GPU, and have to be
#   added before the walk goes on.
# - The walk frees each node after its visit. The activations that the forward pass has saved are given back from
#   the last layer to the first, and the memory needed is greatest when the backward pass begins.
#
# ## Exercises
#
# ```bash
# python -m minidl.course check exercises/02_tape.py
# ```
#
# 1. `backward`: the walk, for a graph like those above. Its entries come in any order.
# 2. `unbroadcast`: from the gradient of copies to that of the original.
# 3. `multiply_backward`: both together, for a product of arrays.
#
# In the table look at the column "a chain": it finds almost nothing.

# %% tags=["hide-input"]
table("02_tape")
