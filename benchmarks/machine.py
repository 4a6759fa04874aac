"""The machine: its processor, its rates of sgemm and of copying, and the versions in use.

Rates are NumPy's: a product of square float32 matrices on all threads of its BLAS, and a copy of
float32 arrays far larger than the caches, an equal part on each thread. A copy counts the bytes
read and the bytes written.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from typing import Any

from harness import Entry, Settings, Team, Work, available, parse, settings_of, table


def make(contender: str, what: str, size: int) -> Work:
    if contender == "torch":
        return _torch(size)
    return _sgemm(size) if what == "sgemm" else _copy(size)


def sgemm(settings: Settings, contender: str = "numpy") -> Entry:
    """Return the contender that multiplies matrices."""
    return Entry("machine", contender, {"what": "sgemm", "size": settings.pick(3072, 3072, 256)})


def copy(settings: Settings) -> Entry:
    """Return the contender that copies memory."""
    size = settings.pick(1 << 28, 1 << 28, 1 << 20)
    return Entry("machine", "numpy", {"what": "copy", "size": size})


def _sgemm(side: int) -> Work:
    import numpy as np

    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((side, side), dtype=np.float32) for _ in range(2))
    out = np.empty_like(a)
    facts = {"flop": 2 * side**3, **_versions()}
    return Work({"sgemm": lambda: np.matmul(a, b, out=out)}, facts=facts)


def _copy(size: int) -> Work:
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    threads = int(os.environ["BENCHMARK_THREADS"])
    source = np.ones(size // 4, np.float32)
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    pool = ThreadPoolExecutor(threads)

    def copy_all() -> None:
        list(pool.map(lambda pair: np.copyto(*pair), parts))

    return Work({"copy": copy_all}, facts={"bytes": 2 * size})


def _torch(side: int) -> Work:
    from harness import library

    torch = library("torch")
    a, b = torch.randn(side, side), torch.randn(side, side)
    out = torch.empty(side, side)
    facts = {
        "flop": 2 * side**3,
        "torch": torch.__version__,
        "torch instructions": torch.backends.cpu.get_cpu_capability(),
        "torch threads": torch.get_num_threads(),
        "torch BLAS": _torch_blas(torch),
    }
    return Work({"sgemm": lambda: torch.mm(a, b, out=out)}, facts=facts)


def _torch_blas(torch: Any) -> str:
    found = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    dnn = re.search(r"oneDNN v([\d.]+)|MKL-DNN v([\d.]+)", torch.__config__.show())
    parts = [found.group(1) if found else "unknown"]
    return " and ".join([*parts, *([f"oneDNN {dnn.group(1) or dnn.group(2)}"] if dnn else [])])


def _versions() -> dict[str, Any]:
    import numpy as np
    from threadpoolctl import threadpool_info

    import minidl

    blas = [
        f"{pool['internal_api']} {pool['version']}, kernels for {pool.get('architecture')}, "
        f"{pool['num_threads']} threads"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]
    return {"minidl": minidl.__version__, "NumPy": np.__version__, "NumPy's BLAS": "; ".join(blas)}


def rates(results: dict[str, Any]) -> tuple[float, float]:
    """Return operations and bytes per second from a contest's "sgemm" and "copy"."""
    product, copied = results["sgemm"], results["copy"]
    return product.facts["flop"] / product.seconds(), copied.facts["bytes"] / copied.seconds()


def stamp(settings: Settings) -> dict[str, Any]:
    """Measure the machine and collect the facts needed to judge figures."""
    entries = {"sgemm": sgemm(settings), "copy": copy(settings)}
    torch, notes = available(settings, ("torch",))
    if torch:
        entries["torch sgemm"] = sgemm(settings, "torch")
    with Team(settings) as team:
        results = team.compete(entries, repeat=settings.pick(3, 2, 1))
        notes += team.notes
    others, missing = available(settings, ("onnxruntime", "jax"))
    notes += missing
    flops, bandwidth = rates(results)
    facts = {k: v for r in results.values() for k, v in r.facts.items() if k not in _COUNTS}
    rate = {"sgemm (NumPy)": f"{flops / 1e9:.0f} GFLOP/s"}
    if "torch sgemm" in results:
        seconds = results["torch sgemm"].seconds()
        rate["sgemm (PyTorch)"] = (
            f"{results['torch sgemm'].facts['flop'] / seconds / 1e9:.0f} GFLOP/s"
        )
    return {
        "processor": processor(),
        "cores": cores(),
        "threads": settings.threads,
        "memory": memory(),
        **rate,
        "copy": f"{bandwidth / 1e9:.1f} GB/s (read and written)",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        **facts,
        **{name: importlib.metadata.version(name) for name in others},
        "environment": environment(settings),
        "rounds": settings.round_count,
        "notes": " ".join(notes) or "none",
    }


_COUNTS = ("flop", "bytes")


def processor() -> str:
    """Return the processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            text = file.read()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(re.findall(r"^([\w ]+?)\s*: (.*)$", text.split("\n\n")[0], re.MULTILINE))
    name = fields.get("model name", platform.machine())
    flags = fields.get("flags", "").split()
    wide = [flag for flag in ("avx2", "avx512f") if flag in flags][-1:]
    known = f"family {fields['cpu family']}, model {fields['model']}" if "model" in fields else ""
    bfloat16 = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags][-1:]
    return ", ".join(filter(None, [name, known, *wide, *bfloat16]))


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> str:
    """Return the size of the machine's memory."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return "unknown"
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"


def environment(settings: Settings) -> str:
    """Return the contenders' environment variables for BLAS and OpenMP."""
    kept = [
        f"{name}={value}"
        for name, value in sorted(os.environ.items())
        if re.match(r"(OPENBLAS|OMP|GOMP|KMP|MKL|ONEDNN|DNNL|ATEN)_", name)
        and name not in settings.env_unset
        and not name.endswith("_NUM_THREADS")
    ]
    kept += [f"{name} unset" for name in settings.env_unset]
    return " ".join([*kept, f"*_NUM_THREADS={settings.threads}"])


def as_text(stamp: dict[str, Any]) -> str:
    """Return the stamp as a Markdown table."""
    rows = [(str(key), str(value).replace("|", "/")) for key, value in stamp.items()]
    return table(("machine", ""), rows, text=2)


def file_name(stamp: dict[str, Any]) -> str:
    """Return a name for files, such as "amd-epyc-2-threads"."""
    short = re.sub(r"\(.*?\)| CPU| Processor| @.*", "", stamp["processor"].split(",")[0])
    return re.sub(r"[^a-z0-9]+", "-", f"{short} {stamp['threads']} threads".lower()).strip("-")


if __name__ == "__main__":
    arguments = parse(__doc__)
    print(as_text(stamp(settings_of(arguments))))
