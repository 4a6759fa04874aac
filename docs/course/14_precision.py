# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Precision
#
# A float is a number with a fixed count of digits. In float64 these are 53 bits, in float32 24, in
# float16 11. Every operation rounds its result to the nearest number that there is. One rounding is
# harmless. A layer makes millions of them, and three things can go wrong:
#
# - a number is too large or too small for the dtype (*overflow*, *underflow*);
# - a small number is added to a large one, and is lost (*absorption*);
# - two large numbers are subtracted that agree in their leading digits, and only the digits that were
#   already wrong remain (*cancellation*).
#
# ## A sum that stops
#
# Add ones in float16, one after the other:

# %%
import math

import numpy as np

import minidl
from minidl.course import Markdown, source, table
from minidl.course.figures.common import show
from minidl.course.figures.precision import against_size, by_layer, stuck
from minidl.nn import functional as F
from minidl.ops import precision

ones = np.ones(4096, np.float16)
running = np.add.accumulate(ones)  # each partial sum, rounded to float16
numbers = np.float16(2.0) ** np.arange(3, 15).astype(np.float16)
gaps = np.spacing(numbers)

# %% tags=["hide-input"]
show(
    stuck(running.astype(float), numbers.astype(float), gaps.astype(float)),
    "Left: the sum of up to 4096 ones. The true line rises all the way, the line added up in float16 rises "
    f"to {running.max():.0f} and stays there. Right: a staircase of the distances between neighboring "
    f"float16 numbers, which reaches 1 at 1024 and exceeds 1 at {running.max():.0f}.",
)

# %% [markdown]
# The right picture explains the left one. The numbers of a dtype lie close together near 0, and twice as
# far apart with each power of 2. At 2048 the next float16 is 2050. The sum 2049 lies in the middle, is
# rounded to the even neighbor, 2048, and never gets away from there. float32 has the same cliff at $2^{24}$,
# and float64 at $2^{53}$:

# %%
for dtype in np.float16, np.float32, np.float64:
    info = np.finfo(dtype)
    cliff = dtype(2) ** dtype(info.nmant + 1)
    print(f"{dtype.__name__}: largest {info.max:.3g}, eps {info.eps:.2g}, "
          f"{cliff:.0f} + 1 = {cliff + dtype(1):.0f}")  # fmt: skip

# %% [markdown]
# *eps* is the distance from 1 to the next number. It is the natural unit of relative errors.
#
# ## The order of a sum
#
# Nobody adds only ones, and the error begins long before the cliff. When $n$ numbers are added one after
# the other, each goes through up to $n$ roundings. Adding in pairs, then pairs of pairs, takes each
# through about $\log_2 n$:

# %%
rng = np.random.default_rng(14)
sizes = 2 ** np.arange(6, 21, 2)
errors = {"one by one": [], "in pairs": [], "in float64, rounded once": []}
for n in sizes:
    found = []
    for _ in range(8):
        x = rng.random(n, dtype=np.float32)
        exact = math.fsum(x.tolist())  # Python's exact sum
        answers = np.add.accumulate(x)[-1], x.sum(), np.float32(x.sum(dtype=np.float64))
        found.append([abs(float(answer) - exact) / exact for answer in answers])
    for name, error in zip(errors, np.mean(found, axis=0), strict=True):
        errors[name].append(error)

errors = {name: np.array(error) for name, error in errors.items()}

# %% tags=["hide-input"]
show(
    against_size(sizes, errors, "numbers in the sum (float32)"),
    "Relative errors of sums of 64 to a million float32 numbers. Added one by one, the error grows with the "
    "length to more than a hundred times its value at the start. Added in pairs, and in float64, it "
    "stays near one rounding of float32.",
)

# %% [markdown]
# `x.sum()` of NumPy adds in pairs, but only along the axis that is contiguous in memory. Down the *columns*
# of a matrix it adds number after number, and this is just the sum that a batch's mean or a bias's gradient
# needs. Here is what the library does about it, from
# [`minidl/ops/precision.py`](../../minidl/ops/precision.py):

# %% tags=["hide-input"]
source(precision.added_up)

# %% tags=["hide-input"]
source(precision._has_long_columns)

