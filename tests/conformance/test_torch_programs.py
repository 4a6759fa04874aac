"""Programs written for PyTorch run with only their imports changed, and give the same numbers.

Every program takes the modules that a script would import. Its results with minidl's modules are
compared with PyTorch's recorded numbers (``torch_numbers.json``), and with PyTorch itself where it
is installed. Programs make their data with NumPy, because the libraries' random numbers differ.

After adding a program, run ``python tests/conformance/test_torch_programs.py`` to record its
numbers.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from both_libraries import fill, flat, labels, numbers

NUMBERS = Path(__file__).with_name("torch_numbers.json")
PROGRAMS: dict[str, Callable[[Any], list[Any]]] = {}


def program(function: Callable[[Any], list[Any]]) -> Callable[[Any], list[Any]]:
    PROGRAMS[function.__name__] = function
    return function


def modules(name: str) -> SimpleNamespace:
    """The modules that a script imports."""
    if name == "torch":
        import torch
        import torch.nn.functional as F
        from torch import nn, optim
        from torch.utils import data
    else:
        import minidl as torch  # type: ignore[no-redef]
        import minidl.nn.functional as F  # type: ignore[no-redef]
        from minidl import data, nn, optim  # type: ignore[no-redef]
    return SimpleNamespace(torch=torch, nn=nn, F=F, optim=optim, data=data)


# --- Training loops -------------------------------------------------------------------------------


@program
def mlp_with_sgd(m: Any) -> list[Any]:
    torch, nn, F, optim = m.torch, m.nn, m.F, m.optim

    class Net(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self, hidden: int) -> None:
            super().__init__()
            self.fc1 = nn.Linear(20, hidden)
            self.fc2 = nn.Linear(hidden, 5)

        def forward(self, x: Any) -> Any:
            x = x.view(x.size(0), -1)
            return self.fc2(F.relu(self.fc1(x)))

    net = fill(m, Net(16))
    x, y = torch.from_numpy(numbers(32, 4, 5)), torch.from_numpy(labels(32, 5))
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.5)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return [*losses, optimizer.param_groups[0]["lr"], net.fc2.bias]


@program
def cnn_with_adam(m: Any) -> list[Any]:
    torch, nn, optim = m.torch, m.nn, m.optim
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
        nn.MaxPool2d(2), nn.Conv2d(8, 12, kernel_size=3, stride=2, padding="valid", groups=2),
        nn.Tanh(), nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), nn.Linear(48, 4),
    )  # fmt: skip
    fill(m, net, 1)
    x, y = torch.tensor(numbers(8, 3, 12, 12)), torch.tensor(labels(8, 4))
    optimizer = optim.Adam(net.parameters(), lr=1e-2, betas=(0.9, 0.99), weight_decay=1e-3)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    results = []
    for epoch in range(8):
        net.train()
        optimizer.zero_grad(set_to_none=True)
        loss = m.F.cross_entropy(net(x), y, label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        scheduler.step()
        net.eval()
        with torch.no_grad():
            correct = net(x).argmax(dim=1).eq(y).sum().item()
        if epoch < 5:  # later, rounding has grown
            results += [loss.item(), scheduler.get_last_lr()[0]]
        else:
            results += [float(correct >= 4)]
    return [*results, net[1].num_batches_tracked]


@program
def small_alexnet(m: Any) -> list[Any]:
    torch, nn = m.torch, m.nn

    class AlexNet(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self, num_classes: int = 10, dropout: float = 0.5) -> None:
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(3, 16, kernel_size=11, stride=4, padding=2),
                nn.ReLU(inplace=True),
                nn.LocalResponseNorm(5, alpha=1e-1, beta=0.75, k=2.0),
                nn.MaxPool2d(kernel_size=3, stride=2),
                nn.Conv2d(16, 32, kernel_size=5, padding=2, groups=2),
                nn.ReLU(inplace=True),
                nn.LocalResponseNorm(5),
                nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True),
                nn.Conv2d(32, 24, kernel_size=3, padding="same"),
                nn.ReLU(inplace=True),
                nn.AvgPool2d(2, stride=1, padding=1, count_include_pad=False),
            )
            self.avgpool = nn.AdaptiveAvgPool2d((3, 3))
            self.classifier = nn.Sequential(
                nn.Dropout(p=dropout), nn.Linear(24 * 9, 32), nn.ReLU(inplace=True),
                nn.Dropout(p=dropout), nn.Linear(32, num_classes),
            )  # fmt: skip

        def forward(self, x: Any) -> Any:
            x = self.avgpool(self.features(x))
            return self.classifier(torch.flatten(x, 1))

    net = fill(m, AlexNet()).eval()
    x = torch.from_numpy(numbers(2, 3, 63, 63)).requires_grad_(True)
    out = net(x)
    out.logsumexp(dim=1).mean().backward()
    sums = [p.grad.norm() for p in net.parameters()]
    count = sum(p.numel() for p in net.parameters() if p.requires_grad)
    return [out, sums, x.grad.norm(), count, len(net.state_dict())]


@program
def loader_and_evaluation(m: Any) -> list[Any]:
    torch, nn, data = m.torch, m.nn, m.data
    x, y = torch.from_numpy(numbers(50, 6)), torch.from_numpy(labels(50, 3))
    dataset = data.TensorDataset(x, y)
    train, test = data.random_split(dataset, [40, 10], generator=torch.Generator().manual_seed(1))
    assert sorted([*train.indices, *test.indices]) == list(range(50))
    net = fill(m, nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 3), nn.LogSoftmax(1)))
    criterion = nn.NLLLoss(reduction="sum")
    loader = data.DataLoader(data.Subset(dataset, range(40)), batch_size=16, shuffle=False)
    assert len(loader) == 3 and len(loader.dataset) == 40
    optimizer = m.optim.SGD(net.parameters(), lr=1e-2, momentum=0.5, nesterov=True)
    losses = []
    for _ in range(3):
        total = 0.0
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = criterion(net(inputs), targets)
            loss.backward()
            norm = torch.stack([p.grad.norm() for p in net.parameters()]).norm()
            for parameter in net.parameters():
                parameter.grad.mul_(torch.clamp(5.0 / (norm + 1e-6), max=1.0))
            optimizer.step()
            total += loss.item() / len(loader.dataset)
        losses.append(total)
    top1 = top2 = 0
    net.eval()
    with torch.no_grad():
        for inputs, targets in data.DataLoader(dataset, batch_size=7, drop_last=False):
            _, predicted = net(inputs).topk(2, 1, True, True)
            correct = predicted.t().eq(targets.view(1, -1).expand_as(predicted.t()))
            top1 += correct[:1].reshape(-1).float().sum(0).item()
            top2 += correct.flatten().sum().item()
    confusion = torch.zeros(3, 3, dtype=torch.int64)
    for t, p in zip(y, net(x).max(1)[1], strict=True):
        confusion[t.long(), p.long()] += 1
    return [losses, top1, top2, confusion]


@program
def schedulers_and_groups(m: Any) -> list[Any]:
    torch, nn, optim = m.torch, m.nn, m.optim
    net = fill(m, nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1)))
    optimizer = optim.SGD(
        [{"params": net[0].parameters(), "lr": 0.2}, {"params": net[1].parameters()}], lr=0.05
    )
    schedulers = [
        optim.lr_scheduler.MultiStepLR(optimizer, milestones=[2, 4], gamma=0.1),
        optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.95**epoch),
    ]
    plateau = optim.lr_scheduler.ReduceLROnPlateau(optimizer, "min", factor=0.5, patience=1)
    x, y = torch.from_numpy(numbers(10, 4)), torch.from_numpy(numbers(10, 1, seed=1))
    rates = []
    for epoch in range(6):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        optimizer.step()
        schedulers[epoch % 2].step()
        plateau.step(1.0)
        rates += [group["lr"] for group in optimizer.param_groups] + [loss.item()]
    return rates


# --- Extending the library ------------------------------------------------------------------------


@program
def module_with_buffers_and_hooks(m: Any) -> list[Any]:
    torch, nn = m.torch, m.nn

    class Scale(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4) * 2)
            self.register_buffer("mean", torch.zeros(4))
            self.register_buffer("count", torch.tensor(0))
            self.blocks = nn.ModuleList([nn.Linear(4, 4) for _ in range(2)])

        def forward(self, x: Any) -> Any:
            if self.training:
                with torch.no_grad():
                    self.mean.mul_(0.9).add_(0.1 * x.mean(dim=0))
                self.count += 1
            for block in self.blocks:
                x = x + torch.tanh(block(x))
            return (x - self.mean) * self.weight

    net = fill(m, Scale())
    seen = []
    handle = net.blocks[0].register_forward_hook(
        lambda mod, i, o: seen.append(o.abs().sum().item())
    )
    x = torch.from_numpy(numbers(5, 4))
    net(x)
    out = net(x)
    handle.remove()
    net.eval()
    out = net(x)
    out.pow(2).sum().backward()
    state = net.state_dict()
    other = Scale()
    other.load_state_dict(state)
    assert list(state) == [
        "weight", "mean", "count", "blocks.0.weight", "blocks.0.bias", "blocks.1.weight",
        "blocks.1.bias",
    ]  # fmt: skip
    assert [name for name, _ in net.named_children()] == ["blocks"]
    assert torch.equal(other.eval()(x), out)
    with tempfile.TemporaryDirectory() as folder:
        torch.save(state, f"{folder}/state.pt")
        again = torch.load(f"{folder}/state.pt")
    return [seen, net.weight.grad, net.mean, net.count, again["blocks.1.bias"]]


@program
def custom_gradients(m: Any) -> list[Any]:
    """The code inside a Function differs (arrays here), but its use does not."""
    torch = m.torch

    class Swish(torch.autograd.Function):  # type: ignore[name-defined, misc]
        @staticmethod
        def forward(ctx: Any, x: Any, beta: float) -> Any:
            s = 1 / (1 + (-beta * x).exp()) if hasattr(x, "exp") else 1 / (1 + np.exp(-beta * x))
            ctx.save_for_backward(x, s)
            ctx.beta = beta
            return x * s

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            x, s = ctx.saved_tensors
            assert ctx.needs_input_grad == (True, False)
            return grad * (s + ctx.beta * x * s * (1 - s)), None

    x = torch.from_numpy(numbers(6)).requires_grad_()
    y = Swish.apply(x, 1.5)
    y.sum().backward()
    first = x.grad.clone()
    (g,) = torch.autograd.grad((Swish.apply(x, 0.5) * x).sum(), x)
    with torch.no_grad():
        assert not Swish.apply(x, 1.0).requires_grad
    y = Swish.apply(x, 1.0)
    y.retain_grad()
    (y * y.detach()).sum().backward(retain_graph=True)
    return [first, g, y.grad, x.grad]


@program
def frozen_layers_and_two_losses(m: Any) -> list[Any]:
    torch, nn = m.torch, m.nn
    net = fill(m, nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)))
    for parameter in net[0].parameters():
        parameter.requires_grad = False
    x = torch.from_numpy(numbers(3, 4))
    out = net(x)
    out[:, 0].sum().backward(retain_graph=True)
    out[:, 1].square().mean().backward()
    assert net[0].weight.grad is None
    with torch.no_grad():
        for parameter in filter(lambda p: p.requires_grad, net.parameters()):
            parameter -= 0.1 * parameter.grad
            parameter.grad.zero_()
    net[2].weight.data.mul_(0.5)
    net[2].bias.data.fill_(0.25)
    return [net(x), net[2].weight.grad]


# --- Layers and losses ----------------------------------------------------------------------------


@program
def losses_with_all_options(m: Any) -> list[Any]:
    torch, nn, F = m.torch, m.nn, m.F
    x = torch.from_numpy(numbers(6, 5)).requires_grad_()
    y = torch.from_numpy(labels(6, 5))
    weight = torch.tensor([0.5, 1.0, 2.0, 0.0, 1.5])
    results: list[Any] = []
    for reduction in ("mean", "sum", "none"):
        for options in ({}, {"label_smoothing": 0.2}, {"ignore_index": 1}, {"weight": weight}):
            loss = F.cross_entropy(x, y, reduction=reduction, **options)
            results += [loss, torch.autograd.grad(loss.sum(), x)[0]]
        results.append(F.nll_loss(F.log_softmax(x, dim=1), y, weight, reduction=reduction))
        results.append(F.mse_loss(x, torch.zeros(6, 5), reduction=reduction))
    soft = F.softmax(torch.from_numpy(numbers(6, 5, seed=3)), dim=-1)
    results.append(nn.CrossEntropyLoss(label_smoothing=0.1)(x, soft))
    images = torch.from_numpy(numbers(2, 5, 3, 3))
    results.append(
        nn.NLLLoss()(F.log_softmax(images, 1), torch.from_numpy(labels(18, 5)).view(2, 3, 3))
    )
    return results


@program
def batch_norm_in_both_modes(m: Any) -> list[Any]:
    torch, nn = m.torch, m.nn
    layer = nn.BatchNorm2d(3, eps=1e-3, momentum=0.3)
    cumulative = nn.BatchNorm2d(3, momentum=None, affine=False)
    results: list[Any] = []
    for seed in range(3):
        x = torch.from_numpy(numbers(4, 3, 5, 5, seed=seed) * (seed + 1)).requires_grad_()
        y = layer(x)
        (y * y).sum().backward()
        results += [y[0, :, 0], x.grad[0, :, 0], cumulative(x)[1, 1]]
    results += [layer.running_mean, layer.running_var, layer.num_batches_tracked]
    results += [cumulative.running_mean, cumulative.running_var]
    layer.eval()
    results.append(layer(x)[1, 1])
    results.append([layer.weight.grad, layer.bias.grad])
    return results


@program
def convolutions_and_padding(m: Any) -> list[Any]:
    torch, nn, F = m.torch, m.nn, m.F
    x = torch.from_numpy(numbers(2, 4, 7, 6)).requires_grad_()
    results: list[Any] = []
    for options in (
        {"padding": "same", "dilation": 2}, {"stride": (2, 1), "padding": (1, 0)},
        {"groups": 2, "bias": False}, {"padding": 1, "padding_mode": "reflect"},
        {"padding": 2, "padding_mode": "circular"}, {"padding": 1, "padding_mode": "replicate"},
    ):  # fmt: skip
        layer = fill(m, nn.Conv2d(4, 6, 3, **options))
        y = layer(x)
        (g,) = torch.autograd.grad(y.tanh().sum(), x)
        results += [y.sum((0, 2, 3)), g[0, 0]]
    for mode in ("constant", "reflect", "replicate", "circular"):
        results.append(F.pad(x, (1, 2, 0, 3), mode=mode).sum((1, 2)))
    columns = F.unfold(x, kernel_size=(3, 2), padding=1, stride=2)
    results += [
        columns.shape,
        columns.mean(1),
        F.fold(columns, (7, 6), (3, 2), padding=1, stride=2)[0, 0],
    ]
    y, where = F.max_pool2d(x, 3, 2, 1, return_indices=True)
    return [*results, y, where, F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, divisor_override=5)]


# --- Tensors --------------------------------------------------------------------------------------


@program
def indexing(m: Any) -> list[Any]:
    torch = m.torch
    x = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5).requires_grad_()
    rows, columns = torch.tensor([0, 2, 2]), torch.tensor([1, 3, 3])
    parts = [
        x[1], x[..., -1], x[:, 1:3, ::2], x[rows], x[rows, columns], x[:, columns], x[rows, :, 0],
        x[0, :, [1, 2]], x[x > 50], x[None, 1, ..., None], x[-1, -1, -1], x[(rows > 1)],
        x.gather(2, torch.tensor([[[0, 4]] * 4] * 3)), x.index_select(1, columns),
        x.masked_select(x % 7 == 0), torch.where(x > 30, x, -x), x.masked_fill(x < 10, 0.0),
        x.take_along_dim(x.argmax(2, keepdim=True), 2), x.narrow(1, 1, 2), x.select(2, 3),
    ]  # fmt: skip
    total = sum((i + 1) * part.sum() for i, part in enumerate(parts))
    total.backward()
    y = torch.zeros(4, 5)
    y[1] = 1
    y[:, 2] += 3
    y[torch.tensor([0, 3]), torch.tensor([4, 0])] = torch.tensor([7.0, 8.0])
    y[y > 6] *= 10
    y[2:, 3:] = y[:2, :2]
    one_hot = torch.zeros(3, 4).scatter_(1, torch.tensor([[1], [0], [3]]), 1)
    counts = (
        torch.zeros(4).index_add_(0, columns, torch.ones(3)).scatter_add(0, rows, torch.ones(3))
    )
    z = (x * 1.0)[0].clone()
    z[0, :] = z[1, :] * 2
    z.sum().backward()
    return [parts, x.grad, y, one_hot, counts, [len(x), x.shape[1], list(x.size())[2]]]


@program
def arithmetic_and_dtypes(m: Any) -> list[Any]:
    torch = m.torch
    i, f, d = torch.arange(1, 5), torch.ones(4) / 3, torch.ones(4, dtype=torch.float64) / 3
    b = torch.tensor([True, False, True, False])
    results = [
        i / 2, i // 3, i % 3, i**2, i + 0.5, i * f, f * d, -i, 1 / f, 2 - i, 2**i, b + 1, b.sum(),
        i.float().mean(), f.double() + 1, (i > 2) & b, ~b, i == 3, b.long() - 1, abs(i - 3),
        torch.tensor(2.5, dtype=torch.float64) * f, f + np.float64(0.1), i.true_divide(3)
        if hasattr(i, "true_divide") else i / 3,
    ]  # fmt: skip
    names = [str(r.dtype).rpartition(".")[2] for r in results]
    codes = [["bool", "int64", "float32", "float64"].index(name) for name in names]
    assert f"{f[0].item():.3f}" == "0.333" and f"{i[1]}" == "2" and int(i[2]) == 3
    return [[r.double() for r in results], codes]


@program
def reductions_and_shapes(m: Any) -> list[Any]:
    torch = m.torch
    x = torch.from_numpy(numbers(3, 4, 5)).requires_grad_()
    values, where = x.max(dim=1)
    smallest, places = torch.min(x, 2, keepdim=True)
    results = [
        x.sum(), x.sum(1), x.mean((0, 2)), x.var(), x.std(2), x.var(1, unbiased=False), x.norm(),
        x.norm(dim=1), x.prod(1), values, where, smallest, places, x.amax((0, 1)), x.argmin(),
        x.cumsum(1), x.logsumexp(0), x.sort(1, descending=True)[0], x.topk(2, 0)[0], x.median(),
        x.abs().max(), (x > 0).any(1), (x > -9).all(), x.softmax(1), x.clamp(-0.5, 0.5),
        x.clamp(min=0), x.permute(2, 0, 1), x.transpose(0, 2), x.flatten(1),
        x.unsqueeze(-1).squeeze(),
        x.repeat(1, 2, 1), x.expand(2, 3, 4, 5), x.flip(0), x.roll(1, 2), x.tril(), x.movedim(0, 2),
        torch.cat([x, x * 2], dim=1), torch.stack([x, x]), *x.chunk(2, 1), *x.split([1, 3], 1),
        *torch.unbind(x, 0), x.reshape(-1, 5).t() @ x.reshape(-1, 5), x @ x.transpose(1, 2),
        torch.einsum("bij,bkj->bik", x, x), torch.bmm(x, x.mT), torch.outer(x[0, 0], x[1, 1]),
        x.repeat_interleave(2, 0), x.unflatten(1, (2, 2)), x.exp().log1p().sqrt(), x.sign(),
        torch.maximum(x, -x), x.round(), x.reciprocal(), x.square().rsqrt(), x.sin() * x.cos(),
        x.diagonal(0, 1, 2), torch.diag(x[0, 0]), x.tile((2, 1)), torch.linspace(0, 1, 5),
        torch.meshgrid(torch.arange(2), torch.arange(3), indexing="ij")[1], torch.eye(2),
        torch.full((2,), 3.5), torch.allclose(x, x), x.count_nonzero(), torch.isnan(x).sum(),
    ]  # fmt: skip
    loss = sum(
        (r * (1 + n % 3)).sum() for n, r in enumerate(results)
        if hasattr(r, "requires_grad") and r.requires_grad
    )  # fmt: skip
    loss.backward()
    return [[r.sum() if hasattr(r, "sum") else r for r in results], x.grad]


@program
def numpy_style_training_by_hand(m: Any) -> list[Any]:
    """Linear regression as in many a tutorial: no modules, gradients zeroed by hand."""
    torch = m.torch
    x = torch.from_numpy(numbers(20, 3))
    y = x @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.3
    w = torch.zeros(3, 1, requires_grad=True)
    b = torch.zeros(1, requires_grad=True)
    for _ in range(20):
        loss = ((x @ w + b - y) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            w -= 0.1 * w.grad
            b -= 0.1 * b.grad
        w.grad.zero_()
        b.grad = None
    velocity = torch.zeros_like(w)
    velocity.mul_(0.9).addcmul_(w.detach(), w.detach(), value=0.5).add_(w.detach(), alpha=2)
    velocity.addcdiv_(torch.ones(3, 1), w.detach() + 3).sqrt_().clamp_(0.1, 1.5)
    return [loss.item(), w, b, velocity, w.detach().numpy().sum(), w.data.norm().item()]


# --- Running them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROGRAMS)
def test_same_numbers_as_pytorch_gave(name: str) -> None:
    expected = json.loads(NUMBERS.read_text())[name]
    results = flat(PROGRAMS[name](modules("minidl")))
    np.testing.assert_allclose(results, expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name", PROGRAMS)
def test_same_numbers_as_pytorch(name: str) -> None:
    pytest.importorskip("torch")
    results = flat(PROGRAMS[name](modules("minidl")))
    expected = flat(PROGRAMS[name](modules("torch")))
    np.testing.assert_allclose(results, expected, rtol=2e-4, atol=2e-5)


def main() -> None:
    """Record PyTorch's numbers."""
    given = {name: flat(function(modules("torch"))) for name, function in PROGRAMS.items()}
    text = {name: [float(f"{x:.6g}") for x in values] for name, values in given.items()}
    NUMBERS.write_text(json.dumps(text, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
