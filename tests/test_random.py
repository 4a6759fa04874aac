"""Random numbers: seeds, states and streams; recorded numbers reveal any change."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidl
from minidl.errors import ArgumentError, DTypeError, MinidlError
from minidl.random import philox_key, stream

PINNED = {
    "rand": [0.9965658783912659, 0.7159409523010254, 0.06951957941055298],
    "randn": [-0.4008268713951111, -0.06947942823171616, -0.002847410272806883],
    "randn64": [0.8616629313354557, 1.4999555121387065],
    "randint": [567, 821, 636, 743],
    "randperm": [3, 4, 1, 7, 5, 2, 6, 0],
    "normal_": [1.3907110691070557, -2.395800828933716, -0.2555028200149536],
    "uniform_": [-0.8853079080581665, 0.8127617835998535, -0.23913800716400146],
    "bernoulli": [0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0],
    "stream": [0.8253498709237784, 0.5418168456256088],
    "key": [5033293399124864785, 9322338271771834541],
}


def test_numbers_of_a_seed_never_change(device: str) -> None:
    """A change here changes every training run and belongs in the changelog."""
    minidl.manual_seed(7)
    assert minidl.rand(3, device=device).tolist() == PINNED["rand"]
    assert minidl.randn(3, device=device).tolist() == PINNED["randn"]
    assert minidl.randn(2, dtype=minidl.float64, device=device).tolist() == PINNED["randn64"]
    assert minidl.randint(0, 1000, (4,), device=device).tolist() == PINNED["randint"]
    assert minidl.randperm(8, device=device).tolist() == PINNED["randperm"]
    assert minidl.empty(3, device=device).normal_(1, 2).tolist() == PINNED["normal_"]
    assert minidl.empty(3, device=device).uniform_(-1, 1).tolist() == PINNED["uniform_"]
    assert minidl.bernoulli(minidl.full((8,), 0.5, device=device)).tolist() == PINNED["bernoulli"]
    assert stream(7, "augment", 3, 11).random(2).tolist() == PINNED["stream"]
    assert philox_key(7, "augment", 3).tolist() == PINNED["key"]


def test_every_device_draws_the_same_numbers(device: str) -> None:
    """Even where the shape, the dtype or the distribution decides how they are drawn."""
    weights = minidl.tensor([0.1, 0.7, 0.2])
    draws = (
        lambda d: minidl.rand(3, 5, device=d),
        lambda d: minidl.randn(300, dtype=minidl.float16, device=d),
        lambda d: minidl.rand_like(minidl.zeros(2, 3, device=d)),
        lambda d: minidl.randn_like(minidl.zeros(7, dtype=minidl.float64, device=d)),
        lambda d: minidl.normal(minidl.zeros(5, device=d), 2.0, device=d),
        lambda d: minidl.empty(9, device=d).random_(0, 100),
        lambda d: minidl.empty(4, 2, device=d).bernoulli_(0.3),
        lambda d: minidl.multinomial(weights.to(d), 20, replacement=True),
        lambda d: minidl.randint(0, 9, (4,), dtype=minidl.uint8, device=d),
    )
    for draw in draws:
        here, there = (draw(minidl.manual_seed(11) and d) for d in ("cpu", device))
        assert there.device == minidl.device(device) and there.dtype == here.dtype
        assert there.tolist() == here.tolist()


def test_seeding_restarts_the_sequence(device: str) -> None:
    minidl.manual_seed(3)
    first = minidl.randn(5, device=device)
    assert not minidl.equal(first, minidl.randn(5, device=device))
    assert minidl.manual_seed(3) is minidl.default_generator
    assert minidl.equal(first, minidl.randn(5, device=device))
    assert minidl.initial_seed() == 3


def test_state_continues_exactly(device: str) -> None:
    minidl.manual_seed(5)
    minidl.rand(4, device=device)
    state = minidl.get_rng_state()
    assert state.dtype == np.uint8 and state.shape == (16,)
    after = [minidl.rand(3, device=device).tolist(), minidl.randperm(9, device=device).tolist()]
    minidl.manual_seed(99)
    minidl.set_rng_state(state)
    assert [
        minidl.rand(3, device=device).tolist(),
        minidl.randperm(9, device=device).tolist(),
    ] == after
    with pytest.raises(ArgumentError, match="state"):
        minidl.set_rng_state(minidl.zeros(16, device=device))


def test_the_state_holds_the_epochs_of_loaders() -> None:
    generator = minidl.Generator().manual_seed(2**64 - 1)
    minidl.rand(2, generator=generator)
    assert [generator.next_epoch() for _ in range(3)] == [0, 1, 2]
    again = minidl.Generator().set_state(generator.get_state())
    assert again.next_epoch(resume=True) == 2 and again.next_epoch() == 3
    expected = minidl.rand(2, generator=generator).tolist()
    assert minidl.rand(2, generator=again).tolist() == expected
    assert generator.manual_seed(1).next_epoch(resume=True) == 0


@pytest.mark.parametrize("seed", [0, 1, 2**63, 2**64 - 1, -1, -(2**63)])
def test_any_seed_of_64_bits(seed: int) -> None:
    generator = minidl.Generator().manual_seed(seed)
    first = minidl.rand(2, generator=generator).tolist()
    again = minidl.Generator()
    again.set_state(generator.get_state())
    assert again.initial_seed() == generator.initial_seed() == seed % 2**64
    assert minidl.rand(2, generator=minidl.Generator().manual_seed(seed)).tolist() == first


@pytest.mark.parametrize(
    "draw",
    [
        lambda g: minidl.randn(2, generator=g),
        lambda g: minidl.ones(2).normal_(generator=g),
        lambda g: minidl.nn.init.normal_(minidl.ones(2), generator=g),
        lambda g: minidl.data.DataLoader(range(2), generator=g),
        lambda g: list(minidl.data.RandomSampler(range(2), generator=g)),
    ],
)
def test_generators_of_others_are_refused(draw: Callable[[Any], Any]) -> None:
    with pytest.raises(DTypeError, match="expected a minidl.Generator or None, got a numpy.random"):
        draw(np.random.default_rng(0))


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
def test_larger_seeds_are_refused(seed: int) -> None:
    with pytest.raises(ArgumentError, match="seed"):
        minidl.manual_seed(seed)


@pytest.mark.parametrize(("seed", "kind"), [("a", ValueError), (None, TypeError)])
def test_seeds_are_integers(seed: Any, kind: type[Exception]) -> None:
    with pytest.raises(MinidlError, match="seed: expected an integer") as error:
        minidl.manual_seed(seed)
    assert isinstance(error.value, kind)
    with pytest.raises(ArgumentError, match="state"):
        minidl.set_rng_state(3)  # type: ignore[arg-type]


def test_seed_from_the_system() -> None:
    generator = minidl.Generator()
    assert generator.seed() != generator.seed()
    assert generator.initial_seed() > 0


def test_generators_are_independent(device: str) -> None:
    a, b = minidl.Generator().manual_seed(1), minidl.Generator().manual_seed(1)
    minidl.manual_seed(1)
    minidl.rand(10, device=device)
    assert (
        minidl.rand(3, generator=a, device=device).tolist()
        == minidl.rand(3, generator=b, device=device).tolist()
    )


@given(st.integers(-(2**63), 2**64 - 1), st.lists(st.integers() | st.text(max_size=5), max_size=4))
def test_stream_is_a_function_of_seed_and_purpose(seed: int, purpose: list[int | str]) -> None:
    assert stream(seed, *purpose).random() == stream(seed, *purpose).random()
    assert stream(seed, *purpose).random() != stream(seed, *purpose, 0).random()


def test_purposes_are_not_concatenated() -> None:
    names = [
        ("a", "bc"),
        ("ab", "c"),
        ("abc",),
        ("a", 1),
        ("a", "1"),
        (1, "a"),
        ("a", 1, 1),
        ("a", 11),
    ]
    assert len({tuple(philox_key(0, *name)) for name in names}) == len(names)
    assert philox_key(0, np.int64(3)).tolist() == philox_key(0, 3).tolist()


def test_streams_do_not_depend_on_the_process() -> None:
    program = "import minidl.random; print(minidl.random.stream(4, 'order', 2).random())"
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert float(out.stdout) == stream(4, "order", 2).random()


@pytest.mark.parametrize(
    ("draw", "mean", "std"),
    [
        (lambda n, d: minidl.rand(n, device=d), 0.5, 12**-0.5),
        (lambda n, d: minidl.randn(n, device=d), 0.0, 1.0),
        (lambda n, d: minidl.normal(3.0, 0.5, (n,), device=d), 3.0, 0.5),
        (lambda n, d: minidl.empty(n, device=d).uniform_(-2, 4), 1.0, 6 * 12**-0.5),
        (lambda n, d: minidl.empty(n, device=d).bernoulli_(0.25), 0.25, (0.25 * 0.75) ** 0.5),
        (lambda n, d: minidl.empty(n, device=d).random_(0, 10), 4.5, 8.25**0.5),
        (lambda n, d: minidl.randint(0, 10, (n,), device=d).float(), 4.5, 8.25**0.5),
    ],
)
def test_distributions(
    draw: Callable[[int, str], minidl.Tensor], mean: float, std: float, device: str
) -> None:
    n = 100_000
    x = draw(n, device)
    assert x.dtype == np.float32
    assert x.mean().item() == pytest.approx(mean, abs=5 * std / n**0.5)
    assert x.std().item() == pytest.approx(std, rel=0.02)


def test_ranges(device: str) -> None:
    x = minidl.rand(100_000, device=device)
    assert 0 <= x.min().item() < x.max().item() < 1
    assert sorted(minidl.randperm(100, device=device).tolist()) == list(range(100))
    assert set(minidl.randint(3, 6, (200,), device=device).tolist()) == {3, 4, 5}
    with pytest.raises(ArgumentError, match="low < high"):
        minidl.randint(5, 5, (1,), device=device)


def test_multinomial(device: str) -> None:
    weights = minidl.tensor([[0.0, 1.0, 3.0], [1.0, 0.0, 0.0]], device=device)
    drawn = minidl.multinomial(weights, 1000, replacement=True)
    assert drawn.shape == (2, 1000) and drawn.dtype == np.int64
    assert set(drawn[1].tolist()) == {0} and set(drawn[0].tolist()) == {1, 2}
    assert (drawn[0] == 2).float().mean().item() == pytest.approx(0.75, abs=0.06)
    assert sorted(minidl.multinomial(minidl.ones(5, device=device), 5).tolist()) == [0, 1, 2, 3, 4]
    for bad, count in (
        (minidl.zeros(3, device=device), 1),
        (-minidl.ones(3, device=device), 1),
        (minidl.ones(3, device=device), 4),
    ):
        with pytest.raises(ArgumentError, match="multinomial"):
            minidl.multinomial(bad, count)