# %%
columns = rng.random((2**16, 4), dtype=np.float32)
exact = columns.astype(np.float64).sum(axis=0)
fast = minidl.tensor(columns).sum(dim=0).numpy()
with minidl.reference():
    plain = minidl.tensor(columns).sum(dim=0).numpy()
for name, sums in (("NumPy", columns.sum(axis=0)), ("minidl", fast)):
    worst = np.abs(sums - exact).max() / exact.max()
    print(f"{name:6} worst error above 10 eps: {bool(worst > 10 * np.finfo(np.float32).eps)}")
print("kernel and plain code agree:", np.array_equal(fast, plain))
print("4096 ones in float16:", minidl.ones(4096, dtype=minidl.float16).sum().item())

# %% [markdown]
# A wide sum that is rounded once at the end costs next to nothing, because the numbers themselves stay
# narrow in memory.
#
# ## The experiment: a formula that is right on paper
#
# The variance is the mean of the squared distances from the mean. Expanded, this is the mean of the
# squares less the square of the mean. The second form needs only one pass over the data, and many programs
# have used it. Shift the data away from 0, and watch:

# %%
data = rng.standard_normal(1000)
shifts = 10.0 ** np.arange(0, 11)
errors = {"expanded, float32": [], "expanded, float64": [], "as defined, float64": []}
negative = 0
for shift in shifts:
    x = data + shift
    exact = np.var(x.astype(np.longdouble) - np.longdouble(shift))
    short = x.astype(np.float32)
    answers = (
        (short * short).mean() - short.mean() ** 2,
        (x * x).mean() - x.mean() ** 2,
        ((x - x.mean()) ** 2).mean(),
    )
    negative += sum(answer < 0 for answer in answers)
    for name, answer in zip(errors, answers, strict=True):
        error = max(abs(float(answer / exact) - 1), 1e-16)
        errors[name].append(error)
for name, found in errors.items():  # a line ends where nothing is left of the answer
    useless = np.flatnonzero(np.array(found) >= 1)
    end = useless[0] if useless.size else len(found)
    errors[name] = np.array([min(e, 1.0) if k <= end else np.nan for k, e in enumerate(found)])
print("variances below 0:", negative > 0)

# %% tags=["hide-input"]
show(
    against_size(shifts, errors, "mean / standard deviation", "all digits lost"),
    "Relative error of three variances, for data whose mean is 1 to 10 billion times the standard "
    "deviation. The expanded formula loses two digits for each digit of the mean: in float32 nothing is "
    "left at a mean of about ten thousand, in float64 at about a hundred million. The definition keeps nearly all digits.",
)

# %% [markdown]
# The squares have twice as many digits in front of the one that matters. With a mean of $10^4$ standard
# deviations, $x^2$ is about $10^8$ and the variance is 1: eight digits have to cancel, and float32 has
# seven. What is left is noise, and it may even be negative, with a root that is NaN.
#
# **The trap.** On numbers near 0 both formulas agree to the last digits, and numbers near 0 are what
# everyone tests with. The same holds for the other exercises of this page: the naive norm, the mean in
# float16 and the naive softmax ([page 16](16_own_layer.md) has a relative of it) pass every test on ten
# numbers between -1 and 1. Test with large numbers, tiny ones, many of them, and all zeros.
#
# ## Too large, too small
#
# The norm of a gradient is the root of a sum of squares. Squaring doubles the exponent, so half of the
# range of a dtype is out of bounds, though the norm itself would fit:

# %%
with np.errstate(over="ignore", under="ignore"):
    for size in 1e200, 1.0, 1e-200:
        x = size * np.array([3.0, 4.0])
        print(f"norm of {x}: {np.sqrt((x * x).sum()):g}")

# %% [markdown]
# Change the size of the numbers before the squares, and back after the root. A norm allows this, because
# $\|c\,x\| = c\,\|x\|$ for positive $c$. Which $c$ helps for *every* array, and which array has none?
#
# ## How exact must a kernel be?
#
# A kernel that is faster adds in another order, or computes other products. The convolution of the library
# uses Winograd's method in some layers: it replaces most multiplications by additions of inputs, and these
# round, too. Here are the five convolutions of AlexNet in float32, each compared with the same convolution
# in float64:

