"""A differentiable operation: :class:`Function`, and the :class:`Context` that its author sees.

``Function.apply`` does four things: it unwraps Tensors to arrays, runs ``forward``, wraps the
results, and, if a gradient will be needed, leaves a :class:`~minidl.autograd.tape.Node` on the
tape.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..device import Array, active, check_one_device, gpu
from ..errors import AutogradError
from ..kernels import cuda
from ..tensor import Tensor, describe_array
from . import changes
from .modes import mode
from .tape import Edge, Node, edge_of, next_sequence
from .tape_array import is_on_tape, recorded_by
from .views import (
    Steps,
    axis_order,
    check_changeable,
    check_no_overlap,
    copy_in_order,
    edge_past,
    link,
    link_opaque,
    move,
    region,
)

Callback = TypeVar("Callback", bound=Callable[..., Any])


class Context:
    """State that the forward and the backward of one operation share: a Function's ``ctx``.

    A forward may set attributes of its own on it, for its backward to read.

    Attributes
    ----------
    needs_input_grad : tuple of bool
        For each argument of ``forward``, whether its gradient will be used.
    saved_tensors : tuple of arrays
        What ``save_for_backward`` was given.
    may_overwrite : tuple of bool
        In ``backward``, for each gradient, whether nothing else refers to it, so that its memory
        may hold the result.
    """

    # Defaults are on the class, so that an operation that does not need them spends no time.
    may_overwrite: tuple[bool, ...] = ()
    materialize_grads = True
    _saved: tuple[Any, ...] = ()
    # of saved tensors: version counter, its value at the forward, index in _saved, origin, name;
    # the origin is the number of an argument, or ~number of a result
    _guards: Sequence[tuple[list[int], int, int, int, str | None]] = ()
    # of a user's Function: the origins of arrays among the attributes
    _attributes: dict[str, int] | None = None
    _without_grad: tuple[Any, ...] = ()
    # of a gradient that had to be summed to fit its argument
    shape_returned: tuple[int, ...] | None = None
    _dirty: tuple[Any, ...] = ()

    def __init__(self, function: type[Function], needs_input_grad: tuple[bool, ...]) -> None:
        self.function = function
        self.needs_input_grad = needs_input_grad

    if TYPE_CHECKING:  # the attributes that a forward sets

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    def save_for_backward(self, *arrays: Any) -> None:
        """Keep `arrays` (or None) for the backward; changing them in place becomes an error."""
        self._saved = arrays

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The arrays that ``save_for_backward`` was given.

        Raises
        ------
        AutogradError
            One was changed in place after the forward; the message names it.
        """
        for version, before, index, origin, name in self._guards:
            if version[0] != before:
                what = "its argument" if origin >= 0 else "its own result"
                raise AutogradError(
                    f"{self.function.__name__}'s backward needs {what}, "
                    f"{describe_array(self._saved[index], name)}, but it was changed in place "
                    f"after the forward: it is at version {version[0]}, and version {before} was "
                    "expected; use the out-of-place form of the change, or clone() the tensor first"
                )
        return self._saved

    def mark_non_differentiable(self, *arrays: Any) -> None:
        """Declare outputs, or saved arrays, that have no gradient, such as indices and masks."""
        self._without_grad = arrays

    def mark_dirty(self, *arrays: Any) -> None:
        """Declare arguments that ``forward`` changed in place and returns."""
        self._dirty = arrays

    def set_materialize_grads(self, value: bool) -> None:
        """Choose whether ``backward`` gets zeros (the default) or None for unused outputs."""
        self.materialize_grads = value

    # --- For the tape -----------------------------------------------------------------------------

    def free(self) -> None:
        """Drop what was saved, but no other attribute."""
        self._saved, self.__class__ = (), FreedContext

    def is_dirty(self, array: Array) -> bool:
        """Return whether `array` was declared with :meth:`mark_dirty`."""
        return any(array is dirty for dirty in self._dirty)

    def is_differentiable(self, output: Any) -> bool:
        """Return whether an output has a gradient: floats do, unless declared otherwise."""
        if self._without_grad and any(output is other for other in self._without_grad):
            return False
        return hasattr(output, "dtype") and output.dtype.kind == "f"

    def guard(self, args: Sequence[Any], places: dict[int, int], results: Sequence[Tensor]) -> None:
        """Note where saved arrays come from, and the versions of their tensors.

        `places` holds the origins of arrays by their ``id``: the numbers of `args`, and ~number of
        `results`.
        """
        guards = []
        readers, needed = self.function.read_for, self.needs_input_grad
        for index, array in enumerate(self._saved):
            origin = places.get(id(array))
            if origin is None:
                continue
            if readers and (reader := readers[index]) is not None and not needed[reader]:
                continue  # the backward will not read its numbers
            tensor = args[origin] if origin >= 0 else results[~origin]
            version = tensor.version
            guards.append((version, version[0], index, origin, tensor.name))
        self._guards = guards

    def note_attributes(self, places: dict[int, int], outputs: Sequence[Any]) -> None:
        """Note where arrays among the attributes come from, as :meth:`guard` does of saved ones."""
        known = places | {id(output): ~number for number, output in enumerate(outputs)}
        found = {name: known.get(id(value)) for name, value in vars(self).items()}
        self._attributes = {name: at for name, at in found.items() if at is not None}

    def keep_copy(self, array: Array) -> None:
        """Replace a saved `array`, which is about to be overwritten, by a copy."""
        saved = list(self._saved)
        for index, item in enumerate(saved):
            if item is array:
                saved[index] = array.copy(order="K")
                self._guards = [
                    ([0], 0, *guard[2:]) if guard[2] == index else guard for guard in self._guards
                ]
        self._saved = tuple(saved)


