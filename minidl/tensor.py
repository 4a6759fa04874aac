"""What a tensor is: an array, its gradient, and the operation that made it.

Nothing here computes. The operations stand above, in ``minidl.ops``; ``ops/methods.py`` attaches
them to :class:`Tensor` as methods and operators, ``nn`` attaches the activations.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .conversion import as_dtype, converted
from .device import CPU, Array, Device, active, array_module, cupy, defaults, device_of
from .errors import AutogradError, DeviceError, DTypeError, IndexOutOfRange, ShapeError
from .kernels.cuda import copy_to
from .printing import format_array

float16 = np.dtype("float16")
float32 = np.dtype("float32")
float64 = np.dtype("float64")
int8 = np.dtype("int8")
int16 = np.dtype("int16")
int32 = np.dtype("int32")
int64 = np.dtype("int64")
uint8 = np.dtype("uint8")
bool_ = np.dtype("bool")


def _of_axis(numbers: tuple[int, ...], dim: int) -> int:
    if not -len(numbers) <= dim < len(numbers):
        raise IndexOutOfRange(f"dim {dim} is out of range for a tensor of {len(numbers)} axes")
    return numbers[dim]


class _Defaults:
    """What new tensors get where nothing is said."""

    dtype = float32


def default_dtype() -> np.dtype:
    """Return the dtype of Python floats and of new tensors; float32 at first."""
    return _Defaults.dtype


def default_device() -> Device:
    """Return the device of new tensors; the CPU at first."""
    return defaults[-1]


def set_default_dtype(d: Any) -> None:
    """Set the dtype of Python floats and of new tensors.

    Parameters
    ----------
    d : dtype
        A floating-point dtype.

    Raises
    ------
    DTypeError
        `d` is another dtype.

    Examples
    --------
    >>> import minidl
    >>> minidl.set_default_dtype(minidl.float64)
    >>> minidl.tensor([1.5]).dtype
    dtype('float64')
    >>> minidl.set_default_dtype(minidl.float32)
    """
    dtype = as_dtype("set_default_dtype", d)
    if dtype.kind != "f":
        raise DTypeError(f"set_default_dtype: expected a floating-point dtype, got {dtype}")
    _Defaults.dtype = dtype


def set_default_device(device: str | Device | None) -> None:
    """Set the device of new tensors, and so of new layers.

    Parameters
    ----------
    device : str, Device or None
        None: the CPU. `from_numpy`, `from_dlpack` and `load` keep to where their numbers are.

    Raises
    ------
    DeviceError
        There is no such device.
    """
    defaults[0] = CPU if device is None else Device(device)


#: The threads in inference mode.
inferring: set[int] = set()


def is_inferring() -> bool:
    """Return whether this thread is in inference mode."""
    return threading.get_ident() in inferring


class InferenceVersion(list[int]):
    """The version counter of a tensor made in inference mode, which only works there."""

    def __getitem__(self, index: Any) -> Any:
        if index == 0 and not is_inferring():
            raise AutogradError(
                "Inference tensors cannot be saved for backward, nor changed in place outside "
                "inference mode; clone() makes a normal tensor"
            )
        return super().__getitem__(index)


class Tensor:
    """An n-dimensional array that remembers how it was made.

    Parameters
    ----------
    array : ndarray or cupy.ndarray
        Used as it is, without a copy; :func:`minidl.tensor` copies and converts. PyTorch's early
        forms are there, too: sizes, as in ``Tensor(2, 3)``, make an uninitialized tensor of the
        default dtype; a list becomes numbers of it.
    requires_grad : bool
        Whether a gradient is wanted. Default False.

    Attributes
    ----------
    array : ndarray or cupy.ndarray
        The numbers. An image activation is NCHW in shape and usually NHWC in memory.
    grad : Tensor or None
        The sum of what :meth:`backward` has computed so far.
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
        "__dict__", "__weakref__", "_grad", "_node", "_requires_grad", "_view", "array", "name",
        "output_index", "version",
    )  # fmt: skip

    __hash__ = object.__hash__

    array: Array
    grad: Tensor | None

    if TYPE_CHECKING:  # attached from above: x.sum(), x.add_(1), x + y, x[i] = y, ...
        data: Tensor
        T: Tensor
        mT: Tensor

        def __getattr__(self, name: str) -> Callable[..., Any]: ...

        def __getitem__(self, index: Any) -> Tensor: ...

        def __setitem__(self, index: Any, value: Any) -> None: ...

        def __iter__(self) -> Iterator[Tensor]: ...

        def __contains__(self, value: Any) -> bool: ...

        def __invert__(self) -> Tensor: ...

        def __add__(self, other: Any) -> Tensor: ...

        def __eq__(self, other: object) -> Any: ...

        def __ne__(self, other: object) -> Any: ...

        __neg__ = __pos__ = __abs__ = __invert__
        __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __add__
        __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __add__
        __matmul__ = __rmatmul__ = __lt__ = __le__ = __gt__ = __ge__ = __add__
        __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = __add__

    def __init__(self, array: Any = (), requires_grad: bool = False, *sizes: int) -> None:
        if type(array) is not np.ndarray:
            if isinstance(array, np.generic):
                array = np.asarray(array)
            elif isinstance(array, int) and not isinstance(array, bool):  # Tensor(2, 3)
                more = () if isinstance(requires_grad, bool) else (requires_grad,)
                array, requires_grad = np.empty((array, *more, *sizes), default_dtype()), False
            elif isinstance(array, Size):
                array = np.empty(array, default_dtype())
            elif not hasattr(array, "dtype"):
                dtype = default_dtype() if isinstance(array, (list, tuple)) else None
                array = to_array(array, dtype)
        self.array = array
        self._grad: Tensor | None = None
        self._node: Any = None
        self.output_index = 0
        self._view: Any = None  # for a view: what it knows of its base (autograd.views)
        # How often the numbers and the history changed: one list for all views of a memory.
        self.version = [0, 0]
        if inferring and is_inferring():
            self.version = InferenceVersion(self.version)
        self.name: str | None = None
        self._requires_grad = False
        if requires_grad:
            self.requires_grad = True

    # --- What it is -------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether operations on the tensor are recorded."""
        if self._view is not None:
            self._view.refresh(self)
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value is not True and value is not False:
            raise AutogradError(f"requires_grad: expected a bool, got {value!r}")
        if value and self.array.dtype.kind != "f":
            raise DTypeError(
                f"requires_grad: only floating-point tensors have gradients, got {self.dtype}"
            )
        if value and self.is_inference() and not is_inferring():
            raise AutogradError(
                "requires_grad: an inference tensor can't require a gradient outside inference "
                "mode; clone() makes a normal tensor"
            )
        if self.node is not None:
            raise AutogradError("requires_grad: only leaves can be set; use detach()")
        self._requires_grad = value

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set ``requires_grad`` and return the tensor."""
        if requires_grad is not True or self.node is None:
            self.requires_grad = requires_grad
        return self

    @property
    def node(self) -> Any:
        """The operation on the tape that made the tensor, or None."""
        if self._view is not None:  # the base may have been changed in place
            self._view.refresh(self)
        return self._node

    @node.setter
    def node(self, node: Any) -> None:
        self._node = node

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was not made by a recorded operation."""
        return self.node is None

    def is_inference(self) -> bool:
        """Return whether the tensor was made in :class:`minidl.inference_mode`."""
        return type(self.version) is InferenceVersion

    @property
    def grad_fn(self) -> Any:
        """The operation on the tape that made the tensor, or None."""
        return self.node

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

    def size(self, dim: int | None = None) -> Any:
        """Return the shape, or the length of axis `dim`."""
        return self.shape if dim is None else _of_axis(self.array.shape, dim)

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
        """Return the distance in memory of neighbors along each axis (or `dim`), in elements."""
        strides = tuple(step // self.array.itemsize for step in self.array.strides)
        return strides if dim is None else _of_axis(strides, dim)

    # --- The tape ---------------------------------------------------------------------------------

    def retain_grad(self) -> None:
        """Keep the gradient of this non-leaf tensor in its ``.grad``.

        Raises
        ------
        AutogradError
            The tensor requires no gradient.
        """
        if not self.requires_grad:
            raise AutogradError(f"retain_grad(): {describe(self)} does not require a gradient")
        if self.node is not None:
            if self.node.retained is None:
                self.node.retained = {}
            self.node.retained[self.output_index] = weakref.ref(self)

    @property
    def retains_grad(self) -> bool:
        """Whether :meth:`retain_grad` was called on this non-leaf tensor."""
        kept = (self.node is not None and self.node.retained) or {}
        reference = kept.get(self.output_index)
        return reference is not None and reference() is self

    def detach(self) -> Tensor:
        """Return a tensor outside the tape that shares this one's memory."""
        result = Tensor(self.array)
        result.version = self.version
        return result

    def detach_(self) -> Tensor:
        """Take this tensor off the tape.

        Raises
        ------
        AutogradError
            The tensor is a view, whose history is that of its base.
        """
        if self._view is not None and not self._view.is_reshaped_base:
            raise AutogradError("detach_(): a view can't be detached in place; use detach()")
        self._view = self._node = None
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
            return copy_to(self.array, CPU)
        if self.requires_grad:
            raise AutogradError("numpy(): the tensor requires a gradient; use .detach().numpy()")
        if not isinstance(self.array, np.ndarray):
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

    def __repr__(self) -> str:
        notes = []
        if self.is_cuda:
            notes.append(f"device='{self.device}'")
        if self.node is not None:
            notes.append(f"grad_fn={self.node!r}")
        elif self.requires_grad:
            notes.append("requires_grad=True")
        return format_array(copy_to(self.array, CPU), *notes)

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


class Size(tuple[int, ...]):
    """A shape: a tuple that prints like PyTorch's and counts the elements."""

    __slots__ = ()

    def numel(self) -> int:
        """Return the number of elements of an array of this shape."""
        return math.prod(self)

    def __repr__(self) -> str:
        return f"Size({list(self)})"


def describe(tensor: Tensor) -> str:
    """Return a few words that identify `tensor` to a user."""
    return describe_array(tensor.array, tensor.name)


def describe_array(array: Array, name: str | None) -> str:
    """Return a few words that identify the array of a tensor to a user."""
    named = f" {name!r}" if name else ""
    return f"the {array.dtype} tensor{named} of shape {tuple(array.shape)}"


def to_array(data: Any, dtype: Any = None) -> np.ndarray:
    """Return `data` as a new NumPy array: see :func:`minidl.conversion.converted`."""
    return converted(data, dtype, default_dtype())


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
    NumberError
        A Python number does not fit into an integer dtype. (Arrays are cast as NumPy casts.)

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
        array = to_array(data, dtype)
        device = default_device() if device is None else device
    if dtype is not None:
        with active(device_of(array)):
            array = array.astype(as_dtype("dtype", dtype), copy=False)
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
        shares = hasattr(data, "__cuda_array_interface__")
        shares = shares or (isinstance(data, np.ndarray) and data.dtype.kind in "fiub")
        data = Tensor(data if shares else to_array(data, dtype))
        device = default_device() if device is None and not shares else device
    if dtype is None and device is None:
        return data
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
    """Return a tensor that shares the memory of any object with ``__dlpack__``.

    Raises
    ------
    DTypeError
        `source` has no ``__dlpack__``.
    """
    if isinstance(source, Tensor):
        return source.detach()
    if not hasattr(source, "__dlpack_device__"):
        raise DTypeError(f"from_dlpack: expected an array, got {type(source).__name__}")
    kind = source.__dlpack_device__()[0]
    if kind == 1:  # kDLCPU
        return Tensor(np.from_dlpack(source))
    return Tensor(cupy().from_dlpack(source))
