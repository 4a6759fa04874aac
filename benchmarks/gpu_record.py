"""The GPU work of a step: every launch and product, with its layer, its sizes and its bytes.

:class:`Recorder` hooks into ``minidl.kernels.cuda``: ``Source.launch`` for a kernel's name and
arrays, ``RawModule`` for the launches themselves, and cuBLAS's products. With ``execute=False``
calls are recorded but not executed; then a step at batch 128 takes seconds under the simulator
instead of hours. This is valid because no decision of a step depends on a number computed by the
GPU (the host would have to wait for it). A test compares the record with the simulator's counts
for an executed step.

**Bytes.** A kernel reads each array of a ``const`` parameter once and writes each of the others
once; repeated reads are assumed to hit a cache. A product reads its factors and writes its result;
if it adds to the result, it reads that, too. No data is assumed to stay in a cache from one launch
to the next.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent

#: The fraction of an array that a kernel touches, if not all of it, by kernel and parameter, as a
#: function of the arguments by name. (Convolution makes the columns of some images at a time.)
PARTS: dict[tuple[str, str], Callable[[dict[str, Any]], float]] = {
    ("im2col", "x"): lambda a: a["windows"] / (a["images"] * a["out_h"] * a["out_w"]),
    ("col2im", "dx"): lambda a: a["count"] / a["images"],
}


#: Bytes of a number by CUDA's code of its type.
_SIZES = {2: 2, 0: 4, 1: 8}


def simulate() -> Any:
    """Install and return the simulator; call this before anything imports CuPy."""
    for path in (str(ROOT), str(ROOT / "tests")):
        if path not in sys.path:
            sys.path.insert(0, path)
    import cupy_on_cpu

    if not cupy_on_cpu.is_installed():
        cupy_on_cpu.install()
    return cupy_on_cpu


@dataclass(frozen=True)
class Product:
    """A call of gemmEx, in the order of rows: (m, k) times (k, n); or a batch of them."""

    m: int
    n: int
    k: int
    compute: str
    adds: bool
    count: int = 1

    @property
    def flop(self) -> int:
        """Number of operations, two for each multiply-add."""
        return 2 * self.m * self.n * self.k * self.count


@dataclass(frozen=True)
class Launch:
    """A kernel or product. `read` and `written` are bytes, None for CuPy's own kernels."""

    layer: str
    phase: str
    kernel: str
    read: int | None
    written: int | None
    product: Product | None = None

    @property
    def bytes(self) -> int:
        """Number of bytes moved; 0 if unknown."""
        return (self.read or 0) + (self.written or 0)


