"""Random programs of views and changes in place, and what they mean.

A program is a list of steps on *handles*, tensors by number. :func:`execute` runs it with minidl or
with PyTorch. :func:`replay` computes the same without a single view or change in place: a memory is
a vector on the tape, a handle is a list of positions in it, and a change makes a new vector.

``python tests/in_place_programs.py 3000 --seed 7`` runs many, against PyTorch too where it is
installed. (With ``--wide``, PyTorch 2.13 itself crashes in ``register_hook`` in one of 1,000.)
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from typing import Any

import helpers
import numpy as np

import minidl

LEAVES = {"a": (2, 3), "b": (3,), "c": (4, 2), "d": (2, 2, 3), "e": ()}

#: Views by name: how to make one of a tensor with some arguments.
VIEWS: dict[str, Callable[..., Any]] = {
    "getitem": lambda t, index: t[index],
    "item tensor": lambda t, i: t[_like(t, i)],
    "narrow": lambda t, dim, start, length: t.narrow(dim, start, length),
    "select": lambda t, dim, i: t.select(dim, i),
    "transpose": lambda t, a, b: t.transpose(a, b),
    "permute": lambda t, order: t.permute(*order),
    "T": lambda t: t.T,
    "movedim": lambda t, a, b: t.movedim(a, b),
    "view": lambda t, shape: t.view(*shape),
    "reshape": lambda t, shape: t.reshape(shape),
    "flatten": lambda t: t.flatten(),
    "unflatten": lambda t, dim, sizes: t.unflatten(dim, sizes),
    "squeeze": lambda t: t.squeeze(),
    "unsqueeze": lambda t, dim: t.unsqueeze(dim),
    "expand": lambda t, shape: t.expand(*shape),
    "chunk": lambda t, n, dim, k: t.chunk(n, dim)[k],
    "split": lambda t, n, dim, k: t.split(n, dim)[k],
    "unbind": lambda t, dim, k: t.unbind(dim)[k],
    "iterate": lambda t, k: list(t)[k],
    "diagonal": lambda t: t.diagonal(),
    # Of wide programs:
    "swapaxes": lambda t, a, b: t.swapaxes(a, b),
    "ravel": lambda t: t.ravel(),
    "mT": lambda t: t.mT,
    "view one": lambda t: t.view(-1),
    "squeeze axis": lambda t, dim: t.squeeze(dim),
    "off diagonal": lambda t, k: t.diagonal(k),
    "view_as": lambda t: t.view_as(t),
    "broadcast_to": lambda t, shape: t.broadcast_to(shape),
    "steps": lambda t, dim, steps: t[(slice(None),) * dim + (slice(None, None, steps),)],
}

#: Changes of a handle's own shape in place, by the view that it becomes.
RESHAPES: dict[str, Callable[..., Any]] = {
    "t_": lambda t: t.t_(),
    "transpose_": lambda t, a, b: t.transpose_(a, b),
    "squeeze_": lambda t: t.squeeze_(),
    "unsqueeze_": lambda t, dim: t.unsqueeze_(dim),
}
_FLAT = ("flatten", "ravel")
_AS_VIEW = {"t_": "T", "transpose_": "transpose", "squeeze_": "squeeze", "unsqueeze_": "unsqueeze"}


def _like(t: Any, i: int) -> Any:
    return minidl.tensor(i) if isinstance(t, minidl.Tensor) else _torch().tensor(i)


def _torch() -> Any:
    import torch

    return torch


def random_view(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[str, tuple[Any, ...]]:
    """Return a view of a tensor of some shape, with arguments that fit."""
    ndim, size = len(shape), int(np.prod(shape))
    dims = [d for d in range(ndim) if shape[d]]
    names = ["unsqueeze", "squeeze", "getitem", "flatten", "reshape", "view", "expand"]
    if ndim:
        names += ["getitem"] * 4 + ["narrow", "select", "item tensor", "transpose", "permute"]
        names += ["movedim", "chunk", "split", "unbind", "iterate"]
    if ndim == 2:
        names += ["T"]
    if ndim >= 2:
        names += ["diagonal"]
    name = str(rng.choice(names))
    if name in ("narrow", "select", "item tensor", "chunk", "split", "unbind", "iterate"):
        if not dims:
            return "unsqueeze", (0,)
        first = name in ("item tensor", "iterate")
        if first and not shape[0]:
            return "unsqueeze", (0,)
        dim = 0 if first else int(rng.choice(dims))
        k = int(rng.integers(shape[dim]))
        if name == "narrow":
            return name, (dim, k, int(rng.integers(1, shape[dim] - k + 1)))
        if name in ("chunk", "split"):
            n = int(rng.integers(1, shape[dim] + 1))
            length = -(-shape[dim] // n) if name == "chunk" else n
            return name, (n, dim, int(rng.integers(-(-shape[dim] // length))))
        return name, (k,) if first else (dim, k)
    if name in ("transpose", "movedim"):
        return name, (int(rng.integers(ndim)), int(rng.integers(ndim)))
    if name == "permute":
        return name, (tuple(int(d) for d in rng.permutation(ndim)),)
    if name in ("view", "reshape"):
        return name, (_another_shape(rng, size),)
    if name == "unsqueeze":
        return name, (int(rng.integers(ndim + 1)),)
    if name == "expand":
        new = [int(rng.integers(1, 4)) if n == 1 else n for n in shape]
        return name, ((*([2] if rng.random() < 0.4 else []), *new),)
    if name == "getitem":
        return name, (random_index(rng, shape),)
    return name, ()


def wide_view(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[str, tuple[Any, ...]]:
    """Return a view that :func:`random_view` doesn't know."""
    ndim = len(shape)
    names = ["ravel", "view one", "view_as", "broadcast_to"]
    if ndim:
        names += ["swapaxes", "squeeze axis", "steps"] * 2
    if ndim >= 2:
        names += ["mT", "off diagonal"] * 2
    name = str(rng.choice(names))
    if name == "swapaxes":
        return name, (int(rng.integers(ndim)), int(rng.integers(ndim)))
    if name == "squeeze axis":
        return name, (int(rng.integers(ndim)),)
    if name == "off diagonal":
        return name, (int(rng.choice([-1, 1])),)
    if name == "broadcast_to":
        return name, ((*([2] if rng.random() < 0.4 else []), *shape),)
    if name == "steps":
        return name, (int(rng.integers(ndim)), int(rng.choice([2, 3])))
    return name, ()


