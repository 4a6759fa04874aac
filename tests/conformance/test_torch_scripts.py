"""Scripts modeled on PyTorch's examples and tutorials give PyTorch's numbers.

Each takes the modules that the head of such a script imports, and returns losses and the like. They
are run with minidl's modules and compared with what PyTorch gave (``torch_script_numbers.json``),
and with PyTorch itself where that is installed. Data and weights come from NumPy.

After adding one, run ``python tests/conformance/test_torch_scripts.py``: it writes the numbers.
"""

from __future__ import annotations

import copy
import importlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from both_libraries import fill, flat, labels, numbers

NUMBERS = Path(__file__).with_name("torch_script_numbers.json")
SCRIPTS: dict[str, Callable[[Any], Any]] = {}


def script(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    SCRIPTS[function.__name__] = function
    return function


def imports(library: str) -> SimpleNamespace:
    """The modules that a script imports: the same paths in both libraries."""
    paths = {
        "nn": ".nn", "F": ".nn.functional", "optim": ".optim", "data": ".utils.data",
        "lr_scheduler": ".optim.lr_scheduler", "cudnn": ".backends.cudnn", "init": ".nn.init",
    }  # fmt: skip
    modules = {name: importlib.import_module(library + path) for name, path in paths.items()}
    return SimpleNamespace(torch=importlib.import_module(library), **modules)


# --- PyTorch's examples ---------------------------------------------------------------------------


@script
def mnist(m: Any) -> Any:
    """A convolutional net with Adadelta, StepLR, and a test loop over a loader."""
    torch, nn, F = m.torch, m.nn, m.F

    class Net(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(1, 4, 3, 1)
            self.conv2 = nn.Conv2d(4, 6, 3, 1)
            self.dropout1 = nn.Dropout(0.0)
            self.fc1 = nn.Linear(6 * 16, 16)
            self.fc2 = nn.Linear(16, 10)

        def forward(self, x: Any) -> Any:
            x = F.relu(self.conv1(x))
            x = F.max_pool2d(F.relu(self.conv2(x)), 2)
            x = torch.flatten(self.dropout1(x), 1)
            return F.log_softmax(self.fc2(F.relu(self.fc1(x))), dim=1)

    torch.manual_seed(1)
    use_accel = torch.accelerator.is_available() and False
    device = torch.accelerator.current_accelerator() if use_accel else torch.device("cpu")
    dataset = m.data.TensorDataset(
        torch.from_numpy(numbers(40, 1, 12, 12)), torch.from_numpy(labels(40, 10))
    )
    loader = m.data.DataLoader(dataset, batch_size=16, num_workers=0)
    model = fill(m, Net().to(device))
    optimizer = m.optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = m.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    results: list[Any] = []
    for _ in range(2):
        model.train()
        for data, target in loader:
            data, target = data.to(device), target.to(device)
            optimizer.zero_grad()
            loss = F.nll_loss(model(data), target)
            loss.backward()
            optimizer.step()
        model.eval()
        test_loss, correct = 0, 0
        with torch.no_grad():
            for data, target in loader:
                output = model(data.to(device))
                test_loss += F.nll_loss(output, target.to(device), reduction="sum").item()
                pred = output.argmax(dim=1, keepdim=True)
                correct += pred.eq(target.view_as(pred)).sum().item()
        scheduler.step()
        results += [loss, test_loss / len(loader.dataset), correct, scheduler.get_last_lr()[0]]
    return results


@script
def variational_autoencoder(m: Any) -> Any:
    torch, nn, F = m.torch, m.nn, m.F

    class VAE(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc21, self.fc22 = nn.Linear(36, 12), nn.Linear(12, 4), nn.Linear(12, 4)
            self.fc3, self.fc4 = nn.Linear(4, 12), nn.Linear(12, 36)

        def forward(self, x: Any, eps: Any) -> Any:
            h1 = F.relu(self.fc1(x.view(-1, 36)))
            mu, logvar = self.fc21(h1), self.fc22(h1)
            std = torch.exp(0.5 * logvar)
            assert torch.randn_like(std).shape == std.shape
            z = mu + eps * std
            return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, logvar

    model = fill(m, VAE())
    optimizer = m.optim.Adam(model.parameters(), lr=1e-3)
    x = torch.from_numpy(np.abs(numbers(8, 1, 6, 6)) % 1)
    losses = []
    for step in range(4):
        optimizer.zero_grad()
        recon, mu, logvar = model(x, torch.from_numpy(numbers(8, 4, seed=step)))
        bce = F.binary_cross_entropy(recon, x.view(-1, 36), reduction="sum")
        kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        (bce + kld).backward()
        optimizer.step()
        losses.append((bce + kld).item())
    return losses


@script
def adversarial_nets(m: Any) -> Any:
    """A generator of transposed convolutions against a discriminator, as in DCGAN."""
    torch, nn = m.torch, m.nn
    generator = nn.Sequential(
        nn.ConvTranspose2d(5, 8, 4, 1, 0, bias=False), nn.BatchNorm2d(8), nn.ReLU(True),
        nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Conv2d(3, 6, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(6, 1, 4, 1, 0, bias=False), nn.Sigmoid(),
    )  # fmt: skip

    def weights_init(module: Any) -> None:
        if module.__class__.__name__.find("BatchNorm") != -1:
            torch.nn.init.normal_(module.weight, 1.0, 0.02)
            torch.nn.init.zeros_(module.bias)

    generator.apply(weights_init)
    fill(m, generator)
    fill(m, discriminator, 1)
    criterion = nn.BCELoss()
    optimizer_d = m.optim.Adam(discriminator.parameters(), lr=2e-3, betas=(0.5, 0.999))
    optimizer_g = m.optim.Adam(generator.parameters(), lr=2e-3, betas=(0.5, 0.999))
    real, results = torch.from_numpy(numbers(4, 3, 8, 8)), []
    for step in range(3):
        discriminator.zero_grad()
        label = torch.full((4,), 1, dtype=real.dtype)
        output = discriminator(real).view(-1, 1).squeeze(1)
        error_real = criterion(output, label)
        error_real.backward()
        fake = generator(torch.from_numpy(numbers(4, 5, 1, 1, seed=step)))
        label.fill_(0)
        error_fake = criterion(discriminator(fake.detach()).view(-1), label)
        error_fake.backward()
        optimizer_d.step()
        generator.zero_grad()
        label.fill_(1)
        error_g = criterion(discriminator(fake).view(-1), label)
        error_g.backward()
        optimizer_g.step()
        results += [output.mean().item(), error_real + error_fake, error_g]
    return [*results, fake[0, 0, 0]]


@script
def siamese_network(m: Any) -> Any:
    torch, nn = m.torch, m.nn

    class Siamese(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            body = nn.Sequential(
                nn.Conv2d(1, 4, 3, stride=2, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True),
                nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(4, 4),
            )  # fmt: skip
            self.body = torch.nn.Sequential(*(list(body.children())[:-1]))
            self.fc = nn.Sequential(nn.Linear(8, 6), nn.ReLU(inplace=True), nn.Linear(6, 1))
            self.sigmoid = nn.Sigmoid()
            self.fc.apply(self.init_weights)

        def init_weights(self, module: Any) -> None:
            if isinstance(module, nn.Linear):
                torch.nn.init.xavier_uniform_(module.weight)
                module.bias.data.fill_(0.01)

        def forward(self, *inputs: Any) -> Any:
            outputs = [self.body(x) for x in inputs]
            outputs = [output.view(output.size()[0], -1) for output in outputs]
            return self.sigmoid(self.fc(torch.cat(outputs, 1)))

    model = fill(m, Siamese())
    optimizer = m.optim.Adadelta(model.parameters(), lr=1.0)
    criterion, results = nn.BCELoss(), []
    a, b = (torch.from_numpy(numbers(6, 1, 7, 7, seed=s)) for s in range(2))
    target = torch.from_numpy(labels(6, 2)).float()
    for _ in range(3):
        optimizer.zero_grad()
        outputs = model(a, b).squeeze()
        loss = criterion(outputs, target)
        loss.backward()
        optimizer.step()
        pred = torch.where(outputs > 0.5, 1, 0)
        results += [loss, pred.eq(target.view_as(pred)).sum().item()]
    return results


@script
def forward_forward(m: Any) -> Any:
    torch, nn = m.torch, m.nn

    class Layer(nn.Linear):  # type: ignore[name-defined, misc]
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.relu, self.threshold = torch.nn.ReLU(), 2.0
            self.opt = m.optim.Adam(self.parameters(), lr=0.03)

        def forward(self, x: Any) -> Any:
            direction = x / (x.norm(2, 1, keepdim=True) + 1e-4)
            return self.relu(torch.mm(direction, self.weight.T) + self.bias.unsqueeze(0))

        def train(self, pos: Any, neg: Any) -> Any:  # type: ignore[override]
            for _ in range(4):
                g_pos = self.forward(pos).pow(2).mean(1)
                g_neg = self.forward(neg).pow(2).mean(1)
                terms = torch.cat([-g_pos + self.threshold, g_neg - self.threshold])
                loss = torch.log(1 + torch.exp(terms)).mean()
                self.opt.zero_grad()
                loss.backward()
                self.opt.step()
            return self.forward(pos).detach(), self.forward(neg).detach(), loss

    x, y = torch.from_numpy(numbers(8, 20)), torch.from_numpy(labels(8, 4))

    def overlay(x: Any, y: Any) -> Any:
        x_ = x.clone()
        x_[:, :4] *= 0.0
        x_[range(x.shape[0]), y] = x.max()
        return x_

    layers = [fill(m, Layer(20, 10)), fill(m, Layer(10, 6), 1)]
    pos, neg = overlay(x, y), overlay(x, (y + 1) % 4)
    losses = []
    for layer in layers:
        pos, neg, loss = layer.train(pos, neg)
        losses.append(loss)
    goodness = []
    for label in range(4):
        h, found = overlay(x, torch.full((8,), label, dtype=torch.int)), []
        for layer in layers:
            h = layer(h)
            found += [h.pow(2).mean(1)]
        goodness += [sum(found).unsqueeze(1)]
    predicted = torch.cat(goodness, 1).argmax(1)
    return [losses, predicted, 1.0 - predicted.eq(y).float().mean().item()]


@script
def polynomial_regression(m: Any) -> Any:
    torch, F = m.torch, m.F
    w_target, b_target = torch.from_numpy(numbers(4, 1)) * 5, torch.from_numpy(numbers(1)) * 5
    fc = fill(m, torch.nn.Linear(w_target.size(0), 1))
    losses = []
    for step in range(5):
        x = torch.from_numpy(numbers(32, seed=step)).unsqueeze(1)
        features = torch.cat([x**i for i in range(1, 5)], 1)
        y = features.mm(w_target) + b_target.item()
        fc.zero_grad()
        output = F.smooth_l1_loss(fc(features), y)
        losses.append(output.item())
        output.backward()
        for param in fc.parameters():
            param.data.add_(-0.1 * param.grad)
    return [losses, fc.weight.view(-1), fc.bias]


@script
def super_resolution(m: Any) -> Any:
    torch, nn = m.torch, m.nn

    class Net(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self, upscale_factor: int) -> None:
            super().__init__()
            self.relu = nn.ReLU()
            self.conv1 = nn.Conv2d(1, 6, (5, 5), (1, 1), (2, 2))
            self.conv2 = nn.Conv2d(6, upscale_factor**2, (3, 3), (1, 1), (1, 1))
            self.pixel_shuffle = nn.PixelShuffle(upscale_factor)
            m.init.orthogonal_(self.conv1.weight, m.init.calculate_gain("relu"))
            m.init.orthogonal_(self.conv2.weight)

        def forward(self, x: Any) -> Any:
            return self.pixel_shuffle(self.conv2(self.relu(self.conv1(x))))

    model, criterion = fill(m, Net(3)), nn.MSELoss()
    optimizer = m.optim.Adam(model.parameters(), lr=0.01)
    x, target = torch.from_numpy(numbers(2, 1, 5, 5)), torch.from_numpy(numbers(2, 1, 15, 15))
    results = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = criterion(model(x), target)
        loss.backward()
        optimizer.step()
        results += [loss.item(), 10 * np.log10(1 / loss.item())]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.pth")
        globals()["Net"] = Net  # as if the script had defined it at the top level
        Net.__qualname__ = "Net"
        torch.save(model, path)
        again = torch.load(path, map_location=lambda storage, loc: storage, weights_only=False)
    del globals()["Net"]
    return [*results, again(x)[0, 0, 0]]


@script
def neural_style(m: Any) -> Any:
    """Reflection padding, instance normalization, upsampling, Gram matrices."""
    torch, nn = m.torch, m.nn

    class ConvLayer(torch.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self, a: int, b: int, kernel: int, stride: int, upsample: Any = None) -> None:
            super().__init__()
            self.upsample = upsample
            self.reflection_pad = torch.nn.ReflectionPad2d(int(np.floor(kernel / 2)))
            self.conv2d = torch.nn.Conv2d(a, b, kernel, stride)
            self.norm = torch.nn.InstanceNorm2d(b, affine=True)

        def forward(self, x: Any) -> Any:
            if self.upsample:
                x = torch.nn.functional.interpolate(x, mode="nearest", scale_factor=self.upsample)
            return self.norm(self.conv2d(self.reflection_pad(x)))

    def gram_matrix(y: Any) -> Any:
        b, ch, h, w = y.size()
        features = y.view(b, ch, w * h)
        return features.bmm(features.transpose(1, 2)) / (ch * h * w)

    net = nn.Sequential(ConvLayer(3, 4, 3, 1), nn.ReLU(), ConvLayer(4, 6, 3, 2), nn.ReLU(),
                        ConvLayer(6, 3, 3, 1, upsample=2))  # fmt: skip
    fill(m, net)
    critic = fill(m, nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU()), 1)
    for parameter in critic.parameters():
        parameter.requires_grad = False
    mse, optimizer = torch.nn.MSELoss(), m.optim.Adam(net.parameters(), 1e-2)
    x, style = torch.from_numpy(numbers(2, 3, 8, 8)), torch.from_numpy(numbers(1, 3, 8, 8, seed=1))
    gram_style, results = gram_matrix(critic(style.repeat(2, 1, 1, 1))), []
    mean = x.new_tensor([0.485, 0.456, 0.406]).view(-1, 1, 1)
    for _ in range(3):
        optimizer.zero_grad()
        y = (net(x).div_(2.0) - mean) / 0.5
        content = 1e5 * mse(critic(y), critic(x))
        style_loss = 1e5 * mse(gram_matrix(critic(y)), gram_style[:2, :, :])
        (content + style_loss).backward()
        optimizer.step()
        results += [content / 1e5, style_loss / 1e5]
    return results


@script
def fast_gradient_sign(m: Any) -> Any:
    torch, nn, F = m.torch, m.nn, m.F
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4))
    fill(m, model).eval()
    correct, results = 0, []
    for seed in range(3):
        data = torch.from_numpy(np.abs(numbers(1, 1, 6, 6, seed=seed)) % 1)
        target = torch.from_numpy(labels(1, 4, seed=seed))
        data.requires_grad = True
        output = F.log_softmax(model(data), dim=1)
        init_pred = output.max(1, keepdim=True)[1]
        loss = F.nll_loss(output, target)
        model.zero_grad()
        loss.backward()
        perturbed = torch.clamp(data + 0.2 * data.grad.data.sign(), 0, 1)
        final = model(perturbed).max(1, keepdim=True)[1]
        correct += int(final.item() == target.item()) + init_pred.item()
        adv = perturbed.squeeze().detach().cpu().numpy()
        results += [loss, adv[0], correct]
    return results


@script
def imagenet_training(m: Any) -> Any:
    """Meters and top-k accuracy, a rate that falls, the best epoch's weights, and a resumed run."""
    torch, nn = m.torch, m.nn

    class AverageMeter:
        def __init__(self, name: str, fmt: str = ":f") -> None:
            self.name, self.fmt, self.val, self.sum, self.count = name, fmt, 0, 0, 0

        def update(self, val: Any, n: int = 1) -> None:
            self.val, self.sum, self.count = val, self.sum + val * n, self.count + n

        def __str__(self) -> str:
            return ("{name} {val" + self.fmt + "}").format(**self.__dict__)

    def accuracy(output: Any, target: Any, topk: Any = (1,)) -> list[Any]:
        with torch.no_grad():
            _, pred = output.topk(max(topk), 1, True, True)
            correct = pred.t().eq(target.view(1, -1).expand_as(pred.t()))
            sums = [correct[:k].reshape(-1).float().sum(0, keepdim=True) for k in topk]
            return [total.mul_(100.0 / target.size(0)) for total in sums]

    def start() -> Any:
        net = nn.Sequential(
            nn.Conv2d(3, 6, 5, stride=2, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
            nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), nn.Linear(24, 8),
        )  # fmt: skip
        model = nn.DataParallel(fill(m, net))
        optimizer = torch.optim.SGD(model.parameters(), 0.2, momentum=0.9, weight_decay=1e-4)
        return model, optimizer, m.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)

    model, optimizer, scheduler = start()
    criterion = nn.CrossEntropyLoss().to("cpu")
    dataset = m.data.TensorDataset(
        torch.from_numpy(numbers(16, 3, 14, 14)), torch.from_numpy(labels(16, 8))
    )
    loader = m.data.DataLoader(m.data.Subset(dataset, range(12)), batch_size=4, pin_memory=False)
    results: list[Any] = []
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "checkpoint.pth.tar")
        for epoch in range(4):
            if epoch == 2:  # as after an interruption
                model, optimizer, scheduler = start()
                checkpoint = torch.load(file, map_location="cpu", weights_only=True)
                model.load_state_dict(checkpoint["state_dict"])
                optimizer.load_state_dict(checkpoint["optimizer"])
                scheduler.load_state_dict(checkpoint["scheduler"])
                assert checkpoint["epoch"] == 2 and checkpoint["arch"] == "alexnet"
            losses, top1 = AverageMeter("Loss", ":.2e"), AverageMeter("Acc@1", ":6.2f")
            for images, target in loader:
                output = model(images.to("cpu", non_blocking=True))
                loss = criterion(output, target)
                acc1, acc5 = accuracy(output, target, topk=(1, 5))
                losses.update(loss.item(), images.size(0))
                top1.update(acc1[0], images.size(0))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            assert str(top1).startswith("Acc@1 ") and f"{top1.val:6.2f}" in str(top1)
            scheduler.step()
            state = {
                "epoch": epoch + 1, "arch": "alexnet", "state_dict": model.state_dict(),
                "best_acc1": top1.sum / top1.count, "optimizer": optimizer.state_dict(),
                "scheduler": scheduler.state_dict(),
            }  # fmt: skip
            torch.save(state, file)
            results += [losses.sum / losses.count, state["best_acc1"], acc5[0]]
    return [results, scheduler.get_last_lr(), sorted(model.state_dict())[0] == "module.0.bias"]