@dataclass
class Recorder:
    """Records inside :meth:`recording`.

    Parameters
    ----------
    execute : bool
        Whether recorded calls are also executed.
    count : callable, optional
        Returns the simulator's counts of launches by kernel, to find CuPy's own launches.
    on_switch : callable, optional
        Called with layer and phase whenever they change, for timing a real card.
    """

    execute: bool = True
    count: Callable[[], Counter[str]] | None = None
    on_switch: Callable[[str, str], None] | None = None
    launches: list[Launch] = field(default_factory=list)
    #: Module, shape of its input and of its output, by layer.
    layers: dict[str, tuple[Any, tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.layer, self.phase = "", ""
        self._pending: tuple[int, int] | None = None
        self._seen: Counter[str] = Counter()
        self._ours: set[str] = set()

    # --- The current layer ------------------------------------------------------------------------

    def switch(self, layer: str, phase: str) -> None:
        """Set the layer that works from now on."""
        if (layer, phase) == (self.layer, self.phase):
            return
        self._settle()
        self.layer, self.phase = layer, phase
        if self.on_switch is not None:
            self.on_switch(layer, phase)

    def _settle(self) -> None:
        """Record the kernels that CuPy itself has started since the last call."""
        if self.count is None:
            return
        now = self.count()
        for name, times in (now - self._seen).items():
            if name not in self._ours:
                own = Launch(self.layer, self.phase, f"CuPy's {name}", None, None)
                self.launches += [own] * times
        self._seen = now

    # --- The hooks --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def recording(self, model: Any) -> Iterator[Recorder]:
        """Record the work of `model` in this block."""
        from minidl.autograd import function as functions
        from minidl.kernels import cuda
        from minidl.kernels.cuda import ManySource

        xp = cuda.cupy()
        from cupy_backends.cuda.libs import cublas

        self.launches.clear()
        self._seen = self.count() if self.count is not None else Counter()
        raw_module, launch = xp.RawModule, cuda.Source.launch
        many, gemm, context = ManySource.launch, cublas.gemmEx, functions.Context
        batched = cublas.gemmStridedBatchedEx
        modules = [(source, source._modules) for source in cuda.sources]
        recorder = self

        def noted_launch(source: Any, name: str, dtype: Any, threads: int, *args: Any, **more: Any):
            if recorder._pending is None:
                recorder._pending = traffic(source.code, name, args)
                recorder._ours.add(name)
            launch(source, name, dtype, threads, *args, **more)
            recorder._pending = None

        def noted_many(source: Any, name: str, dtype: Any, rows: Any, *args: Any) -> None:
            read = written = 0
            for arrays, _ in rows:
                for kind, array in zip(source.arrays, arrays, strict=True):
                    if array is not None:
                        read += array.nbytes
                        written += array.nbytes if kind != "grad" else 0
            recorder._pending = read, written
            recorder._ours.add(name)
            many(source, name, dtype, rows, *args)
            recorder._pending = None

        def started(name: str) -> None:
            # If one call starts several kernels, the first gets the bytes.
            read, written = recorder._pending or (0, 0)
            recorder._pending = 0, 0
            place = recorder.layer, recorder.phase
            recorder.launches.append(Launch(*place, name, read, written))

        class NotedModule:
            def __init__(self, **how: Any) -> None:
                self.module = raw_module(**how) if recorder.execute else None

            def get_function(self, name: str) -> Any:
                function = None if self.module is None else self.module.get_function(name)

                def run(*args: Any, **more: Any) -> None:
                    started(name)
                    if function is not None:
                        function(*args, **more)

                return run

        def noted_gemm(handle: int, *args: Any) -> None:
            recorder.launches.append(recorder._product(*args))
            if recorder.execute:
                gemm(handle, *args)

        def noted_batched(handle: int, *args: Any) -> None:
            plain = [args[number] for number in range(len(args)) if number not in (9, 13, 18, 19)]
            recorder.launches.append(recorder._product(*plain, count=args[19]))
            if recorder.execute:
                batched(handle, *args)

        class NotedContext(context):  # type: ignore[misc, valid-type]
            def __init__(self, *args: Any) -> None:
                super().__init__(*args)
                self.layer = recorder.layer

        for source, _ in modules:
            source._modules = {}
        xp.RawModule, cuda.Source.launch = NotedModule, noted_launch  # type: ignore[method-assign]
        ManySource.launch = noted_many  # type: ignore[method-assign]
        cublas.gemmEx, functions.Context = noted_gemm, NotedContext  # type: ignore[misc]
        cublas.gemmStridedBatchedEx = noted_batched
        with contextlib.ExitStack() as stack:
            self._follow(stack, model, functions.Function)
            try:
                yield self
                self.switch("", "")
            finally:
                xp.RawModule, cuda.Source.launch = raw_module, launch  # type: ignore[method-assign]
                ManySource.launch = many  # type: ignore[method-assign]
                cublas.gemmEx, functions.Context = gemm, context  # type: ignore[misc]
                cublas.gemmStridedBatchedEx = batched
                for source, own in modules:
                    source._modules = own

    def _product(self, *args: Any, count: int = 1) -> Launch:
        n, m, k, size, out = args[2], args[3], args[4], _SIZES[args[7]], _SIZES[args[14]]
        beta = np.ctypeslib.as_array(_pointer(args[12], max(size, 4)), (1,))[0]
        compute = {68: "FP32", 77: "TF32", 70: "FP64"}.get(int(args[16]), str(args[16]))
        compute = "FP16" if size == 2 else compute  # the factors; cuBLAS adds up in float32
        product = Product(m, n, k, compute, bool(beta), count)
        result = out * m * n * count
        read = size * (m * k + k * n) * count + result * product.adds
        return Launch(self.layer, self.phase, "gemmEx", read, result, product)

    def _follow(self, stack: contextlib.ExitStack, model: Any, function: Any) -> None:
        """Switch at the start of every layer's forward and of every operation's backward.

        Without hooks, because these would switch fusion off. A fused pass counts for the layer
        that is not ReLU.
        """
        from minidl import nn
        from minidl.nn import fusion
        from minidl.nn import module as modules

        names = {
            id(module): path.rpartition(".")[2] or type(module).__name__
            for path, module in model.named_modules()
            if not list(module.children())
        }
        call = modules.Module.__call__

        def noted(module: Any, work: Callable[[], Any], input: Any) -> Any:
            name = names.get(id(module))
            if name is None:
                return work()
            shape = tuple(input.shape)
            self.switch(name, "forward")
            output = work()
            self.layers[name] = module, shape, tuple(output.shape)
            return output

        def noted_call(module: Any, *args: Any, **more: Any) -> Any:
            return noted(module, lambda: call(module, *args, **more), args[0] if args else None)

        def noted_both(both: Callable[..., Any]) -> Callable[..., Any]:
            def run(first: Any, second: Any, input: Any) -> Any:
                main = second if isinstance(first, nn.ReLU) else first
                return noted(main, lambda: both(first, second, input), input)

            return run

        pairs, methods = dict(fusion.PAIRS), dict(fusion._METHODS)
        modules.Module.__call__ = noted_call  # type: ignore[method-assign]
        fusion.PAIRS.update({kinds: noted_both(both) for kinds, both in pairs.items()})
        # A replaced __call__ would see that layers are fused, so it switches fusion off.
        fusion._METHODS.update({kind: (noted_call, own) for kind, (_, own) in methods.items()})
        stack.callback(setattr, modules.Module, "__call__", call)
        stack.callback(fusion.PAIRS.update, pairs)
        stack.callback(fusion._METHODS.update, methods)
        waiting = [function]
        while waiting:
            kind = waiting.pop()
            waiting += kind.__subclasses__()
            own = kind.__dict__.get("backward")
            if not isinstance(own, staticmethod):
                continue

            def backward(ctx: Any, *grads: Any, own: Any = own.__func__) -> Any:
                self.switch(getattr(ctx, "layer", ""), "backward")
                return own(ctx, *grads)

            kind.backward = staticmethod(backward)
            stack.callback(setattr, kind, "backward", own)


def _pointer(address: int, size: int) -> Any:
    import ctypes

    return ctypes.cast(address, ctypes.POINTER(ctypes.c_double if size == 8 else ctypes.c_float))


def parameters(code: str, kernel: str) -> list[tuple[str, bool]]:
    """Return a kernel's parameters: their names, and whether they are const.

    Examples
    --------
    >>> parameters('extern "C" __global__ void f(const T* x, T* y, int n) {}', "f")
    [('x', True), ('y', False), ('n', False)]
    """
    found = re.search(
        rf"__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?{kernel}\s*\(([^)]*)\)", code
    )
    if found is None:
        return []  # written by a macro
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", found[1], flags=re.DOTALL)
    words = [re.findall(r"\w+", parameter) for parameter in text.split(",")]
    return [(word[-1], "const" in word) for word in words if word]


def traffic(code: str, kernel: str, args: tuple[Any, ...]) -> tuple[int, int]:
    """Return the numbers of bytes that a kernel reads and writes."""
    named = parameters(code, kernel)
    # A macro may define the last parameters, or the whole kernel.
    named += [(str(number), True) for number in range(len(named), len(args))]
    values = dict(zip((name for name, _ in named), args, strict=False))
    read = written = 0
    for name, is_const in named:
        value = values.get(name)
        if np.isscalar(value) or not hasattr(value, "nbytes"):
            continue
        part = PARTS.get((kernel, name))
        size = round(value.nbytes * (1.0 if part is None else part(values)))
        read, written = (read + size, written) if is_const else (read, written + size)
    return read, written
