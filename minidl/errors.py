"""The exceptions that minidl raises.

Each message says in one sentence what was wrong, where (argument, file or layer) and what was
expected. Each also derives from the built-in exception that PyTorch or NumPy users would catch, so
``except ValueError`` keeps working in a ported program.
"""


class MinidlError(Exception):
    """Base of every exception that minidl raises on purpose."""


class ArgumentError(MinidlError, ValueError, RuntimeError):
    """An argument has an invalid value."""


class IndexOutOfRange(ArgumentError, IndexError):
    """A bad index or axis; an IndexError too, which iteration and PyTorch's users expect."""


class NumberError(ArgumentError, RuntimeError):
    """A number does not fit into a dtype, or integers are divided by 0."""


class ShapeError(MinidlError, ValueError, RuntimeError):
    """A shape is wrong; the message names the argument, its shape and what was expected."""


class NothingToChooseError(ShapeError, IndexOutOfRange):
    """There is no maximum, or position of one, among no elements."""


class DTypeError(MinidlError, TypeError, RuntimeError):
    """An array has a dtype that the operation does not support."""


class DeviceError(MinidlError, RuntimeError):
    """A device is missing, or arrays of different devices meet in one operation."""


class DistributedError(MinidlError, RuntimeError):
    """Several processes can't compute together: there is no MPI, or they don't fit."""


class AutogradError(MinidlError, RuntimeError):
    """The tape can't be walked: nothing to differentiate, already freed, or changed in place."""


class GradcheckError(MinidlError, AssertionError, RuntimeError):
    """An analytical gradient differs from the numerical one."""


class DataError(MinidlError, ValueError, RuntimeError):
    """A file or folder of data is missing, damaged or not what was expected."""


class SampleTypeError(DataError, TypeError):
    """A sample has a type that can't be batched, or that a transform does not take."""


class NoDataError(DataError, FileNotFoundError):
    """There is no such folder, or there are no pictures in it."""


class CheckpointError(MinidlError, ValueError, RuntimeError):
    """A checkpoint is missing, damaged or belongs to something else."""


class MissingCheckpointError(CheckpointError, FileNotFoundError):
    """There is no such checkpoint."""

    __str__ = Exception.__str__  # a FileNotFoundError's expects an error number