@script
def regression_with_random_restarts(m: Any) -> Any:
    """A polynomial fitted by losses with weights, a warm restart, and an average at the end."""
    torch, F = m.torch, m.F
    swa_utils = importlib.import_module(f"{torch.__name__}.optim.swa_utils")
    layer = fill(m, m.nn.Linear(4, 1))
    x = torch.from_numpy(numbers(32)).unsqueeze(1)
    features = torch.cat([x**power for power in range(1, 5)], 1)
    target = features.mm(torch.tensor([[1.0], [-2.0], [0.5], [0.1]])) + 3.0
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.02, momentum=0.5)
    restarts = m.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=3, T_mult=2)
    both = m.lr_scheduler.ChainedScheduler(
        [m.lr_scheduler.PolynomialLR(optimizer, 8), m.lr_scheduler.ConstantLR(optimizer, 0.5, 2)]
    )
    averaged, swa = swa_utils.AveragedModel(layer), swa_utils.SWALR(optimizer, 0.01, 2)
    results: list[Any] = []
    for step in range(15):
        optimizer.zero_grad()
        output = layer(features)
        loss = F.mse_loss(output, target, weight=1 / (1 + x.abs()))
        loss = loss + 0.1 * F.l1_loss(output, target, size_average=False)
        loss.backward()
        optimizer.step()
        (restarts if step < 6 else both if step < 10 else swa).step()
        if step >= 10:
            averaged.update_parameters(layer)
        results += [loss, optimizer.param_groups[0]["lr"]]
    return [results, averaged(features)[:4]]


