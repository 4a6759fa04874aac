"""One seeded, counter-based generator: the same numbers on both devices and at any thread count.

Every random number is a function of a seed and a purpose, by the Philox4x64-10 counter generator
(Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011):

- :class:`Generator` counts its draws; draw ``i`` of seed ``s`` has the key ``hash(s, i)``. So its
  state is a few integers, and a restored state continues exactly.
- :func:`stream` returns the numbers of a *purpose*, such as ``stream(seed, "sample", epoch,
  index)``: the same in every worker and thread.
"""

from __future__ import annotations

import os

import numpy as np

from .errors import ArgumentError, DTypeError
from .missing import attributes
from .tensor import Tensor


def philox_key(seed: int, *purpose: int | str) -> np.ndarray:
    """Return the 128-bit Philox key of a seed and a purpose.

    Parameters
    ----------
    seed : int
    *purpose : int or str
        Any number of words and integers that identify the purpose.

    Returns
    -------
    ndarray, shape (2,), uint64
    """
    import hashlib

    text = repr((int(seed), *(p if isinstance(p, str) else int(p) for p in purpose)))
    return np.frombuffer(hashlib.blake2b(text.encode(), digest_size=16).digest(), np.dtype("<u8"))


def stream(seed: int, *purpose: int | str) -> np.random.Generator:
    """Return a NumPy generator that is a pure function of `seed` and `purpose`.

    Parameters
    ----------
    seed : int
    *purpose : int or str
        Any number of words and integers that identify the purpose.

    Examples
    --------
    >>> from minidl.random import stream
    >>> a = stream(1, "augment", 0, 17).random()
    >>> b = stream(1, "augment", 0, 17).random()
    >>> a == b, a == stream(1, "augment", 0, 18).random()
    (True, False)
    """
    return np.random.Generator(np.random.Philox(key=philox_key(seed, *purpose)))


class Generator:
    """A source of random numbers; its state is a seed and the numbers of draws and epochs so far.

    Parameters
    ----------
    device : str, optional
        Accepted for compatibility with PyTorch; the numbers do not depend on it.

    Examples
    --------
    >>> import minidl
    >>> g = minidl.Generator().manual_seed(7)
    >>> state = g.get_state()
    >>> first = minidl.rand(3, generator=g)
    >>> _ = g.set_state(state)
    >>> bool((minidl.rand(3, generator=g) == first).all())
    True
    """

    def __init__(self, device: object = "cpu") -> None:
        self._seed = self._draws = self._epochs = 0

    def manual_seed(self, seed: int) -> Generator:
        """Start again from `seed`, any 64-bit integer, and return the generator."""
        try:
            number = int(seed)
        except (TypeError, ValueError) as error:
            kind = DTypeError if isinstance(error, TypeError) else ArgumentError
            raise kind(f"seed: expected an integer, got {seed!r}") from None
        if not -(2**63) <= number < 2**64:
            raise ArgumentError(f"seed: expected a 64-bit integer, got {seed}")
        self._seed, self._draws, self._epochs = number % 2**64, 0, 0
        return self

    def seed(self) -> int:
        """Start again from a seed drawn by the operating system, and return that seed."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little"))
        return self._seed

    def initial_seed(self) -> int:
        """Return the seed."""
        return self._seed

    def get_state(self) -> Tensor:
        """Return the state, 16 uint8 in a tensor: the seed, 40 bits of draws, 24 of epochs."""
        state = np.array([self._seed, self._draws % 2**40 + (self._epochs % 2**24 << 40)], "<u8")
        return Tensor(state.view(np.uint8).copy())

    def set_state(self, state: Tensor) -> Generator:
        """Continue from a state from :meth:`get_state`.

        Raises
        ------
        ArgumentError
            `state` is not a uint8 tensor of 16 bytes.
        """
        array = state.cpu().numpy() if isinstance(state, Tensor) else np.asarray(state)
        if array.dtype != np.uint8 or array.shape != (16,):
            raise ArgumentError(
                f"state: expected a uint8 tensor of 16 bytes from get_state(), "
                f"got {array.dtype} of shape {array.shape}"
            )
        self._seed, counts = np.ascontiguousarray(array).view("<u8").tolist()
        self._epochs, self._draws = divmod(counts, 2**40)
        return self

    def next_key(self) -> np.ndarray:
        """Count one draw and return its Philox key, shape (2,) of uint64."""
        self._draws += 1
        return philox_key(self._seed, "draw", self._draws - 1)

    def next_epoch(self, resume: bool = False) -> int:
        """Count one epoch of a loader and return its number, 0 for the first since the seed.

        With `resume`, return the number of the epoch that was begun last.
        """
        if not (resume and self._epochs):
            self._epochs += 1
        return self._epochs - 1

    def next_stream(self) -> np.random.Generator:
        """Count one draw and return a NumPy generator for its numbers."""
        return np.random.Generator(np.random.Philox(key=self.next_key()))


default_generator = Generator()


def chosen(generator: Generator | None) -> Generator:
    """Return an argument ``generator``, or the default one for None.

    Raises
    ------
    DTypeError
        It is something else, such as one of NumPy's.
    """
    if generator is None:
        return default_generator
    if not isinstance(generator, Generator):
        kind = f"{type(generator).__module__}.{type(generator).__name__}"
        raise DTypeError(f"generator: expected a minidl.Generator or None, got a {kind}")
    return generator


def manual_seed(seed: int) -> Generator:
    """Seed the default generator, for all tensors, masks, orders and augmentations from now on."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed the default generator from the operating system and return the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """Return the default generator's seed."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """Return the default generator's state, for :func:`set_rng_state`."""
    return default_generator.get_state()


def set_rng_state(state: Tensor) -> None:
    """Set the default generator's state to one from :func:`get_rng_state`."""
    default_generator.set_state(state)


__getattr__ = attributes(globals())