class FreedContext(Context):
    """The context of a user's Function once the walk has passed; its backward may run again."""

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """Raise an error."""
        raise AutogradError(
            f"{self.function.__name__}: saved tensors were freed when the tape was walked; pass "
            "retain_graph=True to the first backward() to walk it twice"
        )


class Function:
    """A differentiable operation: subclass it and write ``forward`` and ``backward``.

    Both are static methods on arrays (NumPy or CuPy, never Tensors). ``forward(ctx, *args)`` gets
    an array for each Tensor and everything else unchanged, and returns an array or a tuple of
    arrays. ``backward(ctx, *grads)`` gets the gradient of each output and returns the gradient of
    each argument, None for those that have none. A gradient must not be changed in place, unless
    ``ctx.may_overwrite`` says that nothing else refers to it.

    Examples
    --------
    >>> import numpy as np
    >>> import minidl
    >>> class Square(minidl.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         (x,) = ctx.saved_tensors
    ...         return 2 * x * grad
    >>> x = minidl.tensor([1.0, 3.0], requires_grad=True)
    >>> Square.apply(x).sum().backward()
    >>> x.grad
    tensor([2., 6.])
    """

    #: Whether the result shares the memory of the first argument, where its layout allows.
    is_view = False
    #: Whether it is not one of minidl's: attributes of its ctx may hold arguments, and its forward
    #: may change arguments unannounced.
    is_foreign = False

    #: What ``amp.autocast`` does with float arguments: "half", "float32", "banned" or None, which
    #: leaves them as they are; or a function from the arguments to one of these.
    autocast: Any = None

    #: For each saved array, the only argument whose gradient reads its values; None if any may. An
    #: array that is not read may be changed in place after the forward. Default: all are read.
    read_for: tuple[int | None, ...] = ()

    #: A Function whose results are, in order, the saved float arrays that are not arguments; its
    #: backward leads to the same arguments. Without it, those that are not results either are
    #: constants. Only gradients of gradients use it.
    intermediates: type[Function] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.is_foreign = not cls.__module__.startswith("minidl.")
        if cls.setup_context is not Function.setup_context:
            cls.apply = _apply_with_setup(cls)  # type: ignore[method-assign]

    def __call__(self, *args: Any) -> Any:
        """Refuse the style of Functions before PyTorch 0.4, whose instances were called."""
        name = type(self).__name__
        raise AutogradError(
            f"{name}: a Function is not called; give it static methods forward(ctx, ...) and "
            f"backward(ctx, ...), and use {name}.apply(...)"
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Save what the backward needs, if ``forward`` has no ``ctx``: it is then called first."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        """Compute the result from arrays."""
        raise NotImplementedError("a Function needs a static method forward(ctx, *args)")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Compute the arguments' gradients from the results' gradients."""
        raise NotImplementedError("a Function needs a static method backward(ctx, *grads)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run the operation on Tensors and record it.

        Parameters
        ----------
        *args
            Tensors and anything else, by position.

        Returns
        -------
        Tensor or tuple of Tensor

        Raises
        ------
        DeviceError
            The Tensors are on different devices.
        """
        recording = mode.enabled
        arrays: list[Any] = list(args)
        edges: list[Edge | None] = [None] * len(args)
        places: dict[int, int] = {}  # the numbers of the tensors by the id of their arrays
        where = None  # of the tensors so far: the number of their GPU, -1 for the CPU
        for number, arg in enumerate(args):
            if not isinstance(arg, Tensor):
                continue
            array = arrays[number] = arg.array
            here = -1 if isinstance(array, np.ndarray) else array.data.device_id
            if here != where:
                if where is not None:
                    _check_one_device(cls.__name__, args)
                where = here
            if args[places.setdefault(id(array), number)] is not arg:
                array = arrays[number] = array.view()  # x * x.detach(): one array, two edges
                places[id(array)] = number
            if arg._view is not None and recording:
                arg._view.refresh_argument(arg)
            if arg._requires_grad:  # edge_of(arg), in place: a call takes time
                node = arg._node
                edges[number] = (arg, -1) if node is None else (node, arg.output_index)

        if mode.autocast is not None:
            mode.autocast(cls, args, arrays, places)
        ctx = Context(cls, tuple(map(bool, edges)))
        recording = recording and True in ctx.needs_input_grad
        before = changes.notes(arrays) if cls.is_foreign else None
        outputs = _run(cls, ctx, arrays, where)
        if ctx._dirty:
            _note_changes(ctx, args, places, recording)
        if before is not None:
            changes.note(before, arrays, args, ctx._dirty)

        returned = outputs if isinstance(outputs, tuple) else (outputs,)
        if ctx._dirty and not all(any(a is output for output in returned) for a in ctx._dirty):
            raise AutogradError(
                f"{cls.__name__}: an argument that was declared with mark_dirty is not returned; "
                "return every argument that forward changes in place"
            )
        results: list[Any] = []
        for output in returned:
            place = places.get(id(output))
            if place is not None:  # one memory, one version
                result = args[place]
                if not ctx.is_dirty(output):
                    result = result.detach()
                    if edges[place] is not None and cls.is_foreign:
                        link_opaque(result, args[place])
            elif before is None:
                result = Tensor(output)
                if cls.is_view:
                    link(result, args[0], cls, args[1:])
            else:
                result = changes.wrapped(output, args, returned, results)
            results.append(result)
        if recording:
            _record(Node(cls, ctx, edges), args, places, returned, results)
        return tuple(results) if isinstance(outputs, tuple) else results[0]


@np.errstate(all="ignore")  # 1/0 is inf and inf - inf is NaN, as IEEE says
def _run(function: type[Function], ctx: Context, arrays: list[Any], where: int | None) -> Any:
    """Return the outputs of a forward; `where` is the number of the GPU, or -1 or None."""
    try:
        if where is None or where < 0:
            return function.forward(ctx, *arrays)
        with active(gpu(where)):
            return function.forward(ctx, *arrays)
    except (MemoryError, RuntimeError) as error:
        cuda.explain_out_of_memory(error, function.__name__)
        raise
    except AttributeError as error:
        if isinstance(error.obj, np.ndarray):
            error.add_note("A Function's forward and backward get arrays, not Tensors: use NumPy's "
                           "functions, such as x.clip(0) or np.exp(x).")  # fmt: skip
        raise


def _record(
    node: Node,
    args: Sequence[Any],
    places: dict[int, int],
    outputs: Sequence[Any],
    results: Sequence[Any],
) -> None:
    """Make `results`, the outputs of a forward as Tensors, outputs of its node on the tape."""
    ctx = node.context
    dirty = ctx._dirty
    for number, output in enumerate(outputs):
        result, differentiable = results[number], ctx.is_differentiable(output)
        if dirty and differentiable and ctx.is_dirty(output):
            if result._view is not None and result._requires_grad:
                node.edges[places[id(output)]] = edge_past(result)
                node.sequence = next_sequence()
            rebase(result, node, node.add_slot(result.array))
        else:
            node.add_output(result, differentiable)
        if (dirty or id(output) not in places) and isinstance(result, Tensor):
            places[id(output)] = ~number
    if ctx._saved:
        ctx.guard(args, places, results)
    if node.function.is_foreign:
        ctx.note_attributes(places, outputs)


def _apply_with_setup(cls: type[Function]) -> Callable[..., Any]:
    """Return the ``apply`` of a Function whose ``forward`` has no ``ctx``."""
    forward, signature = cls.forward, inspect.signature(cls.forward)

    def forward_and_setup(ctx: Context, *args: Any) -> Any:
        output = forward(*args)
        cls.setup_context(ctx, args, output)
        return output

    both: Any = type(
        cls.__name__,
        (cls,),
        {
            "__doc__": cls.__doc__,
            "__module__": cls.__module__,
            "__qualname__": cls.__qualname__,
            "forward": staticmethod(forward_and_setup),
            "setup_context": staticmethod(Function.setup_context),
            "apply": Function.__dict__["apply"],
        },
    )

    def apply(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return both.apply(*bound.args)

    return apply


def once_differentiable(backward: Callback) -> Callback:
    """Declare that a ``backward`` can't be differentiated again.

    With ``create_graph=True`` it still runs on arrays, and differentiating its results is an error.
    This is for backwards that NumPy's functions alone can't express.

    Examples
    --------
    >>> import minidl
    >>> from minidl.autograd.function import once_differentiable
    >>> class Double(minidl.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     @once_differentiable
    ...     def backward(ctx, grad):
    ...         return grad * 2
    """
    backward.once_differentiable = True  # type: ignore[attr-defined]
    return backward


def _note_changes(
    ctx: Context, args: Sequence[Any], places: dict[int, int], recording: bool
) -> None:
    """Count the changes of the arguments that a forward declared with ``mark_dirty``."""
    for array in ctx._dirty:
        place = places.get(id(array))
        if place is not None:
            check_no_overlap(args[place])
            if recording:
                check_changeable(args[place])
            args[place].version[0] += 1


@recorded_by(lambda: Replace)
def _replaced(x: Array, result: Any, steps: Steps, order: tuple[int, ...]) -> Array:
    """Return a copy of the base `x` with `result` in the region of a view."""
    y = copy_in_order(x, order)
    region(y, steps)[...] = result
    return y


class Replace(Function):
    """A base, one region of which was replaced by a result: what a change of a view does to it.

    The old base gets the gradient outside the region, the result that inside.
    """

    @staticmethod
    def forward(
        ctx: Context, x: Array, result: Array, steps: Steps, order: tuple[int, ...]
    ) -> Array:
        ctx.steps, ctx.order = steps, order
        return _replaced(x, result, steps, order)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        need_x, need_result, *_ = ctx.needs_input_grad
        dx = None
        dresult = region(grad, ctx.steps) if need_result else None
        if need_x:
            if ctx.may_overwrite[0] and not is_on_tape(grad) and axis_order(grad) == ctx.order:
                dx, dresult = grad, None if dresult is None else dresult.copy()
                region(dx, ctx.steps)[...] = 0
            else:
                dx = _replaced(grad, 0, ctx.steps, ctx.order)
        return dx, dresult, None, None


def rebase(tensor: Tensor, node: Node, index: int) -> None:
    """Give `tensor`, changed in place, its new place on the tape, and its base, if it is a view.

    Other views of the base notice when they are next used.
    """
    tensor.version[1] += 1
    view = tensor._view
    if view is None:
        move(tensor, node, index)
        return
    base = view.base
    edges: list[Edge | None] = [
        edge_of(base) if base._requires_grad else None, (node, index), None, None,
    ]  # fmt: skip
    ctx = Context(Replace, tuple(edge is not None for edge in edges))
    ctx.steps, ctx.order = view.steps, axis_order(base.array)
    place = Node(Replace, ctx, edges)
    move(base, place, place.add_slot(base.array))
    view.refresh(tensor)


def _check_one_device(name: str, args: Sequence[Any]) -> None:
    tensors = {f"argument {i}": arg.array for i, arg in enumerate(args) if isinstance(arg, Tensor)}
    check_one_device(name, **tensors)