# --- PyTorch's tutorials --------------------------------------------------------------------------


@script
def training_a_classifier(m: Any) -> Any:
    torch, nn, F, optim = m.torch, m.nn, m.F, m.optim

    class Net(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 4, 3)
            self.pool = nn.MaxPool2d(2, 2)
            self.conv2 = nn.Conv2d(4, 6, 3)
            self.fc1 = nn.Linear(6 * 2 * 2, 10)

        def forward(self, x: Any) -> Any:
            x = self.pool(F.relu(self.conv1(x)))
            x = self.pool(F.relu(self.conv2(x)))
            return self.fc1(torch.flatten(x, 1))

    net, criterion = fill(m, Net()), nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    data = [
        (torch.from_numpy(numbers(4, 3, 14, 14, seed=s)), torch.from_numpy(labels(4, 10, seed=s)))
        for s in range(5)
    ]
    results: list[Any] = []
    for _ in range(2):
        running_loss = 0.0
        for inputs, targets in data:
            optimizer.zero_grad()
            loss = criterion(net(inputs), targets)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        results.append(running_loss / len(data))
    with tempfile.TemporaryDirectory() as folder:
        torch.save(net.state_dict(), folder + "/net.pth")
        net = Net()
        net.load_state_dict(torch.load(folder + "/net.pth", weights_only=True))
    counts = {name: [0, 0] for name in range(10)}
    with torch.no_grad():
        for images, targets in data:
            _, predictions = torch.max(net(images), 1)
            for label, prediction in zip(targets, predictions, strict=True):
                counts[label.item()][0] += 1
                counts[label.item()][1] += int(label == prediction)
    return [*results, *counts.values()]


