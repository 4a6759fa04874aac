"""Tensor: an array, its gradient, the operation that made it; and the operators.

The methods are thin: each names the operation of ``minidl.ops`` (or the layer of ``minidl.nn``)
that does the work, where its maths and its gradient stand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any

import numpy as np

from .device import Array, Device, active, array_module, device_of
from .errors import ArgumentError, AutogradError, DTypeError, ShapeError
from .kernels.cuda import copy_to

float16 = np.dtype("float16")
float32 = np.dtype("float32")
float64 = np.dtype("float64")
int8 = np.dtype("int8")
int16 = np.dtype("int16")
int32 = np.dtype("int32")
int64 = np.dtype("int64")
uint8 = np.dtype("uint8")
bool_ = np.dtype("bool")

#: What a float becomes that has no dtype of its own.
DEFAULT_DTYPE = float32


class Tensor:
    """An n-dimensional array that remembers how it was made.

    Parameters
    ----------
    array : ndarray or cupy.ndarray
        Used as it is, without a copy; :func:`minidl.tensor` copies and converts.
    requires_grad : bool
        Whether a gradient is wanted. Default False.

    Attributes
    ----------
    array : ndarray or cupy.ndarray
        The numbers. An image activation is NCHW in shape and usually NHWC in memory.
    grad : Tensor or None
        What :meth:`backward` has added up so far.
    node : Node or None
        The operation that made the tensor; None for a leaf.
    name : str or None
        For error messages; a parameter's dotted name.

    Examples
    --------
    >>> import minidl
    >>> w = minidl.tensor([1.0, 2.0], requires_grad=True)
    >>> (w * w).sum().backward()
    >>> w.grad
    tensor([2., 4.])
    """

    __slots__ = (
        "__dict__", "__weakref__", "_requires_grad", "array", "grad", "name", "node",
        "output_index", "version",
    )  # fmt: skip

    # ndarray * Tensor must reach Tensor.__rmul__ instead of building an array of objects.
    __array_ufunc__ = None
    __hash__ = object.__hash__

    array: Array
    grad: Tensor | None

    if TYPE_CHECKING:  # the methods that ops.METHODS lists

        def __getattr__(self, name: str) -> Callable[..., Any]: ...

    def __init__(self, array: Any, requires_grad: bool = False) -> None:
        if type(array) is not np.ndarray:
            if not hasattr(array, "dtype"):
                array = to_array(array)
            elif isinstance(array, np.generic):
                array = np.asarray(array)
        self.array = array
        self.grad = None
        self.node: Any = None
        self.output_index = 0
        self.version = [0]  # shared by all views of one memory
        self.name: str | None = None
        self._requires_grad = False
        if requires_grad:
            self.requires_grad = True

    # --- What it is -------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether operations on the tensor are recorded."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value and self.array.dtype.kind != "f":
            raise DTypeError(
                f"requires_grad: only floating-point tensors have gradients, got {self.dtype}"
            )
        if not value and self.node is not None:
            raise AutogradError("requires_grad=False: only leaves can be set; use detach()")
        self._requires_grad = bool(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set ``requires_grad`` and return the tensor."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was not made by a recorded operation."""
        return self.node is None

    @property
    def grad_fn(self) -> Any:
        """The operation on the tape that made the tensor, or None."""
        return self.node

    @property
    def data(self) -> Tensor:
        """The same memory as a tensor outside the tape."""
        return Tensor(self.array)

    @data.setter
    def data(self, value: Any) -> None:
        self.array = value.array if isinstance(value, Tensor) else value

    @property
    def shape(self) -> Size:
        """The lengths of the axes."""
        return Size(self.array.shape)

    @property
    def dtype(self) -> np.dtype:
        """The type of the numbers, a NumPy dtype."""
        return self.array.dtype

    @property
    def device(self) -> Device:
        """Where the numbers are."""
        return device_of(self.array)

    @property
    def is_cuda(self) -> bool:
        """Whether the numbers are on a GPU."""
        return self.device.type == "gpu"

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.array.ndim

    @property
    def T(self) -> Tensor:
        """The tensor with its axes reversed."""
        return ops.permute(self, tuple(range(self.ndim))[::-1])

    @property
    def mT(self) -> Tensor:
        """The tensor with its last two axes exchanged."""
        return ops.transpose(self, -2, -1)

    def size(self, dim: int | None = None) -> Any:
        """Return the shape, or the length of axis `dim`."""
        return self.shape if dim is None else self.array.shape[dim]

    def dim(self) -> int:
        """Return the number of axes."""
        return self.array.ndim

    def numel(self) -> int:
        """Return the number of elements."""
        return self.array.size

    nelement = numel

    def element_size(self) -> int:
        """Return the bytes of one element."""
        return self.array.dtype.itemsize

    def is_floating_point(self) -> bool:
        """Return whether the numbers are floats."""
        return self.array.dtype.kind == "f"

    def stride(self, dim: int | None = None) -> Any:
        """Return how many elements apart neighbours along each axis (or `dim`) are in memory."""
        strides = tuple(step // self.array.itemsize for step in self.array.strides)
        return strides if dim is None else strides[dim]

    def is_contiguous(self) -> bool:
        """Return whether the memory is in the order of the axes."""
        return bool(self.array.flags.c_contiguous)

    # --- Autograd ---------------------------------------------------------------------------------

    def backward(
        self, gradient: Any = None, retain_graph: bool = False, create_graph: bool = False
    ) -> None:
        """Add the gradient of this tensor to the ``.grad`` of every leaf it was made from.

        Parameters
        ----------
        gradient : Tensor, optional
            The gradient of the loss by this tensor. Default: 1, for a tensor of one element.
        retain_graph : bool
            Keep the tape for another walk. Default False.
        create_graph : bool
            Not supported.

        Raises
        ------
        AutogradError
            See :func:`minidl.autograd.backward`.
        """
        autograd.backward(self, gradient, retain_graph, create_graph)

    def retain_grad(self) -> None:
        """Keep the gradient of this non-leaf tensor in its ``.grad``."""
        if self.node is not None:
            import weakref

            if self.node.retained is None:
                self.node.retained = {}
            self.node.retained[self.output_index] = weakref.ref(self)

    def detach(self) -> Tensor:
        """Return a tensor outside the tape that shares this one's memory."""
        result = Tensor(self.array)
        result.version = self.version
        return result

    def detach_(self) -> Tensor:
        """Take this tensor off the tape."""
        self.node = None
        self._requires_grad = False
        return self

    # --- Leaving the library ----------------------------------------------------------------------

    def item(self) -> Any:
        """Return the only element as a Python number.

        Raises
        ------
        ShapeError
            The tensor has not exactly one element.
        """
        if self.array.size != 1:
            raise ShapeError(f"item(): expected one element, got shape {tuple(self.shape)}")
        return self.array.item()

    def tolist(self) -> Any:
        """Return the elements as nested lists of Python numbers."""
        return self.array.tolist()

    def numpy(self, force: bool = False) -> np.ndarray:
        """Return the NumPy array that shares this tensor's memory.

        Parameters
        ----------
        force : bool
            Detach and copy to the CPU first where needed. Default False.

        Raises
        ------
        AutogradError
            The tensor is on the tape.
        DeviceError
            The tensor is on a GPU.
        """
        if force:
            return self.detach().cpu().array
        if self.requires_grad:
            raise AutogradError("numpy(): the tensor requires a gradient; use .detach().numpy()")
        if not isinstance(self.array, np.ndarray):
            from .errors import DeviceError

            raise DeviceError(f"numpy(): the tensor is on {self.device}; use .cpu().numpy()")
        return self.array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        if dtype is not None and np.dtype(dtype) != array.dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __dlpack__(self, **kwargs: Any) -> Any:
        if self.requires_grad:
            raise AutogradError("__dlpack__: the tensor requires a gradient; use .detach()")
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.array.dtype.kind not in "iub":
            raise DTypeError(f"a {self.dtype} tensor can't be used as an index")
        return int(self.item())

    def __bool__(self) -> bool:
        if self.array.size != 1:
            raise ShapeError(
                f"the truth of a tensor of shape {tuple(self.shape)} is ambiguous; use .any() or "
                ".all()"
            )
        return bool(self.array.item())

    def __len__(self) -> int:
        if self.array.ndim == 0:
            raise DTypeError("len() of a tensor without axes")
        return self.array.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self.array.ndim == 0:
            raise DTypeError("iteration over a tensor without axes")
        return (self[i] for i in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    def __repr__(self) -> str:
        return _repr(self)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.array.ndim == 0 else format(str(self), spec)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self.node is not None:
            raise AutogradError("only leaves can be deep-copied; use detach() or clone()")
        result = type(self).__new__(type(self))
        Tensor.__init__(result, self.detach().clone().array)
        result._requires_grad = self._requires_grad
        result.name = self.name
        memo[id(self)] = result
        if self.grad is not None:
            result.grad = self.grad.detach().clone()
        return result

    # --- Moves ------------------------------------------------------------------------------------

    def to(
        self, *args: Any, copy: bool = False, non_blocking: bool = False, **kwargs: Any
    ) -> Tensor:
        """Return the tensor with another dtype or on another device; itself if nothing changes.

        Parameters
        ----------
        *args
            A device, a dtype, a device and a dtype, or a Tensor whose both are taken.
        copy : bool
            Copy even if nothing changes. Default False.
        non_blocking : bool
            Accepted for PyTorch's sake.
        **kwargs
            ``device=`` and ``dtype=``.
        """
        where, dtype = kwargs.pop("device", None), kwargs.pop("dtype", None)
        kwargs.pop("memory_format", None)
        if kwargs:
            raise ArgumentError(f"to(): unexpected arguments {sorted(kwargs)}")
        for arg in args:
            if isinstance(arg, Tensor):
                where, dtype = arg.device, arg.dtype
            elif isinstance(arg, Device) or (
                isinstance(arg, str) and arg.split(":")[0] in ("cpu", "gpu", "cuda")
            ):
                where = arg
            elif arg is not None and not isinstance(arg, bool):
                dtype = arg
        result = self
        if dtype is not None:
            result = ops.cast(result, np.dtype(dtype))
        if where is not None:
            result = ops.move(result, Device(where))
        return result.clone() if copy and result is self else result

    def cpu(self) -> Tensor:
        """Return the tensor on the CPU."""
        return self.to("cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False) -> Tensor:
        """Return the tensor on a GPU."""
        return self.to(f"gpu:{device}" if isinstance(device, int) else device or "gpu")

    gpu = cuda

    def type(self, dtype: Any) -> Tensor:
        """Return the tensor with dtype `dtype`."""
        return self.to(dtype=dtype)

    def type_as(self, other: Tensor) -> Tensor:
        """Return the tensor with the dtype of `other`."""
        return self.to(dtype=other.dtype)

    def half(self) -> Tensor:
        """Return the tensor as float16."""
        return self.to(dtype=float16)

    def float(self) -> Tensor:
        """Return the tensor as float32."""
        return self.to(dtype=float32)

    def double(self) -> Tensor:
        """Return the tensor as float64."""
        return self.to(dtype=float64)

    def int(self) -> Tensor:
        """Return the tensor as int32."""
        return self.to(dtype=int32)

    def long(self) -> Tensor:
        """Return the tensor as int64."""
        return self.to(dtype=int64)

    def bool(self) -> Tensor:
        """Return the tensor as bool."""
        return self.to(dtype=bool_)

    def byte(self) -> Tensor:
        """Return the tensor as uint8."""
        return self.to(dtype=uint8)

    def clone(self) -> Tensor:
        """Return a copy, recorded on the tape."""
        return ops.clone(self)

    def contiguous(self) -> Tensor:
        """Return the tensor with its memory in the order of the axes."""
        return self if self.is_contiguous() else ops.contiguous(self)

    def pin_memory(self) -> Tensor:
        """Return the tensor itself; pinned buffers belong to the loader."""
        return self

    # --- New tensors like this one ----------------------------------------------------------------

    def new_zeros(self, *shape: Any, dtype: Any = None) -> Tensor:
        """Return zeros of this tensor's dtype and device."""
        return ops.zeros(*shape, dtype=dtype or self.dtype, device=self.device)

    def new_ones(self, *shape: Any, dtype: Any = None) -> Tensor:
        """Return ones of this tensor's dtype and device."""
        return ops.ones(*shape, dtype=dtype or self.dtype, device=self.device)

    def new_full(self, shape: Any, fill_value: Any, dtype: Any = None) -> Tensor:
        """Return a constant tensor of this tensor's dtype and device."""
        return ops.full(shape, fill_value, dtype=dtype or self.dtype, device=self.device)

    def new_tensor(self, data: Any) -> Tensor:
        """Return `data` as a tensor of this tensor's dtype and device."""
        return tensor(data, dtype=self.dtype, device=self.device)

    # --- Changes in place -------------------------------------------------------------------------

    def _changed(self) -> Tensor:
        self.version[0] += 1
        return self

    def _in_place(self, result: Tensor) -> Tensor:
        """Take the value and the place on the tape of `result`, computed from this tensor."""
        if autograd.is_grad_enabled() and (self.requires_grad or result.requires_grad):
            if self.node is None and self.requires_grad:
                raise AutogradError(
                    f"{autograd.describe(self)} is a leaf that requires a gradient: it can't be "
                    "changed in place while recording; use minidl.no_grad()"
                )
            if self.node is not None and self.node.function.is_view:
                raise AutogradError(
                    "a view on the tape can't be changed in place; assign through the tensor that "
                    "it is a view of: x[index] = value"
                )
        if result.array.shape != self.array.shape:
            raise ShapeError(
                f"in place: the result has shape {tuple(result.shape)}, the tensor "
                f"{tuple(self.shape)}"
            )
        if "buif".index(result.dtype.kind) > "buif".index(self.dtype.kind):
            raise DTypeError(f"in place: a {self.dtype} tensor can't keep a {result.dtype} result")
        with active(self.device):
            if result.node is not None:
                result.node.keep_copy(self.array)
            self.array[...] = result.array
        if result.node is not None:
            self.node, self.output_index = result.node, result.output_index
            self._requires_grad = True
        return self._changed()

    def relu_(self) -> Tensor:
        """Set negative elements to 0 in place."""
        return self._in_place(ops.clamp(self, 0))

    def zero_(self) -> Tensor:
        """Set every element to 0."""
        return self.fill_(0)

    def fill_(self, value: Any) -> Tensor:
        """Set every element to `value`, a number or a tensor without axes."""
        if isinstance(value, Tensor):
            return self.copy_(value)
        return self.copy_(ops.full((), value, dtype=self.dtype, device=self.device))

    def copy_(self, source: Any, non_blocking: Any = False) -> Tensor:
        """Set the elements to those of `source`, broadcast, of any dtype and device."""
        source = as_tensor(source).to(self.device).to(dtype=self.dtype)
        return self._in_place(ops.expand(source, self.shape))

    def _fill_drawn(
        self, draw: Callable[[np.random.Generator], np.ndarray], generator: Any
    ) -> Tensor:
        """Set the elements to numbers that `draw` takes from a stream, made on the CPU."""
        from .random import default_generator

        drawn = draw((generator or default_generator).next_stream())
        return self.copy_(Tensor(drawn.reshape(self.array.shape)))

    def normal_(self, mean: Any = 0.0, std: Any = 1.0, *, generator: Any = None) -> Tensor:
        """Draw every element from N(mean, std²)."""
        size = self.array.size
        return self._fill_drawn(
            lambda s: s.standard_normal(size, _drawn_dtype(self)) * self.dtype.type(std) + mean,
            generator,
        )

    def uniform_(self, a: Any = 0.0, b: Any = 1.0, *, generator: Any = None) -> Tensor:
        """Draw every element uniformly from [a, b)."""
        size = self.array.size
        return self._fill_drawn(
            lambda s: s.random(size, _drawn_dtype(self)) * self.dtype.type(b - a) + a, generator
        )

    def bernoulli_(self, p: Any = 0.5, *, generator: Any = None) -> Tensor:
        """Draw every element: 1 with probability `p`, else 0."""
        size = self.array.size
        return self._fill_drawn(lambda s: s.random(size) < p, generator)

    def random_(self, low: Any, high: Any, *, generator: Any = None) -> Tensor:
        """Draw every element from the integers of [low, high)."""
        size = self.array.size
        return self._fill_drawn(lambda s: s.integers(low, high, size), generator)

    def __setitem__(self, index: Any, value: Any) -> None:
        ops.assign(self, index, value)

    def __iadd__(self, other: Any) -> Tensor:
        return self._augmented(ops.add(self, other))

    def __isub__(self, other: Any) -> Tensor:
        return self._augmented(ops.sub(self, other))

    def __imul__(self, other: Any) -> Tensor:
        return self._augmented(ops.mul(self, other))

    def __itruediv__(self, other: Any) -> Tensor:
        return self._augmented(ops.div(self, other))

    def __ipow__(self, other: Any) -> Tensor:
        return self._augmented(ops.pow(self, other))

    def __iand__(self, other: Any) -> Tensor:
        return self._in_place(ops.bitwise_and(self, other))

    def __ior__(self, other: Any) -> Tensor:
        return self._in_place(ops.bitwise_or(self, other))

    def _augmented(self, result: Tensor) -> Tensor:
        # x[i] += 1 is  v = x[i]; v = v + 1; x[i] = v.  The assignment that Python makes afterwards
        # records the change, so that the view itself need not be changed.
        if result.requires_grad and self.node is not None and self.node.function.is_view:
            with active(self.device):
                result.node.keep_copy(self.array)
            return result
        return self._in_place(result)

    # --- Operators --------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Tensor:
        return ops.add(self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Tensor:
        return ops.sub(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return ops.sub(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return ops.mul(self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Tensor:
        return ops.div(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return ops.div(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return ops.floor_divide(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return ops.remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return ops.remainder(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return ops.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return ops.pow(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return ops.matmul(self, as_tensor(other))

    def __rmatmul__(self, other: Any) -> Tensor:
        return ops.matmul(as_tensor(other), self)

    def __neg__(self) -> Tensor:
        return ops.neg(self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    def __invert__(self) -> Tensor:
        if self.dtype == bool_:
            return ops.logical_not(self)
        with active(self.device):
            return Tensor(~self.array)

    def __and__(self, other: Any) -> Tensor:
        return ops.bitwise_and(self, other)

    __rand__ = __and__

    def __or__(self, other: Any) -> Tensor:
        return ops.bitwise_or(self, other)

    __ror__ = __or__

    def __xor__(self, other: Any) -> Tensor:
        return ops.bitwise_xor(self, other)

    __rxor__ = __xor__

    def __eq__(self, other: object) -> Any:
        return ops.eq(self, other) if _comparable(other) else NotImplemented

    def __ne__(self, other: object) -> Any:
        return ops.ne(self, other) if _comparable(other) else NotImplemented

    def __lt__(self, other: Any) -> Tensor:
        return ops.lt(self, other)

    def __le__(self, other: Any) -> Tensor:
        return ops.le(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return ops.gt(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return ops.ge(self, other)

    def __getitem__(self, index: Any) -> Tensor:
        return ops.getitem(self, index)

    def where(self, condition: Tensor, other: Any) -> Tensor:
        """Return the elements where `condition` holds, and those of `other` elsewhere."""
        return ops.where(condition, self, other)

    # --- Activations, defined with the layers -----------------------------------------------------

    def relu(self) -> Tensor:
        """Return the elements with negative ones set to 0."""
        return nn.functional.relu(self)

    def tanh(self) -> Tensor:
        """Return the hyperbolic tangents."""
        return nn.functional.tanh(self)

    def sigmoid(self) -> Tensor:
        """Return ``1 / (1 + exp(-x))``."""
        return nn.functional.sigmoid(self)

    def softmax(self, dim: Any) -> Tensor:
        """Return the softmax along `dim`."""
        return nn.functional.softmax(self, dim)

    def log_softmax(self, dim: Any) -> Tensor:
        """Return the logarithm of the softmax along `dim`."""
        return nn.functional.log_softmax(self, dim)


class Size(tuple[int, ...]):
    """A shape: a tuple that prints as PyTorch's and can count the elements."""

    __slots__ = ()

    def numel(self) -> int:
        """Return the number of elements of an array of this shape."""
        return math.prod(self)

    def __repr__(self) -> str:
        return f"Size({list(self)})"


def _comparable(other: object) -> bool:
    return isinstance(other, (Tensor, int, float, np.generic)) or hasattr(other, "__array__")


def _drawn_dtype(tensor: Tensor) -> Any:
    """The dtype that numbers for `tensor` are drawn in: NumPy draws float32 and float64."""
    return np.float64 if tensor.dtype == float64 else np.float32


def to_array(data: Any, dtype: Any = None) -> np.ndarray:
    """Return `data` (numbers, nested lists, tensors in lists) as a new NumPy array.

    Python floats become float32, Python integers int64, booleans bool, unless `dtype` says else.
    """
    if isinstance(data, (list, tuple)) and any(isinstance(item, Tensor) for item in data):
        data = [item.tolist() if isinstance(item, Tensor) else item for item in data]
    try:
        array = np.asarray(data).copy() if hasattr(data, "__array__") else np.array(data)
    except ValueError as error:
        raise ShapeError(f"data: expected rows of equal length ({error})") from error
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"data: expected numbers, got {array.dtype} from {type(data).__name__}")
    if dtype is None and array.dtype == float64 and not _has_own_dtype(data):
        dtype = DEFAULT_DTYPE
    return array if dtype is None else array.astype(dtype, copy=False)


def _has_own_dtype(data: Any) -> bool:
    """Whether the numbers of `data` come as NumPy's, with a dtype, and not as Python's."""
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return hasattr(data, "dtype")


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a new tensor with a copy of `data`.

    Parameters
    ----------
    data : number, nested lists, ndarray or Tensor
    dtype : dtype, optional
        Default: float32 for Python floats, int64 for Python integers, bool for booleans, and
        `data`'s own for arrays.
    device : str or Device, optional
        Default: the CPU, or `data`'s own.
    requires_grad : bool
        Default False.

    Raises
    ------
    ShapeError
        Nested lists of unequal lengths.
    DTypeError
        `data` is not made of numbers.

    Examples
    --------
    >>> import minidl
    >>> minidl.tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    """
    if isinstance(data, Tensor):
        with active(data.device):
            array = data.array.copy()
    elif hasattr(data, "__cuda_array_interface__"):
        array = array_module(data).array(data)
    else:
        array = to_array(data)
    if dtype is not None:
        with active(device_of(array)):
            array = array.astype(np.dtype(dtype), copy=False)
    if device is not None:
        array = copy_to(array, Device(device))
    return Tensor(array, requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Return `data` as a tensor, sharing its memory where possible.

    Parameters
    ----------
    data : number, nested lists, ndarray or Tensor
    dtype : dtype, optional
        As for :func:`tensor`.
    device : str or Device, optional
        As for :func:`tensor`.
    """
    if not isinstance(data, Tensor):
        shares = isinstance(data, np.ndarray) or hasattr(data, "__cuda_array_interface__")
        data = Tensor(data if shares else to_array(data))
    return data.to(dtype=dtype, device=device)


def from_numpy(array: np.ndarray) -> Tensor:
    """Return a tensor that shares the memory of a NumPy array.

    Raises
    ------
    DTypeError
        `array` is not a NumPy array of numbers.
    """
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        raise DTypeError(f"from_numpy: expected a NumPy array of numbers, got {type(array)}")
    return Tensor(array)


def from_dlpack(source: Any) -> Tensor:
    """Return a tensor that shares the memory of any object with ``__dlpack__``."""
    if isinstance(source, Tensor):
        return source.detach()
    kind = source.__dlpack_device__()[0]
    if kind == 1:  # kDLCPU
        return Tensor(np.from_dlpack(source))
    from .device import cupy

    return Tensor(cupy().from_dlpack(source))


def _repr(tensor: Tensor) -> str:
    array = tensor.detach().cpu().array
    options: dict[str, Any] = {"precision": 4, "threshold": 1000, "edgeitems": 3}
    if array.dtype.kind == "f":
        options["formatter"] = {"float_kind": _float_format(array)}
    prefix = "tensor("
    body = np.array2string(array, separator=", ", prefix=prefix, max_line_width=80, **options)
    body = body.replace(", ...,", ",  ...,")  # as PyTorch prints it
    tail = ""
    if array.size == 0 and array.ndim != 1:
        tail += f", size={tuple(array.shape)}"
    if array.dtype not in (float32, int64, bool_):
        tail += f", dtype=minidl.{array.dtype}"
    if tensor.device.type != "cpu":
        tail += f", device='{tensor.device}'"
    if tensor.node is not None:
        tail += f", grad_fn={tensor.node!r}"
    elif tensor.requires_grad:
        tail += ", requires_grad=True"
    return f"{prefix}{body}{tail})"


def _float_format(array: np.ndarray) -> Callable[[Any], str]:
    """Return how PyTorch prints floats: four decimals, or powers of ten for a wide range."""
    if array.size > 1000:  # only the edges are printed
        for axis, length in enumerate(array.shape):
            shown = np.arange(length)
            array = array.take(shown[(shown < 3) | (shown >= length - 3)], axis)
    values = array[np.isfinite(array) & (array != 0)].astype(float64)
    whole = bool((values == np.trunc(values)).all())
    spec = ".0f" if whole else ".4f"
    if values.size:
        small, large = np.abs(values).min(), np.abs(values).max()
        if large > 1e8 or large > 1000 * small or (not whole and small < 1e-4):
            spec = ".4e"

    def number(x: Any) -> str:
        return format(x, spec) + ("." if spec == ".0f" and np.isfinite(x) else "")

    width = max((len(number(x)) for x in values), default=0)
    return lambda x: number(x).rjust(width)


# The tape and the operations build on Tensor and are imported after it.
from . import autograd, nn, ops  # noqa: E402

# A function of minidl.ops whose first argument is the tensor is also its method of that name.
for _name in ops.METHODS:
    setattr(Tensor, _name, getattr(ops, _name))


def _in_place_form(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @wraps(function)
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self._in_place(function(self, *args, **kwargs))

    return method


for _name in ops.IN_PLACE:
    setattr(Tensor, f"{_name}_", _in_place_form(getattr(ops, _name)))
