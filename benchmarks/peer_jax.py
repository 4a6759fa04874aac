"""AlexNet and its training step in JAX, as a user of JAX would write them.

:class:`Layers` stands for a library's ``nn`` in ``networks.py``: each layer is a function of its
parameters, its input and a random key (None in evaluation). Pictures are channels-last, which XLA
prefers on a CPU. The whole step is one compiled function.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import networks
from harness import Work


def make(script: str, variant: str, count: int) -> Work:
    """Return the work of ``inference`` or of ``train_step``."""
    jax = _jax()
    parameters, logits = network(variant)
    pixels, classes = networks.arrays(variant, count)
    images, labels = jax.device_put(pixels), jax.device_put(classes)
    if script == "inference":
        forward = jax.jit(logits)
        return Work({"forward": lambda: forward(parameters, images).block_until_ready()})
    train, state = (
        _training(jax, logits),
        [parameters, jax.tree.map(jax.numpy.zeros_like, parameters)],
    )
    number = 0

    def step() -> None:
        nonlocal number
        number += 1
        state[0], state[1], loss = train(*state, images, labels, number)
        jax.block_until_ready((state, loss))

    sizes = (leaf.size for leaf in jax.tree.leaves(parameters))
    return Work({"step": step}, facts={"parameters": sum(sizes)})


def _jax() -> Any:
    """Import JAX with the benchmark's number of threads: one for each core it may use."""
    threads = os.environ["BENCHMARK_THREADS"]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])
    os.environ["NPROC"] = threads
    import jax

    return jax


def network(variant: str) -> tuple[Any, Callable[..., Any]]:
    """Return minidl's initial parameters, layer by layer, and the function of the logits."""
    import jax.numpy as jnp

    layers = networks.layers(Layers(), variant)
    values = [parameter.detach().numpy() for parameter in networks.own(variant).parameters()]
    parameters = []
    for layer in layers:
        shapes = [values.pop(0) for _ in range(2 * hasattr(layer, "weights"))]
        # Kernels as (height, width, input, output), matrices as (input, output).
        parameters.append(
            [jnp.asarray(v.T if v.ndim < 3 else v.transpose(2, 3, 1, 0)) for v in shapes]
        )

    def logits(parameters: Any, x: Any, key: Any = None) -> Any:
        for layer, own in zip(layers, parameters, strict=True):
            x = layer(own, x, key)
        return x

    return parameters, logits


def _training(jax: Any, logits: Callable[..., Any]) -> Any:
    def loss(parameters: Any, images: Any, labels: Any, key: Any) -> Any:
        logs = jax.nn.log_softmax(logits(parameters, images, key))
        return -jax.numpy.take_along_axis(logs, labels[:, None], 1).mean()

    def train(parameters: Any, velocities: Any, images: Any, labels: Any, number: Any) -> Any:
        key = jax.random.fold_in(jax.random.key(0), number)
        value, gradients = jax.value_and_grad(loss)(parameters, images, labels, key)
        velocities = jax.tree.map(
            lambda v, g, p: 0.9 * v + g + 5e-4 * p, velocities, gradients, parameters
        )
        return jax.tree.map(lambda p, v: p - 0.01 * v, parameters, velocities), velocities, value

    return jax.jit(train, donate_argnums=(0, 1))


class Layers:
    """PyTorch's constructors, making functions ``layer(parameters, x, key)``."""

    dropouts = 0

    def Conv2d(self, inputs: int, outputs: int, size: int, **options: int) -> Any:
        from jax import lax
        from jax import numpy as jnp

        stride, padding = options.get("stride", 1), options.get("padding", 0)
        groups = options.get("groups", 1)

        def conv(parameters: Any, x: Any, key: Any) -> Any:
            weight, bias = parameters
            # One by one, because XLA has no fast grouped convolution for a CPU.
            pairs = zip(jnp.split(x, groups, 3), jnp.split(weight, groups, 3), strict=True)
            parts = [
                lax.conv_general_dilated(
                    part, kernel, (stride, stride), [(padding, padding)] * 2,
                    dimension_numbers=("NHWC", "HWIO", "NHWC"),
                )
                for part, kernel in pairs
            ]  # fmt: skip
            return jnp.concatenate(parts, 3) + bias

        return _with_weights(conv)

    def Linear(self, inputs: int, outputs: int) -> Any:
        return _with_weights(lambda parameters, x, key: x @ parameters[0] + parameters[1])

    def ReLU(self, inplace: bool = False) -> Any:
        import jax

        return lambda parameters, x, key: jax.nn.relu(x)

    def Tanh(self) -> Any:
        import jax.numpy as jnp

        return lambda parameters, x, key: jnp.tanh(x)

    def LocalResponseNorm(self, size: int, alpha: float, beta: float, k: float) -> Any:
        import jax.numpy as jnp

        def norm(parameters: Any, x: Any, key: Any) -> Any:
            channels, border = x.shape[3], (size // 2, (size - 1) // 2)
            squares = jnp.pad(x * x, [(0, 0)] * 3 + [border])
            total = sum(squares[..., i : i + channels] for i in range(size))
            return x / (k + alpha / size * total) ** beta

        return norm

    def MaxPool2d(self, size: int, stride: int, ceil_mode: bool = False) -> Any:
        from jax import lax

        return lambda parameters, x, key: _pool(x, -float("inf"), lax.max, size, stride, ceil_mode)

    def AvgPool2d(self, size: int, stride: int, ceil_mode: bool = False) -> Any:
        from jax import lax
        from jax import numpy as jnp

        def pool(parameters: Any, x: Any, key: Any) -> Any:
            ones = jnp.ones((1, *x.shape[1:3], 1), x.dtype)
            total, count = (_pool(v, 0.0, lax.add, size, stride, ceil_mode) for v in (x, ones))
            return total / count

        return pool

    def AdaptiveAvgPool2d(self, size: tuple[int, int]) -> Any:
        def pool(parameters: Any, x: Any, key: Any) -> Any:
            assert x.shape[1:3] == size, "only the identity is needed"
            return x

        return pool

    def Flatten(self) -> Any:
        # PyTorch's order, so that the weights behind it are the same.
        return lambda parameters, x, key: x.transpose(0, 3, 1, 2).reshape(len(x), -1)

    def Dropout(self, p: float) -> Any:
        import jax

        self.dropouts += 1  # each draws its own numbers
        place = self.dropouts

        def dropout(parameters: Any, x: Any, key: Any) -> Any:
            if key is None:
                return x
            kept = jax.random.bernoulli(jax.random.fold_in(key, place), 1 - p, x.shape)
            return jax.numpy.where(kept, x / (1 - p), 0)

        return dropout


def _with_weights(layer: Any) -> Any:
    layer.weights = True
    return layer


def _pool(x: Any, start: float, combine: Any, size: int, stride: int, ceil_mode: bool) -> Any:
    from jax import lax

    # With ceil_mode the last window may reach over the border.
    over = [-(length - size) % stride if ceil_mode else 0 for length in x.shape[1:3]]
    borders = [(0, 0), *((0, length) for length in over), (0, 0)]
    return lax.reduce_window(x, start, combine, (1, size, size, 1), (1, stride, stride, 1), borders)