def _sine(torch: Any) -> tuple[Any, Any]:
    x = torch.linspace(-np.pi, np.pi, 100)
    return x, torch.sin(x)


@script
def learning_with_examples(m: Any) -> Any:
    """A polynomial fitted to the sine: by hand, by autograd, with a Function, nn and optim."""
    torch = m.torch
    x, y = _sine(torch)
    a, b, c, d = (torch.tensor(v) for v in (0.1, -0.2, 0.3, 0.4))
    results = []
    for _ in range(5):
        y_pred = a + b * x + c * x**2 + d * x**3
        results.append((y_pred - y).pow(2).sum().item())
        grad = 2.0 * (y_pred - y)
        a -= 1e-6 * grad.sum()
        b -= 1e-6 * (grad * x).sum()
        c -= 1e-6 * (grad * x**2).sum()
        d -= 1e-6 * (grad * x**3).sum()

    a, b, c, d = (torch.full((), v, requires_grad=True) for v in (0.1, -0.2, 0.3, 0.4))
    for _ in range(5):
        loss = (a + b * x + c * x**2 + d * x**3 - y).pow(2).sum()
        results.append(loss.item())
        loss.backward()
        with torch.no_grad():
            for w in (a, b, c, d):
                w -= 1e-6 * w.grad
                w.grad = None

    class Legendre(torch.autograd.Function):  # type: ignore[name-defined, misc]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return 0.5 * (5 * x**3 - 3 * x)

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            (x,) = ctx.saved_tensors
            return grad_output * 1.5 * (5 * x**2 - 1)

    a, b, c, d = (torch.full((), v, requires_grad=True) for v in (0.0, -1.0, 0.0, 0.3))
    for _ in range(5):
        loss = (a + b * Legendre.apply(c + d * x) - y).pow(2).sum()
        results.append(loss.item())
        loss.backward()
        with torch.no_grad():
            for w in (a, b, c, d):
                w -= 5e-6 * w.grad
                w.grad.zero_()

    powers = x.unsqueeze(-1).pow(torch.tensor([1, 2, 3]))
    model = fill(m, torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Flatten(0, 1)))
    loss_fn = torch.nn.MSELoss(reduction="sum")
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    for _ in range(5):
        loss = loss_fn(model(powers), y)
        results.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    linear_layer = model[0]
    return [results, a, b, c, d, linear_layer.bias.item(), linear_layer.weight[:, 0].item()]