def _another_shape(rng: np.random.Generator, size: int) -> tuple[int, ...]:
    divisors = [n for n in range(1, size + 1) if size % n == 0] or [0]
    n = int(rng.choice(divisors))
    return (size,) if n == 0 or rng.random() < 0.3 else (n, size // n)


def random_index(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Return a basic index."""
    parts: list[Any] = []
    for n in shape[: int(rng.integers(len(shape) + 1))]:
        kind = rng.random()
        if kind < 0.4 and n:
            parts.append(int(rng.integers(-n, n)))
        elif kind < 0.5:
            parts.append(slice(None))
        else:
            start = int(rng.integers(max(n, 1)))
            stop = int(rng.integers(start + 1, n + 1)) if n > start else n
            parts.append(slice(start, stop, int(rng.choice([1, 1, 2]))))
    if rng.random() < 0.2:
        parts.insert(int(rng.integers(len(parts) + 1)), None)
    if rng.random() < 0.2:
        parts.append(Ellipsis)
    return parts[0] if len(parts) == 1 else tuple(parts)


def positions_of(t: Any, positions: list[int]) -> Any:
    """Return indices, and masks, as the library of `t` has them."""
    return minidl.tensor(positions) if isinstance(t, minidl.Tensor) else _torch().tensor(positions)


def _relu(t: Any) -> Any:
    library = minidl.nn if isinstance(t, minidl.Tensor) else _torch().nn
    return library.functional.relu(t, inplace=True)


def _leaky(t: Any) -> Any:
    library = minidl.nn if isinstance(t, minidl.Tensor) else _torch().nn
    return library.functional.leaky_relu(t, 0.3, inplace=True)


def _functional(t: Any) -> Any:
    return minidl.nn.functional if isinstance(t, minidl.Tensor) else _torch().nn.functional


def _safe(t: Any) -> Any:
    """Return a divisor of that sign, not near 0."""
    return t * t + 1 if hasattr(t, "shape") else abs(t) + 1


def _augmented(name: str) -> Callable[[Any, Any], Any]:
    return lambda t, other: getattr(t, name)(other)


def _set(t: Any, index: Any, value: Any) -> None:
    t[index] = value


def _add_to_item(t: Any, index: Any, value: Any) -> None:
    t[index] += value


def _scale_item(t: Any, index: Any, value: Any) -> None:
    t[index] *= value


def _set_at(t: Any, at: Any, value: Any) -> None:
    t[positions_of(t, at)] = value


def _add_at(t: Any, at: Any, value: Any) -> None:
    t[positions_of(t, at)] += value


def _spread(t: Any, value: Any) -> Any:
    return t * 0 + value


def _own(t: Any) -> Any:
    """Scale by 2 in place, with a Function of one's own."""
    return _functions(t)[0].apply(t)


def _own_saving(t: Any) -> Any:
    """Square in place, with a Function of one's own that saves a copy."""
    return _functions(t)[1].apply(t)


def _own_adding(t: Any, other: Any) -> Any:
    """Add three times another tensor, or a number, with a Function of one's own."""
    return _functions(t)[2].apply(t, other)


def _functions(t: Any) -> Any:
    if isinstance(t, minidl.Tensor):
        return helpers.Double, Square, AddThrice
    torch = _torch()

    class TorchDouble(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * 2

    class TorchSquare(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x.clone())
            x.mul_(x)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * 2 * ctx.saved_tensors[0]

    class TorchAddThrice(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any, other: Any) -> Any:
            x.add_(other * 3)
            ctx.mark_dirty(x)
            ctx.shape = getattr(other, "shape", None)
            return x

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            needed = ctx.needs_input_grad[1]
            return grad, 3 * grad.sum_to_size(ctx.shape) if needed else None

    return TorchDouble, TorchSquare, TorchAddThrice


class Square(minidl.autograd.Function):
    """x² in place."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x.copy())
        x *= x
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad * 2 * ctx.saved_tensors[0]


class AddThrice(minidl.autograd.Function):
    """x + 3·other in place."""

    @staticmethod
    def forward(ctx: Any, x: Any, other: Any) -> Any:
        x += other * 3
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad, 3 * grad if ctx.needs_input_grad[1] else None


#: Changes: the number of tensor operands, the change, and its result without a change.
CHANGES: dict[str, tuple[int, Callable[..., Any], Callable[..., Any]]] = {
    "add_": (1, lambda t, o: t.add_(o), lambda t, o: t + o),
    "sub_": (1, lambda t, o: t.sub_(o), lambda t, o: t - o),
    "mul_": (1, lambda t, o: t.mul_(o), lambda t, o: t * o),
    "copy_": (1, lambda t, o: t.copy_(o), _spread),
    "+=": (1, _augmented("__iadd__"), lambda t, o: t + o),
    "-=": (1, _augmented("__isub__"), lambda t, o: t - o),
    "*=": (1, _augmented("__imul__"), lambda t, o: t * o),
    "/= 2": (0, lambda t: t.__itruediv__(2), lambda t: t / 2),
    "//= 2": (0, lambda t: t.__ifloordiv__(2), lambda t: (t * 0) + (t.detach() // 2)),
    "%= 1": (0, lambda t: t.__imod__(1), lambda t: t - t.detach() // 1),
    "**= 2": (0, lambda t: t.__ipow__(2), lambda t: t**2),
    "addcmul_": (2, lambda t, o, p: t.addcmul_(o, p), lambda t, o, p: t + o * p),
    "lerp_": (1, lambda t, o: t.lerp_(o, 0.25), lambda t, o: t + (o - t) * 0.25),
    "zero_": (0, lambda t: t.zero_(), lambda t: t * 0),
    "fill_": (0, lambda t: t.fill_(0.7), lambda t: t * 0 + 0.7),
    "relu_": (0, lambda t: t.relu_(), lambda t: minidl.relu(t)),
    "F.relu": (0, _relu, lambda t: minidl.relu(t)),
    "F.leaky_relu": (0, _leaky, lambda t: minidl.nn.functional.leaky_relu(t, 0.3)),
    "clamp_": (0, lambda t: t.clamp_(-1, 1), lambda t: t.clamp(-1, 1)),
    "neg_": (0, lambda t: t.neg_(), lambda t: -t),
    "abs_": (0, lambda t: t.abs_(), lambda t: t.abs()),
    "tanh_": (0, lambda t: t.tanh_(), lambda t: t.tanh()),
    "sigmoid_": (0, lambda t: t.sigmoid_(), lambda t: t.sigmoid()),
    "square_": (0, lambda t: t.square_(), lambda t: t * t),
    "own double": (0, _own, lambda t: t * 2),
    "own square": (0, _own_saving, lambda t: t * t),
}
_NARROW = tuple(CHANGES)

#: Changes of wide programs.
CHANGES |= {
    "sub_ twice": (1, lambda t, o: t.sub_(o, alpha=2), lambda t, o: t - 2 * o),
    "div_": (1, lambda t, o: t.div_(_safe(o)), lambda t, o: t / _safe(o)),
    "addcdiv_": (
        2,
        lambda t, o, p: t.addcdiv_(o, _safe(p), value=0.5),
        lambda t, o, p: t + 0.5 * o / _safe(p),
    ),
    "masked_fill_": (
        0,
        lambda t: t.masked_fill_(t.detach() > 0, 0.3),
        lambda t: t.masked_fill(t.detach() > 0, 0.3),
    ),
    "exp_": (0, lambda t: t.clamp_(max=2).exp_(), lambda t: t.clamp(max=2).exp()),
    "sin_": (0, lambda t: t.sin_(), lambda t: t.sin()),
    "sqrt_": (0, lambda t: t.abs_().add_(1).sqrt_(), lambda t: (t.abs() + 1).sqrt()),
    "reciprocal_": (
        0,
        lambda t: t.square_().add_(1).reciprocal_(),
        lambda t: 1 / (t * t + 1),
    ),
    "clamp_min_": (0, lambda t: t.clamp_min_(-0.5), lambda t: t.clamp(min=-0.5)),
    "round_": (0, lambda t: t.round_(), lambda t: t * 0 + t.detach().round()),
    "floor_": (0, lambda t: t.floor_(), lambda t: t * 0 + t.detach().floor()),
    "sign_": (0, lambda t: t.sign_(), lambda t: t * 0 + t.detach().sign()),
    "gt_": (0, lambda t: t.gt_(0.1), lambda t: t * 0 + (t.detach() > 0.1)),
    "cumsum_": (0, lambda t: t.cumsum_(-1), lambda t: t.cumsum(-1)),
    "tril_": (
        0,
        lambda t: t.tril_() if t.ndim > 1 else t.neg_(),
        lambda t: t.tril() if t.ndim > 1 else -t,
    ),
    "index_fill_": (
        0,
        lambda t: t.index_fill_(0, positions_of(t, [0]), 0.4),
        lambda t: t.index_fill(0, minidl.tensor([0]), 0.4) if t.ndim else t * 0 + 0.4,
    ),
    "index_add_": (
        0,
        lambda t: t.index_add_(0, positions_of(t, [0, 0]), t.detach()[[0, 0]]),
        lambda t: t.index_add(0, minidl.tensor([0, 0]), t.detach()[[0, 0]]) if t.ndim else t,
    ),
    "F.elu": (
        0,
        lambda t: _functional(t).elu(t, inplace=True),
        lambda t: minidl.nn.functional.elu(t),
    ),
    "F.dropout": (
        0,
        lambda t: _functional(t).dropout(t, 0.0, True, inplace=True),
        lambda t: t * 1,
    ),
    "own add": (1, lambda t, o: _own_adding(t, o), lambda t, o: t + 3 * o),
}

#: Changes of some elements, with an index: the change, and what the elements become.
WRITES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "x[i] =": (_set, _spread),
    "x[i] +=": (_add_to_item, lambda t, v: t + v),
    "x[i] *=": (_scale_item, lambda t, v: t * v),
    "x[[...]] =": (_set_at, _spread),
    "x[[...]] +=": (_add_at, lambda t, v: t + v),
    "x[mask] =": (_set_at, _spread),
}

Step = tuple[Any, ...]


class Writer:
    """Writes a random program, keeping track of the shapes; a `wide` one has more operations."""

    def __init__(self, seed: int, length: int = 12, wide: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.wide = wide
        self.same: set[int] = set()  # handles that are one tensor with another
        self.quiet: set[int] = set()  # views made inside no_grad(), and what comes of them
        self.steps: list[Step] = []
        self.shapes: list[tuple[int, ...]] = list(LEAVES.values())
        self.fresh: list[int] = []  # handles that may be changed: not leaves or views of them
        for _ in range(2):
            self.begin()
        for _ in range(int(self.rng.integers(3, length))):
            chosen = self.rng.random()
            if chosen < 0.08:
                self.begin()
            elif chosen < 0.40:
                self.add_view()
            elif chosen < 0.50:
                self.compute()
            elif chosen < 0.54:
                self.alias()
            else:
                self.change()
        count = int(self.rng.integers(1, 4))
        self.ends = [int(h) for h in self.rng.choice(len(self.shapes), count)]
        self.ends.append(self.fresh[int(self.rng.integers(len(self.fresh)))])

    def _new(self, shape: tuple[int, ...], step: Step, fresh: bool = True) -> None:
        self.steps.append(step)
        self.shapes.append(shape)
        if fresh:
            self.fresh.append(len(self.shapes) - 1)

    def begin(self) -> None:
        """Make a tensor with memory of its own: of a leaf, or a constant."""
        if self.rng.random() < 0.25:
            shape = list(LEAVES.values())[int(self.rng.integers(len(LEAVES)))]
            self._new(shape, ("constant", shape))
        else:
            leaf = int(self.rng.integers(len(LEAVES)))
            self._new(self.shapes[leaf], ("scaled", leaf, float(self.rng.choice([1, 2, -1]))))

    def _handle(self) -> int:
        late = self.fresh[-4:] if self.rng.random() < 0.6 else self.fresh
        return int(self.rng.choice(late))

    def add_view(self) -> None:
        """Make a view, sometimes inside no_grad() or of a leaf."""
        of_leaf = self.rng.random() < 0.04
        handle = int(self.rng.integers(len(LEAVES))) if of_leaf else self._handle()
        wide = self.wide and self.rng.random() < 0.3
        name, args = (wide_view if wide else random_view)(self.rng, self.shapes[handle])
        if name in _FLAT and len(self.shapes[handle]) == 1:
            self.same |= {handle, len(self.shapes)}
        shape = VIEWS[name](minidl.zeros(*self.shapes[handle]), *args).shape
        if 0 in shape:
            return
        quiet = self.rng.random() < 0.03
        if quiet:
            self.quiet.add(len(self.shapes))
        self._follow(handle)
        self._new(tuple(shape), ("view", handle, name, args, quiet))

    def compute(self) -> None:
        """Make a new tensor of two: their values may be saved for the backward."""
        a = self._handle()
        fitting = [h for h in range(len(self.shapes)) if self._fits(h, self.shapes[a])]
        b = int(self.rng.choice(fitting))
        self._follow(a, b)
        self._new(self.shapes[a], ("compute", str(self.rng.choice(["*", "+", "tanh"])), a, b))

    def alias(self) -> None:
        """Detach, clone, or retain the gradient."""
        kinds = ["detach", "clone", "retain"]
        kinds += ["retain", "hook", "hook", "grad_fn", "grad", "reshape"] if self.wide else []
        handle, kind = self._handle(), str(self.rng.choice(kinds))
        if kind == "reshape":
            self._reshape(handle)
        elif kind in ("retain", "hook", "grad_fn", "grad"):
            if handle not in self.quiet:  # what these require is another matter: docs/pytorch.md
                self.steps.append((kind, handle))
        else:
            self._follow(handle)
            self._new(self.shapes[handle], (kind, handle), fresh=kind == "clone")

    def _reshape(self, handle: int) -> None:
        """Give a handle another shape in place."""
        ndim = len(self.shapes[handle])
        if handle in self.same:
            return
        name = str(self.rng.choice(["squeeze_", "unsqueeze_", "t_", "transpose_"]))
        args: tuple[Any, ...] = ()
        if name == "unsqueeze_":
            args = (int(self.rng.integers(ndim + 1)),)
        elif name == "t_" and ndim != 2:
            return
        elif name == "transpose_":
            args = (int(self.rng.integers(max(ndim, 1))), 0)
        view = VIEWS[_AS_VIEW[name]](minidl.zeros(*self.shapes[handle]), *args)
        self.steps.append(("reshape", handle, name, args))
        self.shapes[handle] = tuple(view.shape)

    def _follow(self, *handles: int) -> None:
        """Note whether the next handle comes of a view made inside no_grad()."""
        if self.quiet.intersection(handles):
            self.quiet.add(len(self.shapes))

    def _fits(self, handle: int, shape: tuple[int, ...]) -> bool:
        try:
            return np.broadcast_shapes(self.shapes[handle], shape) == shape
        except ValueError:
            return False

    def _operand(self, shape: tuple[int, ...]) -> Any:
        if self.rng.random() < 0.35:
            return round(float(self.rng.normal()), 2)
        handles = (h for h in range(len(self.shapes)) if h not in self.quiet)
        return "h", int(self.rng.choice([h for h in handles if self._fits(h, shape)]))

    def change(self) -> None:
        """Change a handle in place, or some of its elements."""
        handle = self._handle()
        shape = self.shapes[handle]
        quiet = bool(self.rng.random() < 0.06)
        if shape and self.rng.random() < 0.3:
            name = str(self.rng.choice(list(WRITES)))
            index: Any
            if name == "x[mask] =":
                index = self.rng.random(shape) < 0.5
                index, region = index.tolist(), ()
            elif "[[" in name:
                index = [int(k) for k in self.rng.permutation(shape[0])[: self.rng.integers(1, 3)]]
                region = (len(index), *shape[1:])
            else:
                index = random_index(self.rng, shape)
                region = np.zeros(shape)[index].shape
            self.steps.append(("write", handle, name, index, self._operand(region), quiet))
            return
        name = str(self.rng.choice(list(CHANGES if self.wide else _NARROW)))
        operands = [self._operand(shape) for _ in range(CHANGES[name][0])]
        if name in ("addcmul_", "addcdiv_", "lerp_"):
            fitting = [h for h in range(len(self.shapes)) if self._fits(h, shape)]
            fitting = [h for h in fitting if h not in self.quiet]
            operands = [("h", int(self.rng.choice(fitting))) for _ in operands]
        self.steps.append(("change", handle, name, operands, quiet))


def leaf_values() -> list[np.ndarray]:
    """Return the numbers of the leaves, no two alike and none at a kink."""
    rng = np.random.default_rng(5)
    return [np.round(rng.normal(size=shape), 3) + 0.01 for shape in LEAVES.values()]


def execute(library: Any, writer: Writer) -> tuple[list[Any], list[Any], list[Any]]:
    """Run a program: return the leaves' gradients, all values, and the retained gradients."""
    handles = [library.tensor(v, dtype=library.float64) for v in leaf_values()]
    handles[1::2] = [leaf.unsqueeze(0)[0] for leaf in handles[1::2]]  # leaves may be views, too
    for leaf in handles:
        leaf.requires_grad_()
    retained: list[Any] = []

    def get(operand: Any) -> Any:
        return handles[operand[1]] if isinstance(operand, tuple) else operand

    for kind, *rest in writer.steps:
        if kind == "constant":
            handles.append(library.ones(*rest[0], dtype=library.float64) * 0.5)
        elif kind == "scaled":
            handles.append(handles[rest[0]] * rest[1])
        elif kind == "view":
            handle, name, args, quiet = rest
            with library.set_grad_enabled(not quiet):
                handles.append(VIEWS[name](handles[handle], *args))
        elif kind == "compute":
            a, b = handles[rest[1]], handles[rest[2]]
            handles.append(a * b if rest[0] == "*" else a + b if rest[0] == "+" else (a + b).tanh())
        elif kind in ("detach", "clone"):
            handles.append(getattr(handles[rest[0]], kind)())
        elif kind == "retain":
            handle = handles[rest[0]]
            retains = handle.requires_grad and not handle.is_leaf
            if retains:
                handle.retain_grad()
            retained.append(lambda h=handle, kept=retains: _numbers(h.grad) if kept else None)
        elif kind == "hook":
            seen: list[Any] = []
            handle = handles[rest[0]]
            if handle.requires_grad:
                handle.register_hook(lambda g, seen=seen: seen.append(_numbers(g)))
            retained.append(lambda seen=seen: np.stack(seen) if seen else None)
        elif kind == "grad_fn":
            handles[rest[0]].grad_fn  # noqa: B018
        elif kind == "grad":
            found = [None] * len(LEAVES)
            if handles[rest[0]].requires_grad:
                total, leaves = handles[rest[0]].sum(), handles[: len(LEAVES)]
                found = library.autograd.grad(total, leaves, retain_graph=True, allow_unused=True)
            for g in found:
                value = _numbers(g if g is None or bool((g != 0).any()) else None)
                retained.append(lambda value=value: value)
        elif kind == "reshape":
            handle, name, args = rest
            RESHAPES[name](handles[handle], *args)
        elif kind == "write":
            handle, name, index, operand, quiet = rest
            with library.set_grad_enabled(not quiet):
                WRITES[name][0](handles[handle], index, get(operand))
        else:
            handle, name, operands, quiet = rest
            values = [get(o) for o in operands]
            if name == "copy_" and not hasattr(values[0], "shape"):
                values = [library.tensor(np.array(values[0]))]
            with library.set_grad_enabled(not quiet):
                CHANGES[name][1](handles[handle], *values)
    loss = _loss(handles, writer.ends)
    if loss.requires_grad:
        loss.backward()
    grads = [leaf.grad for leaf in handles[: len(LEAVES)]]
    return (
        [None if g is None else np.asarray(g.tolist()) for g in grads],
        [np.asarray(h.detach().tolist()) for h in handles],
        [number() for number in retained],
    )


def _numbers(tensor: Any) -> Any:
    return None if tensor is None else np.asarray(tensor.tolist())


def _loss(handles: list[Any], ends: list[int]) -> Any:
    loss: Any = 0
    for number, end in enumerate(ends):
        loss = loss + (handles[end] * handles[end] * (number + 1) + handles[end]).sum()
    return loss


class _Handle:
    """Positions in a memory, and whether the tensor is on the tape."""

    def __init__(self, memory: int, positions: np.ndarray, detached: bool = False) -> None:
        self.memory, self.positions, self.detached = memory, positions, detached


def replay(writer: Writer) -> tuple[list[Any], list[Any]]:
    """Compute the same without views and changes: the leaves' gradients, and all values."""
    leaves = [minidl.tensor(v, dtype=minidl.float64, requires_grad=True) for v in leaf_values()]
    memories: list[Any] = []
    handles: list[_Handle] = []

    def add(value: Any, *parents: Any) -> None:
        """Begin a memory, in which the axes have the order that NumPy gives a result of parents."""
        axes = _axes(sum(_laid_out(handles[p].positions) for p in parents), value.ndim)
        memories.append(value.permute(axes).reshape(-1))
        positions = np.arange(value.numel()).reshape([value.shape[axis] for axis in axes])
        handles.append(_Handle(len(memories) - 1, positions.transpose(np.argsort(axes))))

    def get(operand: Any) -> Any:
        if isinstance(operand, tuple):
            operand = operand[1]
        elif not isinstance(operand, int):
            return operand
        return read(handles[operand])

    def read(handle: _Handle) -> Any:
        value = memories[handle.memory][minidl.tensor(handle.positions)]
        return value.detach() if handle.detached else value

    def put(
        number: int, change: Callable[..., Any], index: Any, operands: Any, quiet: bool
    ) -> None:
        handle = handles[number]
        index = np.array(index) if isinstance(index, list) else index
        region = _Handle(handle.memory, handle.positions[index], handle.detached)
        for operand in operands:
            other = handles[operand[1]] if isinstance(operand, tuple) else region
            if other.memory == region.memory and _overlap_partly(other.positions, region.positions):
                raise Undefined
        value = change(read(region), *[get(o) for o in operands])
        memory, at = memories[handle.memory], region.positions.reshape(-1)
        order = np.arange(memory.numel())
        order[at] = memory.numel() + np.arange(at.size)
        value = value.expand(region.positions.shape).reshape(-1)
        new = minidl.cat([memory, value])[minidl.tensor(order)]
        if quiet or handle.detached:  # the numbers change, the tape does not know
            new = memory + (new - memory).detach()
        memories[handle.memory] = new

    for leaf in leaves:
        add(leaf)
    for kind, *rest in writer.steps:
        if kind == "constant":
            add(minidl.ones(*rest[0], dtype=minidl.float64) * 0.5)
        elif kind == "scaled":
            add(get(rest[0]) * rest[1], rest[0])
        elif kind == "view":
            handle, name, args, quiet = rest
            source = handles[handle]
            positions = VIEWS[name](minidl.tensor(source.positions), *args)
            quiet = quiet and not (name in _FLAT and source.positions.ndim == 1)  # itself
            if _is_copy(name, source.positions, positions.shape):
                value = get(handle).reshape(-1)[: positions.numel()].reshape(positions.shape)
                add(value.detach() if quiet else value)
            else:
                handles.append(_Handle(source.memory, positions.numpy(), source.detached or quiet))
        elif kind == "compute":
            a, b = get(rest[1]), get(rest[2])
            value = a * b if rest[0] == "*" else a + b if rest[0] == "+" else (a + b).tanh()
            add(value, *rest[1:])
        elif kind == "detach":
            handles.append(_Handle(handles[rest[0]].memory, handles[rest[0]].positions, True))
        elif kind == "clone":
            add(get(rest[0]), rest[0])
        elif kind == "write":
            handle, name, index, operand, quiet = rest
            put(handle, WRITES[name][1], index, [operand], quiet)
        elif kind == "reshape":
            handle, name, args = rest
            positions = minidl.tensor(handles[handle].positions)
            handles[handle].positions = VIEWS[_AS_VIEW[name]](positions, *args).numpy()
        elif kind == "change":
            handle, name, operands, quiet = rest
            put(handle, CHANGES[name][2], (), operands, quiet)
    values = [get(number) for number in range(len(handles))]
    loss = _loss(values, writer.ends)
    if loss.requires_grad:
        loss.backward()
    return (
        [None if leaf.grad is None else np.asarray(leaf.grad.tolist()) for leaf in leaves],
        [np.asarray(value.detach().tolist()) for value in values],
    )


class Undefined(Exception):
    """A change reads other elements of the memory that it writes to: PyTorch gives anything."""


def _overlap_partly(a: np.ndarray, b: np.ndarray) -> bool:
    alike = a.shape == b.shape and bool((a == b).all())
    return not alike and bool(np.isin(a, b).any())


def _is_copy(name: str, positions: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Return whether a reshape of these positions in a dense memory has to copy."""
    if name != "reshape" and name not in _FLAT:
        return False
    view = _laid_out(positions)
    if name == "ravel" and not view.flags.c_contiguous:
        return True
    return not np.shares_memory(view.reshape(shape), view)


def _laid_out(positions: np.ndarray) -> np.ndarray:
    """Return zeros that lie in memory as the handle of these positions does."""
    strides = [
        int(np.take(positions, 1, axis).flat[0] - positions.flat[0]) * 8 if n > 1 else 8
        for axis, n in enumerate(positions.shape)
    ]
    room = np.zeros(int(positions.max()) + 1)
    return np.lib.stride_tricks.as_strided(room, positions.shape, strides)


def _axes(like: Any, ndim: int) -> list[int]:
    """Return the axes of an array from the largest steps in memory to the smallest."""
    return sorted(range(ndim), key=lambda axis: -like.strides[axis] if np.ndim(like) else axis)


def differences(ours: Any, theirs: Any) -> str:
    """Return what differs between two runs, or nothing."""
    for what, a, b in zip(("gradient", "value", "retained"), ours, theirs, strict=False):
        for number, (x, y) in enumerate(zip(a, b, strict=True)):
            if what == "gradient":  # a leaf that no operation reaches: no gradient, or zeros
                x, y = (0.0 if v is None else v for v in (x, y))
            elif (x is None) != (y is None):
                return f"{what} {number}: {x} and {y}"
            if x is not None and not np.allclose(x, y, 1e-9, 1e-9, equal_nan=True):
                return f"{what} {number}: {x} and {y}"
    return ""


def attempt(run: Callable[[], Any]) -> tuple[Any, str]:
    """Return what a run gives and the error, one of the two."""
    try:
        return run(), ""
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        return None, f"{type(error).__name__}: {error}"


def main() -> None:
    """Run many programs and count."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("count", type=int, nargs="?", default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--wide", action="store_true", help="more operations, hooks, reshapes")
    parser.add_argument("--show", type=int, default=5)
    options = parser.parse_args()
    try:
        torch = _torch()
    except ImportError:
        torch = None
    counts: Counter[str] = Counter()
    for seed in range(options.seed, options.seed + options.count):
        verdict, detail = judge(Writer(seed, wide=options.wide), torch)
        counts[verdict] += 1
        if verdict.startswith(("DIFFERS", "refused here")) and counts[verdict] <= options.show:
            print(seed, verdict, detail)
    print(dict(counts))


def judge(writer: Writer, torch: Any = None) -> tuple[str, str]:
    """Run one program in every way and compare."""
    ours, error = attempt(lambda: execute(minidl, writer))
    try:
        replayed = replay(writer)
    except Undefined:
        return "undefined", ""
    if torch is not None:
        theirs, their_error = attempt(lambda: execute(torch, writer))
        if theirs is not None and ours is None:
            return "refused here alone", error
        if theirs is not None:
            found = differences(ours, theirs)
            if found:
                return "DIFFERS from PyTorch", found
    if ours is None:
        return "refused", error
    found = differences(ours, replayed)
    if found:
        return "DIFFERS from the replay" + (
            " (PyTorch refuses)" if torch and not theirs else ""
        ), found
    return "right", ""


if __name__ == "__main__":
    main()
