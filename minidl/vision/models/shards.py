"""A network split over ranks: the paper's two towers, and "one weird trick".

**Towers.** Each of two ranks has half of the kernels of every layer, as the paper's two GPUs had.
conv2, conv4 and conv5 have two groups, and see the maps of their own rank only. conv3 and the fully
connected layers see all, so their inputs are exchanged (Krizhevsky et al. 2012, figure 2).

**Hybrid.** Convolutions have few weights and many activations, fully connected layers the reverse.
So the ranks share the batch in the convolutions, and the units in the fully connected layers, whose
weights are never sent. Before fc6, the ranks send each other their features in rounds, an Nth (or
an eighth) of the batch in each, so that the layers compute with one round while the next is sent
(Krizhevsky 2014, arXiv 1404.5997, scheme c). Behind the last layer, a rank gets the outputs of its
own samples. The weights change once a step, as on one device.

Bytes that each of N ranks sends in a step of B samples, of 4 bytes a number, forward and backward:

- channels of an input (C, H, W):    2 · B·C·H·W · (N − 1)/N · 4
- rows of fc6's input of F numbers:  2 · B·F · (N − 1)/N · 4
- K outputs: of towers, B·K · (N − 1)/N · 4 (forward); of the hybrid, 2 · B·K · (N − 1)/N² · 4
- gradients of P parameters:         2 · P · (N − 1)/N · 4

A state dict of the whole network is cut into those of the ranks, and put together again, along the
first axis of each weight; checkpoints are those of a single device.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ...autograd import no_grad
from ...distributed import arrays, world
from ...errors import ArgumentError
from ...nn import Conv2d, Dropout, LocalResponseNorm, Module, Parameter, PlainDropout, Sequential
from ...nn.exchange import gather_channels, gather_outputs, gather_rounds, scatter_rows
from ...nn.module import in_evaluation
from ...nn.parts import use_rows
from ...ops import cat
from ...random import get_rng_state, set_rng_state
from ...tensor import Tensor
from .rows import RowNet

__all__ = ["Shards", "bytes_per_step"]


def pieces(count: int, ranks: int) -> list[int]:
    """Return how many of `count` channels each rank has: as equal as possible, the first more."""
    return [count // ranks + (rank < count % ranks) for rank in range(ranks)]


class Shards:
    """Cuts a network in place: this rank keeps its pieces of the weights.

    Parameters
    ----------
    model : RowNet
        With the same weights on all ranks.
    scheme : "towers" or "hybrid"

    Attributes
    ----------
    total : int
        With "hybrid", the number of samples in the training batch of all ranks; set it before each
        forward. Otherwise all ranks must have equally many.
    twin : RowNet or None
        On rank 0, a copy of the whole network; its weights are those from before.
    cut : dict of str to list of int
        Names of the parameters that are cut, and how many rows each rank has.

    Raises
    ------
    ArgumentError
        The network can't be cut into as many pieces.
    """

    def __init__(self, model: RowNet, scheme: str) -> None:
        self.model, self.scheme, self.total = model, scheme, 0
        self.here = world.current()
        self.rank, self.ranks = self.here.rank, self.here.size
        self.twin = copy.deepcopy(model) if self.rank == 0 else None
        self._fixed, self._with_one = (
            bytes_per_step(model, scheme, self.ranks, batch, self.rank) for batch in (0, 1)
        )
        self.rows = model.named_rows()
        if scheme == "towers":
            self._check_towers()
        fully = [name for name in self.rows if name.startswith("fc")]
        chosen = list(self.rows) if scheme == "towers" else fully
        names = {id(p): name for name, p in model.named_parameters()}
        self.cut: dict[str, list[int]] = {}
        for number, name in enumerate(chosen):
            self._cut(name, self.rows[name], names, first=number == 0)
        last = self.rows[chosen[-1]]
        self._outputs = self.cut[names[id(last.weight)]]
        self._first, self._stages = 0, [list(model.children()), []]
        if scheme == "hybrid":
            self._stages = _split(self._stages[0], self.rows[fully[0]])
        self._names = fully
        model.shards = self
        in_classifier = False
        for module in model.modules():
            in_classifier |= module is self.rows[fully[0]]
            if isinstance(module, Dropout | PlainDropout):
                pieces_ = self.ranks if scheme == "towers" or in_classifier else 1
                self._share_mask(module, pieces_, scheme == "hybrid" and not in_classifier)
            elif isinstance(module, LocalResponseNorm) and scheme == "towers":
                module.groups = 1

    def _check_towers(self) -> None:
        groups = {getattr(row, "groups", 1) for row in self.rows.values()} - {1}
        if groups != {self.ranks}:
            raise ArgumentError(
                f"towers: {self.ranks} ranks, but the network has {max(groups, default=1)} towers: "
                "take --variant paper or original, and mpirun -n 2"
            )
        for module in self.model.modules():
            if isinstance(module, LocalResponseNorm) and module.groups != self.ranks:
                raise ArgumentError(
                    "towers: response normalization reaches from one tower into the other; it has "
                    "to end there, as on the paper's GPUs: a network with lrn_groups=2"
                )

    def _cut(self, name: str, layer: Any, names: dict[int, str], first: bool) -> None:
        """Keep this rank's rows of a layer's weights; gather its input where it sees all of it."""
        count = layer.weight.shape[0]
        sizes = pieces(count, self.ranks)
        if not sizes[-1]:
            raise ArgumentError(f"{self.scheme}: {name} has {count} outputs for {self.ranks} ranks")
        for parameter in (layer.weight, layer.bias):
            if parameter is not None:
                self.cut[names[id(parameter)]] = sizes
                parameter.array = self._piece(parameter.array, sizes).copy()
        if isinstance(layer, Conv2d):
            layer.out_channels = sizes[self.rank]
            if layer.groups > 1 and self.scheme == "towers":
                layer.in_channels, layer.groups = layer.in_channels // layer.groups, 1
                return
        else:
            layer.out_features = sizes[self.rank]
        if not first:
            layer.register_forward_pre_hook(lambda _, inputs: self._join(name, inputs[0]))

    # --- The forward ------------------------------------------------------------------------------

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of this rank's images: of all with "towers", of a share otherwise."""
        x = _through(self._stages[0], images)
        if self.scheme == "towers":
            return gather_outputs(x, self._outputs, "outputs")
        total = self.total if self.model.training else len(images) * self.ranks
        outputs, key = [], get_rng_state()
        for whole, first in gather_rounds(x, total, self._names[0]):
            self._first = first
            set_rng_state(key)  # of a dropout's mask for the whole batch, the same in each round
            own = scatter_rows(_through(self._stages[1], whole), self._outputs, "outputs")
            outputs.append(own[: len(range(self.rank, len(whole), self.ranks))])
        return cat(outputs) if len(outputs) > 1 else own

    def _join(self, name: str, x: Tensor) -> Tensor:
        return gather_channels(x, [x.shape[1]] * self.ranks, name)

    def _share_mask(self, module: Module, count: int, share_rows: bool) -> None:
        """Let a dropout draw its piece of the mask that one process would draw."""

        def before(_: Module, inputs: Any) -> None:
            total = self.total or len(inputs[0])
            rows = list(range(self._first, self._first + len(inputs[0])))
            if share_rows:  # before the batch is joined
                rows = list(range(self.rank, total, self.ranks)) or [total - 1]
            use_rows(rows, total, self.rank if count > 1 else 0, count)

        module.register_forward_pre_hook(before)
        module.register_forward_hook(lambda *_: use_rows(None))

    def formula(self, batch: float) -> dict[str, float]:
        """Return :func:`bytes_per_step` of this rank."""
        fixed = self._fixed
        return {name: fixed[name] + batch * (b - fixed[name]) for name, b in self._with_one.items()}

    # --- State dicts ------------------------------------------------------------------------------

    def replicated(self) -> list[Parameter]:
        """Return the parameters that all ranks have."""
        return [p for name, p in self.model.named_parameters() if name not in self.cut]

    def whole(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the whole network's state dict, on all ranks, which call this together."""
        return self._of_model(state, self._whole)

    def piece(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return this rank's piece of a whole network's state dict."""
        return self._of_model(state, self._piece)

    def _of_model(self, state: dict[str, Any], change: Any) -> dict[str, Any]:
        return {
            name: change(value, self.cut[name]) if name in self.cut else value
            for name, value in state.items()
        }

    def whole_optimizer(self, optimizer: Any, state: dict[str, Any]) -> dict[str, Any]:
        """Return the optimizer's state dict for the whole network."""
        return self._of_optimizer(optimizer, state, self._whole)

    def piece_of_optimizer(self, optimizer: Any, state: dict[str, Any]) -> dict[str, Any]:
        """Return this rank's piece of an optimizer's state dict for the whole network."""
        return self._of_optimizer(optimizer, state, self._piece)

    def _of_optimizer(self, optimizer: Any, state: dict[str, Any], change: Any) -> dict[str, Any]:
        names = {id(p): name for name, p in self.model.named_parameters()}
        order = [names[id(p)] for group in optimizer.param_groups for p in group["params"]]
        changed = {}
        for number, values in sorted(state["state"].items()):
            sizes = self.cut.get(order[int(number)])
            changed[number] = {
                name: change(value, sizes) if sizes and isinstance(value, Tensor) else value
                for name, value in values.items()
            }
        return {**state, "state": changed}

    def _whole(self, value: Tensor, sizes: list[int]) -> Tensor:
        own = np.ascontiguousarray(value.detach().cpu().numpy())
        one = own[:1].size
        counts = [one * size for size in sizes]
        flat = self.here.submit(
            lambda: arrays.all_gather(self.here, own.reshape(-1), counts, "checkpoints")
        ).wait()
        return Tensor(flat.reshape(-1, *own.shape[1:]))

    def _piece(self, value: Any, sizes: list[int]) -> Any:
        start = sum(sizes[: self.rank])
        return value[start : start + sizes[self.rank]]


def _through(stages: list[Module], x: Tensor) -> Tensor:
    for stage in stages:
        x = stage(x)
    return x


def _split(stages: list[Module], layer: Module) -> list[list[Module]]:
    """Return the stages before a layer, and those from it on."""
    for place, stage in enumerate(stages):
        parts: list[Any] = list(stage.children())
        if isinstance(stage, Sequential) and layer in parts:
            cut = parts.index(layer)
            return [[*stages[:place], stage[:cut]], [stage[cut:], *stages[place + 1 :]]]
    raise ArgumentError("hybrid: expected the first fully connected layer in a Sequential")


def bytes_per_step(
    model: RowNet, scheme: str, ranks: int, batch: int, rank: int = 0
) -> dict[str, float]:
    """Return the bytes that a rank sends in a training step, by the formulas of this page.

    Parameters
    ----------
    model : RowNet
        The whole network.
    scheme : "data", "towers" or "hybrid"
    ranks, batch : int
        N; and the samples of all ranks together, a multiple of N.
    rank : int
        Default 0, which has one output more if N does not divide their number.
    """
    share = (ranks - 1) / ranks * 4
    rows = model.named_rows()
    fully = [name for name in rows if name.startswith("fc")]
    sent: dict[str, float] = {}
    if scheme != "towers":
        chosen: Any = rows if scheme == "data" else [n for n in rows if n not in fully]
        count = sum(p.numel() for name in chosen for p in rows[name].parameters())
        sent["gradients"] = 2 * count * share
    if scheme != "data":
        sizes = _input_sizes(model)
        joined = [n for n in rows if n in fully or rows[n].groups == 1][1:]
        for name in joined if scheme == "towers" else fully:
            sent[name] = 2 * batch * sizes[name] * share
        outputs = rows[fully[-1]].weight.shape[0]
        own = pieces(outputs, ranks)[rank]
        if scheme == "towers":
            sent["outputs"] = batch * own * (ranks - 1) * 4
        else:
            sent["outputs"] = batch * (own * (ranks - 1) + outputs - own) / ranks * 4
    return sent


def _input_sizes(model: RowNet) -> dict[str, int]:
    """Return the number of numbers that each row sees of one sample."""
    sizes: dict[str, int] = {}
    hooks = [
        row.register_forward_pre_hook(
            lambda _, inputs, name=name: sizes.update({name: inputs[0].numel()})
        )
        for name, row in model.named_rows().items()
    ]
    with in_evaluation(model, *hooks), no_grad():
        model(Tensor(np.zeros((1, *model.input_size), np.float32)))
    return sizes