@script
def dynamic_net(m: Any) -> Any:
    """Weights that are used a varying number of times, in a module of plain parameters."""
    torch = m.torch

    class Dynamic(torch.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.e = (torch.nn.Parameter(torch.tensor(v)) for v in (0.1, 0.2, 0.3))

        def forward(self, x: Any, more: int) -> Any:
            y = self.a + self.b * x
            for exponent in range(4, 4 + more):
                y = y + self.e * x**exponent
            return y

        def string(self) -> str:
            return f"{self.a.item():.3f} {self.b.item():.3f} {self.e.item():.3f}"

    x, y = _sine(torch)
    model, results = Dynamic(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-8, momentum=0.9)
    for step in range(6):
        loss = torch.nn.MSELoss(reduction="sum")(model(x, step % 3), y)
        results.append(loss.item() / 100)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [results, *map(float, model.string().split())]


@script
def transfer_learning(m: Any) -> Any:
    """A frozen network with a new head; the best state is kept in a file."""
    torch, nn, optim = m.torch, m.nn, m.optim
    m.cudnn.benchmark = True

    class AlexNet(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2)
            )
            self.avgpool = nn.AdaptiveAvgPool2d((2, 2))
            self.classifier = nn.Sequential(
                nn.Dropout(0.0), nn.Linear(16, 8), nn.ReLU(inplace=True), nn.Linear(8, 10)
            )

        def forward(self, x: Any) -> Any:
            return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))

    model = fill(m, AlexNet())
    for param in model.parameters():
        param.requires_grad = False
    num_ftrs = model.classifier[-1].in_features
    model.classifier[-1] = fill(m, nn.Linear(num_ftrs, 2), 1)
    optimizer = optim.SGD(model.classifier[-1].parameters(), lr=0.1, momentum=0.9)
    scheduler = m.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)
    x, y = torch.from_numpy(numbers(12, 3, 8, 8)), torch.from_numpy(labels(12, 2))
    best_acc, results = -1.0, []
    best_wts = copy.deepcopy(model.state_dict())
    for _ in range(4):
        for phase in ("train", "val"):
            model.train() if phase == "train" else model.eval()
            optimizer.zero_grad()
            with torch.set_grad_enabled(phase == "train"):
                outputs = model(x)
                _, preds = torch.max(outputs, 1)
                loss = nn.CrossEntropyLoss()(outputs, y)
                if phase == "train":
                    loss.backward()
                    optimizer.step()
            corrects = torch.sum(preds == y.data)
            acc = corrects.double() / len(x)
            if phase == "train":
                scheduler.step()
            elif acc > best_acc:
                best_acc, best_wts = acc, copy.deepcopy(model.state_dict())
            results += [loss.item() * x.size(0), acc]
    model.load_state_dict(best_wts)
    return [results, best_acc, model(x)[0], optimizer.param_groups[0]["lr"]]


@script
def saving_and_loading(m: Any) -> Any:
    torch, nn, optim = m.torch, m.nn, m.optim
    import io

    net = fill(m, nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2)))
    optimizer = optim.Adam(net.parameters(), lr=0.01)
    x, y = torch.from_numpy(numbers(6, 4)), torch.from_numpy(labels(6, 2))

    def step(net: Any, optimizer: Any) -> Any:
        loss = nn.functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    results = [step(net, optimizer) for _ in range(2)]
    buffer = io.BytesIO()
    torch.save(
        {"epoch": 5, "model_state_dict": net.state_dict(),
         "optimizer_state_dict": optimizer.state_dict(), "loss": results[-1]}, buffer
    )  # fmt: skip
    buffer.seek(0)
    checkpoint = torch.load(buffer, map_location=torch.device("cpu"), weights_only=True)
    again = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))
    again.load_state_dict(checkpoint["model_state_dict"])
    optimizer2 = optim.Adam(again.parameters(), lr=1.0)
    optimizer2.load_state_dict(checkpoint["optimizer_state_dict"])
    results += [step(again, optimizer2), step(net, optimizer)]
    other = fill(m, nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), 4)
    missing = other.load_state_dict(
        {k: v for k, v in net.state_dict().items() if not k.startswith("1.")}, strict=False
    )
    assert {*missing.missing_keys} >= {"1.weight", "1.bias"}
    assert missing.unexpected_keys == ["3.weight", "3.bias"]
    total = sum(v.numel() for v in net.state_dict().values())
    return [*results, checkpoint["epoch"], checkpoint["loss"], total, other(x)]


# --- Books and courses ----------------------------------------------------------------------------


