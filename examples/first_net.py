"""Train a small network to tell the directions of noisy gratings apart: seconds on a CPU."""

import numpy as np

import minidl
from minidl import nn, optim
from minidl.data import DataLoader, TensorDataset

rng = np.random.default_rng(0)
minidl.manual_seed(0)


def draw(count: int) -> TensorDataset:
    """Return images (count, 1, 16, 16) and their labels, multiples of 22.5 degrees."""
    labels = rng.integers(8, size=count)
    angles = (labels * np.pi / 8)[:, None, None]
    rows, columns = np.mgrid[:16, :16]
    phases = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    waves = np.sin(rows * np.cos(angles) + columns * np.sin(angles) + phases)
    images = (waves + rng.normal(size=waves.shape)).astype(np.float32)
    return TensorDataset(minidl.tensor(images[:, None]), minidl.tensor(labels))


train, test = draw(2000), draw(500)
model = nn.Sequential(
    nn.Conv2d(1, 8, kernel_size=5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(288, 8)
)
optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

for epoch in range(1, 6):
    for images, labels in DataLoader(train, batch_size=32, shuffle=True):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
    with minidl.no_grad():
        images, labels = test.tensors
        accuracy = (model(images).argmax(1) == labels).float().mean()
    print(f"epoch {epoch}: accuracy {accuracy.item():.1%}")
