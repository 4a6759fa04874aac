"""The library's overhead beyond the arithmetic: a training step of a 784-128-10 network, batch 32.

Three contenders take the same step of SGD with momentum: minidl, PyTorch, and NumPy with
hand-written gradients, which shows the cost without a library.
"""

from __future__ import annotations

from typing import Any

from harness import Entry, Report, Settings, Team, Work, available, library, table
from publish import main

BATCH, INPUTS, HIDDEN, CLASSES = 32, 784, 128, 10
RATE, MOMENTUM = 0.01, 0.9


def make(contender: str) -> Work:
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, INPUTS), dtype=np.float32)
    y = rng.integers(0, CLASSES, BATCH)
    step = _by_hand(rng, x, y) if contender == "numpy" else _with_library(contender, x, y)
    return Work({"step": step})


def _by_hand(rng: Any, x: Any, y: Any) -> Any:
    import numpy as np

    def uniform(fan_in: int, *shape: int) -> Any:
        return rng.uniform(-1, 1, shape).astype(np.float32) / np.float32(fan_in**0.5)

    w1, b1 = uniform(INPUTS, HIDDEN, INPUTS), uniform(INPUTS, HIDDEN)
    w2, b2 = uniform(HIDDEN, CLASSES, HIDDEN), uniform(HIDDEN, CLASSES)
    parameters = [w1, b1, w2, b2]
    velocities = [np.zeros_like(parameter) for parameter in parameters]
    rows = np.arange(BATCH)

    def step() -> Any:
        hidden = np.maximum(x @ w1.T + b1, 0)
        logits = hidden @ w2.T + b2
        logits -= logits.max(axis=1, keepdims=True)
        exponentials = np.exp(logits)
        sums = exponentials.sum(axis=1, keepdims=True)
        loss = (np.log(sums[:, 0]) - logits[rows, y]).mean()

        grad = exponentials / sums
        grad[rows, y] -= 1
        grad /= BATCH
        hidden_grad = (grad @ w2) * (hidden > 0)
        grads = [hidden_grad.T @ x, hidden_grad.sum(axis=0), grad.T @ hidden, grad.sum(axis=0)]

        for parameter, velocity, gradient in zip(parameters, velocities, grads, strict=True):
            velocity *= MOMENTUM
            velocity += gradient
            parameter -= RATE * velocity
        return loss

    return step


def _with_library(contender: str, x: Any, y: Any) -> Any:
    lib = library(contender)
    nn = lib.nn
    model = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))
    optimizer = lib.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    criterion = nn.CrossEntropyLoss()
    images, labels = lib.from_numpy(x), lib.from_numpy(y)

    def step() -> Any:
        loss = criterion(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def measure(settings: Settings) -> Report:
    """Let the three contenders take many steps in a round."""
    torch, notes = available(settings, ("torch",))
    report = Report("Overhead (MLP 784-128-10, batch 32)", notes)
    entries = {name: Entry("overhead", name) for name in ("minidl", "numpy", *torch)}
    with Team(settings) as team:
        # A round takes most of a second, because load on a shared machine varies slowly.
        repeat = settings.pick(3000, 2000, 2)
        results = team.compete(entries, repeat, warm_up=repeat)
        report.notes += team.notes
    own, bare = results["minidl"].seconds(), results["numpy"].seconds()
    rows = [
        [name, f"{1e6 * r.seconds():.0f}", f"{r.spread():.0%}", f"{r.seconds() / bare:.2f}×"]
        for name, r in results.items()
    ]
    report.tables.append(table(("contender", "step µs", "spread", "of bare NumPy's time"), rows))
    report.figures.append(("MLP step: times bare NumPy's", f"{own / bare:.2f}×", "≤ 1.3×"))
    if "torch" in results:
        ratio = results["torch"].seconds() / own
        report.figures.append(("MLP step: against PyTorch", f"{ratio:.2f}×", "≥ 1.0×"))
    report.data = {name: result.as_json() for name, result in results.items()}
    return report


if __name__ == "__main__":
    main(measure, __doc__)