@script
def alexnet_of_a_book(m: Any) -> Any:
    """A Sequential AlexNet, initialized by apply, and a training loop with accumulators."""
    torch, nn = m.torch, m.nn

    class Accumulator:
        def __init__(self, n: int) -> None:
            self.data = [0.0] * n

        def add(self, *args: Any) -> None:
            self.data = [a + float(b) for a, b in zip(self.data, args, strict=True)]

    def accuracy(y_hat: Any, y: Any) -> float:
        if len(y_hat.shape) > 1 and y_hat.shape[1] > 1:
            y_hat = y_hat.argmax(axis=1)
        cmp = y_hat.type(y.dtype) == y
        return float(cmp.type(y.dtype).sum())

    net = nn.Sequential(
        nn.Conv2d(1, 8, kernel_size=11, stride=4, padding=1), nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Conv2d(8, 12, kernel_size=5, padding=2), nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Conv2d(12, 8, kernel_size=3, padding=1), nn.ReLU(),
        nn.MaxPool2d(kernel_size=3, stride=2), nn.Flatten(),
        nn.Linear(8, 16), nn.ReLU(), nn.Dropout(p=0.0), nn.Linear(16, 10),
    )  # fmt: skip

    def init_weights(module: Any) -> None:
        if type(module) in (nn.Linear, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)

    net.apply(init_weights)
    fill(m, net)
    shapes, x = [], torch.randn(size=(1, 1, 67, 67))
    for layer in net:
        x = layer(x)
        shapes.append((layer.__class__.__name__, tuple(x.shape)))
    assert shapes[-1] == ("Linear", (1, 10)) and shapes[9] == ("Flatten", (1, 8))
    dataset = m.data.TensorDataset(
        torch.tensor(numbers(12, 1, 67, 67)), torch.tensor(labels(12, 10))
    )
    optimizer, loss = torch.optim.SGD(net.parameters(), lr=0.1), nn.CrossEntropyLoss()
    results = []
    for _ in range(2):
        metric = Accumulator(3)
        net.train()
        for features, y in m.data.DataLoader(dataset, 4, shuffle=False):
            optimizer.zero_grad()
            y_hat = net(features)
            l = loss(y_hat, y)  # noqa: E741
            l.backward()
            optimizer.step()
            with torch.no_grad():
                metric.add(l * features.shape[0], accuracy(y_hat, y), features.shape[0])
        results += [metric.data[0] / metric.data[2], metric.data[1]]
    return results