# %%
LAYERS = {  # channels, size, kernel, filters, groups, stride, padding
    "conv1": (3, 227, 11, 96, 1, 4, 0),
    "conv2": (96, 27, 5, 256, 2, 1, 2),
    "conv3": (256, 13, 3, 384, 1, 1, 1),
    "conv4": (384, 13, 3, 384, 2, 1, 1),
    "conv5": (384, 13, 3, 256, 2, 1, 1),
}


def outputs(channels, size, kernel, filters, groups, stride, padding):
    """Return a convolution's output in float64, by plain code, and by the kernel."""
    x = np.maximum(rng.standard_normal((8, channels, size, size), np.float32), 0)
    w = rng.standard_normal((filters, channels // groups, kernel, kernel), np.float32)
    x, w = minidl.tensor(x), minidl.tensor(w / w[0].size ** 0.5)
    settings = {"stride": stride, "padding": padding, "groups": groups}
    with minidl.reference():
        exact = F.conv2d(x.double(), w.double(), **settings)
        plain = F.conv2d(x, w, **settings)
    return exact.numpy(), plain.numpy(), F.conv2d(x, w, **settings).numpy()


errors = {}
for name, settings in LAYERS.items():
    exact, plain, fast = outputs(*settings)
    errors[name] = {
        "plain code (im2col)": np.sqrt(np.mean((plain - exact) ** 2)) / exact.std(),
        "kernel": np.sqrt(np.mean((fast - exact) ** 2)) / exact.std(),
    }

# %% tags=["hide-input"]
show(
    by_layer(errors),
    "Pairs of bars for conv1 to conv5: the error of the plain code and of the "
    "kernel, in float32. All plain errors are near the eps of float32, the kernel's errors are several "
    "times as large, but all are millionths of the output.",
)

# %% [markdown]
# The kernel is less exact than the plain code, by up to ten times or so in conv2, whose kernels are 5×5.
# It is still exact to millionths of the output. Is this kernel right? The question needs a yardstick, and
# the obvious one is wrong:

# %%
near = 1e-4 * exact.std()
print("each number to 4 digits:", np.allclose(fast, exact, rtol=1e-4, atol=0))
print("to 4 digits of the output's size:", np.allclose(fast, exact, rtol=0, atol=near))

# %% [markdown]
# An output near 0 is a sum of thousands of terms that cancel. Its error comes from the terms, which are
# large, and so it can be wrong in *all* its digits without any mistake in the code. Compare an error with
# the size of what was added up, never with the result alone.
#
# ## What this settles about AlexNet
#
# - **float32 is enough.** The authors trained in float32, and an error of millionths is nothing beside
#   dropout, which changes every second activation of a layer by all of its size.
# - **float16 alone is not.** Response normalization ([page 9](09_response_norm.md)) adds squares of
#   activations, and AlexNet's are in the hundreds:

# %%
activation = np.float16(300)
with np.errstate(over="ignore"):
    print("300² in float16:", activation * activation)
channels = minidl.tensor(np.full((1, 5, 1, 1), activation))
print("the library's norm of it:", F.local_response_norm(channels, 5, 1e-4, 0.75, 2.0)[0, 2].item())

# %% tags=["hide-input"]
tiny = float(np.finfo(np.float16).smallest_subnormal)
Markdown(
    f"- **Small gradients vanish.** The smallest number of float16 is {tiny:.0e}; a gradient below half of "
    "that is 0. Programs that train in float16 therefore multiply the loss by a large number, divide the "
    "gradients by it in float32, and keep the weights in float32: a step of a rate times a gradient is "
    "nearly always absorbed by a float16 weight, as the ones were above."
)

# %% [markdown]
# ## Exercises
#
# ```bash
# python -m minidl.course check exercises/14_precision.py
# ```
#
# 1. `stable_norm`: numbers of any size, and zeros.
# 2. `variance`: also where the mean is a billion times the standard deviation.
# 3. `mean_of_halves`: many numbers of 16 bits. Mind where each number is rounded.
#
# In the table, look for the columns that find almost nothing: they are the tests that one writes first.

# %% tags=["hide-input"]
table("14_precision")
