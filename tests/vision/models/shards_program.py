"""Networks split over ranks, compared with the whole network on one."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from small_networks import small_networks

import minidl
import minidl.distributed as dist
from minidl.distributed import world
from minidl.errors import ArgumentError
from minidl.nn.buckets import Reducer
from minidl.nn.exchange import Rounds
from minidl.nn.functional import cross_entropy
from minidl.optim import SGD
from minidl.vision.models import alexnet
from minidl.vision.models.shards import Shards, bytes_per_step

STEPS, BATCH = 3, 6


def network(variant: str, **options: Any) -> Any:
    minidl.manual_seed(3)
    with small_networks():
        return alexnet(variant, num_classes=10, init="he", **options)


def batches(model: Any, batch: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        (rng.standard_normal((batch, *model.input_size)).astype(np.float32),
         rng.integers(0, 10, batch))
        for _ in range(STEPS)
    ]  # fmt: skip


def train(model: Any, share: slice, batch: int, before: Any = None) -> SGD:
    """Train for some steps with a share of each batch."""
    optimizer = SGD(model.parameters(), lr=0.02, momentum=0.9)
    minidl.manual_seed(7)
    for images, labels in batches(model, batch):
        optimizer.zero_grad()
        if before is not None:
            before()
        logits = model(minidl.from_numpy(images[share].copy()))
        cross_entropy(logits, minidl.from_numpy(labels[share].copy())).backward()
        optimizer.step()
    return optimizer


def distance(found: dict[str, Any], expected: dict[str, Any]) -> float:
    """Return the largest difference, relative to the largest number."""
    assert found.keys() == expected.keys()
    largest = max(np.abs(value.numpy()).max() for value in expected.values())
    return max(np.abs(found[k].numpy() - expected[k].numpy()).max() for k in found) / largest


def momenta(state: dict[str, Any]) -> dict[str, Any]:
    return {str(n): values["momentum_buffer"] for n, values in state["state"].items()}


def compare(variant: str, scheme: str, batch: int = BATCH, **options: Any) -> None:
    rank, ranks = dist.get_rank(), dist.get_world_size()
    whole = network(variant, **options)
    expected = train(whole, slice(None), batch)
    model = network(variant, **options)
    formula = bytes_per_step(model, scheme, ranks, batch, rank)
    shards = Shards(model, scheme)
    before, share = None, slice(None)
    if scheme == "hybrid":
        reducer = Reducer(model, parameters=shards.replicated(), average=False)
        reducer.total = shards.total = batch
        share = slice(rank, None, ranks) if rank < batch else slice(-1, None)
    world.current().traffic.clear()
    optimizer = train(model, share, batch, before)
    sent = {name: count / STEPS for name, count in world.current().traffic.items()}
    if batch % ranks == 0:
        assert sent == pytest.approx(formula), (sent, formula)
    state = shards.whole(model.state_dict())
    assert distance(state, whole.state_dict()) < 1e-5
    momentum = shards.whole_optimizer(optimizer, optimizer.state_dict())
    assert distance(momenta(momentum), momenta(expected.state_dict())) < 1e-5
    back = shards.piece(state)
    assert all(minidl.equal(back[name], value) for name, value in model.state_dict().items())
    optimizer.load_state_dict(shards.piece_of_optimizer(optimizer, momentum))
    images = minidl.from_numpy(batches(model, 2)[0][0])
    with minidl.no_grad():
        expected = whole.eval()(images).numpy()
        own = slice(None) if scheme == "towers" else slice(rank % 2, None, 2)  # 4 ranks: twice
        assert np.allclose(model.eval()(images[own]).numpy(), expected[own], atol=1e-4)


def check_order() -> None:
    """While the layers compute with one round, the next has been sent."""
    model, ranks = network("cifar"), dist.get_world_size()
    shards = Shards(model, "hybrid")
    sent: list[int] = []
    sent_before: list[int] = []
    send = Rounds.send

    def noted(self: Rounds, x: Any, number: int) -> None:
        if number + 1 < len(self.starts):
            sent.append(number)
        send(self, x, number)

    Rounds.send = noted  # type: ignore[method-assign]
    shards.rows["fc6"].register_forward_pre_hook(lambda *_: sent_before.append(len(sent)))
    model.eval()(minidl.randn(4, *model.input_size))
    Rounds.send = send  # type: ignore[method-assign]
    assert sent_before == [min(number + 2, ranks) for number in range(ranks)], sent_before


if __name__ == "__main__":
    if dist.get_world_size() == 2:
        compare("cifar", "towers", groups=2)
        STEPS = 1
        compare("original", "towers")
        STEPS = 3
        with pytest.raises(ArgumentError, match="lrn_groups=2"):
            Shards(network("paper"), "towers")
    else:
        with pytest.raises(ArgumentError, match="4 ranks, but the network has 2 towers"):
            Shards(network("original"), "towers")
        compare("cifar", "hybrid", batch=3)  # a rank without a sample
    compare("cifar", "hybrid", batch=8)
    compare("cifar", "hybrid", batch=7)
    check_order()
    print("content")
    sys.stdout.flush()