@script
def modules_of_a_book(m: Any) -> Any:
    """Lazy layers in blocks, a trainer as a class, an optimizer of one's own, clipped gradients."""
    torch, nn, F = m.torch, m.nn, m.F

    class SGD:
        def __init__(self, params: Any, lr: float) -> None:
            self.params, self.lr = list(params), lr

        def step(self) -> None:
            for param in self.params:
                param -= self.lr * param.grad

        def zero_grad(self) -> None:
            for param in self.params:
                if param.grad is not None:
                    param.grad.zero_()

    class Net(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            blocks = [
                nn.Sequential(nn.LazyConv2d(c, 3, padding=1), nn.LazyBatchNorm2d(), nn.ReLU())
                for c in (4, 6)
            ]
            self.net = nn.Sequential(*blocks, nn.AvgPool2d(4), nn.Flatten(), nn.LazyLinear(5))

        def forward(self, x: Any) -> Any:
            return self.net(x)

        def layer_summary(self, shape: Any) -> list[Any]:
            x, found = torch.from_numpy(numbers(*shape)), []
            for layer in self.net:
                x = layer(x)
                found.append((layer.__class__.__name__, list(x.shape)))
            return found

    model = Net()
    assert model.layer_summary((2, 1, 8, 8))[-1] == ("Linear", [2, 5])
    for module in model.modules():
        if type(module) in (nn.Linear, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
    fill(m, model)
    data = torch.from_numpy(numbers(20, 1, 8, 8)), torch.from_numpy(labels(20, 5))
    train = m.data.TensorDataset(*(part[slice(0, 16)] for part in data))
    optim, results = SGD(model.parameters(), 0.3), []
    for _ in range(3):
        model.train()
        for *inputs, y in m.data.DataLoader(train, 8, shuffle=False):
            y_hat = model(*inputs)
            loss = F.cross_entropy(y_hat.reshape((-1, y_hat.shape[-1])), y.reshape((-1,)))
            optim.zero_grad()
            with torch.no_grad():
                loss.backward()
                params = [p for p in model.parameters() if p.requires_grad]
                norm = torch.sqrt(sum(torch.sum(p.grad**2) for p in params))
                if norm > 1.0:
                    for param in params:
                        param.grad[:] *= 1.0 / norm
                optim.step()
            results += [loss, norm]
        model.eval()
        with torch.no_grad():
            y_hat, y = model(data[0][16:]), data[1][16:]
            compare = (y_hat.argmax(axis=1).type(y.dtype) == y).type(torch.float32)
            results += [F.cross_entropy(y_hat, y), torch.mean(compare)]
    return results


@script
def residual_net_for_cifar(m: Any) -> Any:
    torch, nn, F = m.torch, m.nn, m.F

    class BasicBlock(nn.Module):  # type: ignore[name-defined, misc]
        expansion = 1

        def __init__(self, in_planes: int, planes: int, stride: int = 1) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(in_planes, planes, 3, stride=stride, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(planes)
            self.conv2 = nn.Conv2d(planes, planes, 3, stride=1, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(planes)
            self.shortcut = nn.Sequential()
            if stride != 1 or in_planes != planes:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(in_planes, planes, 1, stride=stride, bias=False),
                    nn.BatchNorm2d(planes),
                )

        def forward(self, x: Any) -> Any:
            out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
            out += self.shortcut(x)
            return F.relu(out)

    class Net(nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(BasicBlock(3, 4), BasicBlock(4, 8, 2))
            self.linear = nn.Linear(8, 5)

        def forward(self, x: Any) -> Any:
            out = F.avg_pool2d(self.layers(x), 4)
            return self.linear(out.view(out.size(0), -1))

    net = torch.nn.DataParallel(fill(m, Net()))
    optimizer = m.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
    x, y = torch.from_numpy(numbers(6, 3, 8, 8)), torch.from_numpy(labels(6, 5))
    results: list[Any] = []
    for _ in range(4):
        net.train()
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(net(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
        results += [loss, optimizer.param_groups[0]["lr"]]
    names = [name.removeprefix("module.") for name in net.state_dict()]
    return [results, len(names), names.index("layers.1.shortcut.0.weight")]


@script
def course_on_vision(m: Any) -> Any:
    """Barebones nets of tensors, then the module API, as in a course's assignment."""
    torch, nn, F, optim = m.torch, m.nn, m.F, m.optim
    x, y = torch.from_numpy(numbers(8, 3, 6, 6)), torch.from_numpy(labels(8, 4))

    def flatten(x: Any) -> Any:
        return x.view(x.shape[0], -1)

    rng = np.random.default_rng(5)

    def weight(*shape: int) -> Any:
        w = torch.tensor(rng.standard_normal(shape).astype(np.float32)) * np.sqrt(2.0 / shape[0])
        w.requires_grad = True
        return w

    params = [weight(4, 3, 3, 3), torch.zeros(4, requires_grad=True), weight(4 * 36, 4)]
    results = []
    for _ in range(3):
        h = F.relu(F.conv2d(x, params[0], bias=params[1], padding=1))
        scores = flatten(h).mm(params[2])
        loss = F.cross_entropy(scores, y)
        loss.backward()
        with torch.no_grad():
            for w in params:
                w -= 1e-3 * w.grad
                w.grad.zero_()
        _, preds = scores.max(1)
        results += [loss.item(), (preds == y).sum(), float(preds.size(0))]

    class Flatten(nn.Module):  # type: ignore[name-defined, misc]
        def forward(self, x: Any) -> Any:
            return flatten(x)

    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), Flatten(), nn.Linear(144, 4))
    for layer in (model[0], model[3]):
        nn.init.kaiming_normal_(layer.weight)
        nn.init.constant_(layer.bias, 0)
    fill(m, model).to(device=torch.device("cpu"))
    optimizer = optim.SGD(model.parameters(), lr=1e-2, momentum=0.9, nesterov=True)
    for _ in range(3):
        model.train()
        loss = F.cross_entropy(model(x.to(dtype=torch.float32)), y.to(dtype=torch.long))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        results.append(loss.item())
    return results


# --- Looking into a network -----------------------------------------------------------------------


@script
def class_activation_map(m: Any) -> Any:
    """Grad-CAM over the children of a features module."""
    torch, nn, F = m.torch, m.nn, m.F
    features = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 4, 2))
    classifier = nn.Sequential(nn.Dropout(), nn.Linear(4 * 16, 5))
    fill(m, nn.ModuleList([features, classifier])).eval()
    gradients = []
    x = torch.from_numpy(numbers(1, 3, 12, 12)).requires_grad_()
    out = x
    for position, module in features._modules.items():
        out = module(out)
        if int(position) == 3:
            out.register_hook(gradients.append)
            conv_output = out
    output = classifier(out.view(out.size(0), -1))
    target_class = int(np.argmax(output.data.numpy()))
    one_hot = torch.FloatTensor(1, output.size()[-1]).zero_()
    one_hot[0][target_class] = 1
    features.zero_grad()
    output.backward(gradient=one_hot, retain_graph=True)
    weights = np.mean(gradients[0].data.numpy()[0], axis=(1, 2))
    cam = np.ones(conv_output.shape[2:], dtype=np.float32)
    for i, w in enumerate(weights):
        cam += w * conv_output.data.numpy()[0][i]
    cam = torch.tensor(cam)[None, None]
    cam = F.interpolate(cam, size=(12, 12), mode="bilinear", align_corners=False)
    cam = F.relu(cam - cam.min())
    saliency = x.grad.data.abs().max(dim=1)[0]
    return [cam / cam.max(), saliency[0, 0], target_class]


@script
def dreaming(m: Any) -> Any:
    """DeepDream: an image is changed to excite a layer, with hooks and normalized gradients."""
    torch, nn, F = m.torch, m.nn, m.F
    net = fill(m, nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3)))
    seen: list[Any] = []
    handle = net[2].register_forward_hook(lambda module, inputs, output: seen.append(output))
    image, results = torch.from_numpy(numbers(1, 3, 8, 8)), []
    for size in (8, 11):
        image = F.interpolate(image, size=size, mode="bicubic", align_corners=True).detach()
        image.requires_grad_(True)
        for _ in range(3):
            net(image)
            loss = seen[-1][0, 2].norm() - 0.1 * image.abs().mean()
            loss.backward()
            grad = image.grad / (image.grad.std() + 1e-8)
            image.data += 0.05 * torch.roll(grad, shifts=(1, -1), dims=(2, 3))
            image.data.clamp_(-2.0, 2.0)
            image.grad.zero_()
            results.append(loss)
    handle.remove()
    optimizer = m.optim.Adam([image], lr=0.1, weight_decay=1e-6)
    for _ in range(2):
        optimizer.zero_grad()
        loss = -torch.mean(net(image)[0, 1])
        loss.backward()
        optimizer.step()
    return [results, loss, image[0, 0, 0], len(seen)]


@script
def saliency_maps(m: Any) -> Any:
    """Gradients of a class score: plain, smoothed, guided by hooks, and integrated."""
    torch, nn = m.torch, m.nn
    features = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 2), nn.ReLU()
    )
    net = nn.Sequential(features, nn.Flatten(), nn.Linear(5 * 9, 4))
    fill(m, net).eval()
    image = np.uint8(128 + 60 * numbers(10, 10, 3).clip(-2, 2))
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    array = np.float32(image).transpose(2, 0, 1)
    for channel in range(3):
        array[channel] = (array[channel] / 255 - mean[channel]) / std[channel]
    x = torch.from_numpy(array).float().unsqueeze_(0)

    def gradient(x: Any) -> Any:
        x = x.clone().detach().requires_grad_(True)
        output = net(x)
        one_hot = torch.zeros_like(output)
        one_hot[0, output.argmax().item()] = 1
        net.zero_grad()
        output.backward(gradient=one_hot)
        return x.grad.data.numpy()[0]

    def gray(pixels: np.ndarray) -> np.ndarray:
        flattened = np.sum(np.abs(pixels), axis=0)
        low, high = np.min(flattened), np.percentile(flattened, 99)
        return np.expand_dims(np.clip((flattened - low) / (high - low), 0, 1), axis=0)

    plain = gradient(x)
    noise = [numbers(1, 3, 10, 10, seed=s) * 0.1 for s in range(4)]
    smooth = sum(gradient(x + torch.from_numpy(n)) for n in noise) / len(noise)
    integrated = sum(gradient(x * step / 5) / 5 for step in range(1, 6))
    outputs: list[Any] = []

    def forward_hook(module: Any, ten_in: Any, ten_out: Any) -> None:
        outputs.append(ten_out)

    def backward_hook(module: Any, grad_in: Any, grad_out: Any) -> Any:
        mask = outputs.pop().clone()
        mask[mask > 0] = 1
        return (mask * torch.clamp(grad_in[0], min=0.0),)

    handles = []
    for _, module in features._modules.items():
        if isinstance(module, nn.ReLU):
            handles.append(module.register_full_backward_hook(backward_hook))
            handles.append(module.register_forward_hook(forward_hook))
    guided = gradient(x)
    for handle in handles:
        handle.remove()
    assert np.array_equal(gradient(x), plain)
    positive = np.maximum(0, guided) / guided.max()
    return [gray(plain)[0, 0], gray(smooth)[0, 3], gray(integrated)[0, 5], positive[0, 2:4]]


# --- A reference of a library of models -----------------------------------------------------------


@script
def reference_training(m: Any) -> Any:
    """Warm-up, decay without norms, label smoothing, clipping, averaged weights, a scaler."""
    torch, nn, optim = m.torch, m.nn, m.optim
    swa_utils = importlib.import_module(f"{torch.__name__}.optim.swa_utils")

    class ExponentialMovingAverage(swa_utils.AveragedModel):  # type: ignore[name-defined, misc]
        def __init__(self, model: Any, decay: float, device: Any = "cpu") -> None:
            def ema_avg(avg: Any, param: Any, num_averaged: Any) -> Any:
                return decay * avg + (1 - decay) * param

            super().__init__(model, device, ema_avg, use_buffers=True)

    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6),
    )  # fmt: skip
    fill(m, model)
    norms = [p for layer in model if isinstance(layer, nn.BatchNorm2d) for p in layer.parameters()]
    ids = {id(p) for p in norms}
    groups = [
        {"params": [p for p in model.parameters() if id(p) not in ids], "weight_decay": 1e-2},
        {"params": norms, "weight_decay": 0.0},
    ]
    x, y = torch.from_numpy(numbers(8, 3, 6, 6)), torch.from_numpy(labels(8, 6))
    results: list[Any] = []
    for name in ("SGD", "RMSprop", "AdamW"):
        options = {"SGD": {"nesterov": True}, "RMSprop": {"eps": 0.0316, "alpha": 0.9}}.get(
            name, {}
        )
        if name != "AdamW":
            options["momentum"] = 0.9
        optimizer = getattr(optim, name)(groups, lr=0.05, **options)
        main = m.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4, eta_min=1e-3)
        warm = m.lr_scheduler.LinearLR(optimizer, start_factor=0.01, total_iters=2)
        if name == "RMSprop":
            main = m.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
            warm = m.lr_scheduler.ConstantLR(optimizer, factor=0.1, total_iters=2)
        scheduler = m.lr_scheduler.SequentialLR(optimizer, [warm, main], milestones=[2])
        ema = ExponentialMovingAverage(model, decay=0.8)
        scaler = torch.amp.GradScaler("cuda", enabled=False)
        criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
        for _ in range(4):
            model.train()
            with torch.amp.autocast("cuda", enabled=False):
                loss = criterion(model(x), y)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            norm = nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            scaler.step(optimizer)
            scaler.update()
            ema.update_parameters(model)
            scheduler.step()
            results += [loss, norm, scheduler.get_last_lr()[0]]
        ema.eval()
        with torch.no_grad():
            output = ema(x)
        _, pred = output.topk(5, 1, True, True)
        correct = pred.t().eq(y[None])
        results += [correct[:k].flatten().sum(dtype=torch.float32) for k in (1, 5)]
        results.append(output[0])
    return results


@script
def one_cycle(m: Any) -> Any:
    """One cycle of rate and momentum, then equal averages, and batch statistics again."""
    torch, nn = m.torch, m.nn
    swa_utils = importlib.import_module(f"{torch.__name__}.optim.swa_utils")
    model = fill(m, nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1)))
    x, y = torch.from_numpy(numbers(12, 5)), torch.from_numpy(numbers(12, 1, seed=1))
    loader = m.data.DataLoader(m.data.TensorDataset(x, y), batch_size=6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = m.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.2, epochs=4, steps_per_epoch=len(loader)
    )
    averaged = swa_utils.AveragedModel(model)
    results: list[Any] = []
    for epoch in range(4):
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(inputs), targets)
            loss.backward()
            optimizer.step()
            scheduler.step()
            group = optimizer.param_groups[0]
            results += [loss, group["lr"], group["momentum"]]
        if epoch > 1:
            averaged.update_parameters(model)
    swa_utils.update_bn(loader, averaged)
    averaged.eval()
    return [results, averaged(x)[:3], averaged.module[1].running_var]


# --- The tests ------------------------------------------------------------------------------------

#: Factor by which a few steps amplify rounding; the numbers are recorded with six digits.
TOLERANCE = {"rtol": 1e-3, "atol": 5e-5}


@pytest.mark.parametrize("name", SCRIPTS)
def test_same_numbers_as_pytorch_gave(name: str) -> None:
    expected = json.loads(NUMBERS.read_text())[name]
    np.testing.assert_allclose(flat(SCRIPTS[name](imports("minidl"))), expected, **TOLERANCE)


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.filterwarnings("ignore")  # PyTorch's own
def test_same_numbers_as_pytorch(name: str) -> None:
    pytest.importorskip("torch")
    expected = flat(SCRIPTS[name](imports("torch")))
    np.testing.assert_allclose(flat(SCRIPTS[name](imports("minidl"))), expected, **TOLERANCE)


def main() -> None:
    """Record PyTorch's numbers."""
    given = {name: flat(function(imports("torch"))) for name, function in SCRIPTS.items()}
    text = {name: [float(f"{x:.6g}") for x in values] for name, values in given.items()}
    NUMBERS.write_text(json.dumps(text, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
