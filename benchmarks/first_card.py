"""The first run on a card: checks, tests, trains and measures, in ten minutes at most.

``python benchmarks/first_card.py``, after ``pip install '.[cuda13]'`` (or ``'.[cuda12]'``) and
``pip install pytest hypothesis``. It writes ``first_card.md`` and ``first_card.json`` here; please
send both in. Each part is a process of its own with a time limit: if one fails, crashes or hangs,
the others' results stay. After a test that ends its process, or leaves the card unusable for it,
the next ones run in a new process. Where PyTorch is installed and finds the card, its step is
measured, too.

``FIRST_CARD=simulated`` runs everything on a simulated GPU in small sizes, to test this program:
its times mean nothing. ``FIRST_CARD_FAIL`` is JSON that makes parts fail: ``{"profile": "hang"}``,
or "raise", or "crash".
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SIMULATED = os.environ.get("FIRST_CARD") == "simulated"

#: Seconds for everything.
LIMIT = 600

#: Files of tests in the order in which a failure of one explains those of the next.
TESTS = {
    "kernels": ["tests/kernels", "tests/ops"],
    "layers": ["tests/nn"],
    "steps": ["tests/optim", "tests/kernels/test_gpu_step.py", "tests/test_amp.py"],
    "streams": ["tests/data/test_upload.py"],
}
SMALL_TESTS = {
    "kernels": ["tests/kernels/test_cuda.py"],
    "layers": ["tests/nn/test_activation.py::test_relu_blocks_infinite_and_nan_gradients"],
    "steps": ["tests/test_amp.py::test_one_wait_a_step"],
    "streams": ["tests/data/test_upload.py"],
}

Result = dict[str, Any]


def ready() -> Any:
    """Return minidl, on the simulator if that is wanted."""
    sys.path[:0] = [str(ROOT), str(HERE)]
    os.environ.setdefault("BENCHMARK_THREADS", str(os.cpu_count()))  # which harness.py wants
    if SIMULATED:
        from gpu_record import simulate

        simulate()
    import minidl

    return minidl


# --- The parts ------------------------------------------------------------------------------------


def driver() -> Result:
    """Versions, the card, and a first kernel, elementwise operation and product."""
    minidl = ready()
    from minidl.training.machine import report

    xp = minidl.cuda.cupy()
    runtime = xp.cuda.runtime
    properties = runtime.getDeviceProperties(0)
    x = minidl.ones(4, 4, device="gpu")
    assert (minidl.relu(x) + 1).sum().item() == 32 and (x @ x).sum().item() == 64
    major, minor = properties.get("major", 0), properties.get("minor", 0)
    return {
        "GPU": minidl.cuda.get_device_name(0),
        "compute capability": f"{major}.{minor}",
        "multiprocessors": properties.get("multiProcessorCount"),
        "memory GiB": round(minidl.cuda.memory_stats()["total"] / 2**30, 1),
        "driver, runtime": [runtime.driverGetVersion(), runtime.runtimeGetVersion()],
        "CuPy": xp.__version__,
        "report": report(),
    }


def tests(group: str, answer: Path) -> Result:
    """The tests of a group: their counts, and the names of those that fail."""
    import pytest

    device = "gpu-simulated" if SIMULATED else "gpu"
    files = (SMALL_TESTS if SIMULATED else TESTS)[group]
    options = [f"--device={device}", "-q", "-p", "no:cacheprovider", "--tb=short"]
    witness = Witness(answer)
    status = pytest.main([*options, *files], plugins=[witness])
    if not witness.result["begun"]:
        raise SystemExit(f"pytest ran no test and ended with status {int(status)}")
    return witness.result


class Witness:
    """A plugin of pytest that writes down each result at once, and goes on after a crash."""

    #: After these errors of CUDA, everything else in the same process fails, too.
    FATAL = ("ILLEGAL_ADDRESS", "IllegalAddress", "LAUNCH_FAILED", "LaunchFailure", "ASSERT",
             "LAUNCH_TIMEOUT", "LaunchTimeout", "MISALIGNED", "Misaligned")  # fmt: skip

    def __init__(self, answer: Path) -> None:
        self.answer, self.is_lost = answer, False
        self.result: Result = {"passed": 0, "failed": 0, "skipped": 0, "begun": 0, "failing": []}
        if answer.exists():
            self.result = json.loads(answer.read_text(encoding="utf-8"))

    def pytest_collection_finish(self, session: Any) -> None:
        self.result["found"] = len(session.items)
        del session.items[: self.result["begun"]]  # in a process that came to a bad end

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.result["begun"] += 1
        self.note(running=nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.passed and report.when != "call":
            return
        self.result[report.outcome] += 1
        if report.failed:
            text = report.longreprtext
            message = getattr(getattr(report.longrepr, "reprcrash", None), "message", text)
            self.result["failing"].append(f"{report.nodeid}: {message[:300]}")
            self.is_lost |= any(f"CUDA_ERROR_{word}" in text or f"cudaError{word}" in text
                                for word in self.FATAL)  # fmt: skip

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.note(**({"lost": nodeid} if self.is_lost else {}))
        if self.is_lost:
            os._exit(1)

    def note(self, **more: Any) -> None:
        write(self.answer, json.dumps(self.result | more))


def write(path: Path, text: str) -> None:
    """Write a file at once: nobody ever sees a part of it."""
    path.with_suffix(".new").write_text(text + "\n", encoding="utf-8")
    path.with_suffix(".new").replace(path)


def output_of(command: list[str], seconds: float) -> str:
    """Return what a process prints, until its time is over; its children end with it."""
    # A file, because a pipe stays open for as long as any child of the process lives.
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        end = "\n(its time was over)"
        try:
            status = process.wait(seconds)
            end = f"\n(ended by signal {-status})" if status < 0 else ""
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):  # a driver may hold it forever
                process.wait(5)
        output.seek(0)
        return output.read().decode(errors="replace") + end


def training() -> Result:
    """An epoch of the first command's recipe."""
    ready()
    with tempfile.TemporaryDirectory() as folder:
        output = str(Path(folder) / "run")
        device = "cpu" if SIMULATED else "gpu"
        options = ["--device", device, "--epochs", "1", "--output", output]
        if SIMULATED:
            options += ["--synthetic", "--limit-batches", "1", "--batch-size", "2", "--variant",
                        "cifar", "--workers", "0"]  # fmt: skip
        sys.argv = [str(ROOT / "examples" / "alexnet_imagenet.py"), *options]
        start = time.perf_counter()
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as end:
            status = end.code
        seconds = time.perf_counter() - start
        report = json.loads(Path(output, "report.json").read_text(encoding="utf-8"))
        return {"status": status, "seconds": seconds, "report": report}


def against_cpu() -> Result:
    """The losses of ten steps on both devices, and how far the parameters are apart."""
    minidl = ready()
    from minidl import nn

    found: dict[str, Any] = {}
    for device in ("cpu", "gpu"):
        minidl.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 32, 5, padding=2), nn.ReLU(), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2),
            nn.Conv2d(32, 32, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 25, 64),
            nn.ReLU(), nn.Dropout(), nn.Linear(64, 10),
        ).to(device)  # fmt: skip
        images = minidl.randn(16, 3, 16, 16).to(device)
        labels = (minidl.arange(16) % 10).to(device)
        optimizer = minidl.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        losses = []
        for _ in range(2 if SIMULATED else 10):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        found[device] = losses, [p.detach().cpu() for p in model.parameters()]
    pairs = zip(found["cpu"][1], found["gpu"][1], strict=True)
    apart = max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)
    return {"losses": {d: found[d][0] for d in found}, "largest deviation": apart}


def step(kind: str, count: int, contender: str = "minidl") -> Result:
    """A step of the paper's network, by layer, beside the prediction."""
    ready()
    import gpu_step

    variant, steps = ("80sec", 1) if SIMULATED else ("paper", 10)
    work = gpu_step.make(
        contender, variant, min(count, 2) if SIMULATED else count, kind == "TF32", steps, SIMULATED
    )
    work.time(1 if SIMULATED else 5)
    seconds = sorted(work.time(1)["step"] for _ in range(steps))[steps // 2]
    return {"variant": variant, "ms": 1000 * seconds, **work.facts}


def profile() -> Result:
    """How long the host needs to ask for a step, and the GPU to do it: are there gaps?"""
    minidl = ready()
    import gpu_model

    result: Result = {}
    for name, amp in (("float32", False), ("mixed", True)):
        variant, count, steps = ("80sec", 2, 1) if SIMULATED else ("paper", 128, 10)
        prepared = gpu_model.prepared(variant, count)
        scaler = gpu_model.make_scaler(True) if amp else None
        recorder = gpu_model.Recorder()
        asked, done = [], []
        for _ in range(steps + 1):
            minidl.cuda.synchronize()
            start = time.perf_counter()
            gpu_model.one_step(recorder, *prepared, scaler)
            asked.append(time.perf_counter() - start)
            minidl.cuda.synchronize()
            done.append(time.perf_counter() - start)
        with recorder.recording(prepared[0]):
            gpu_model.one_step(recorder, *prepared, scaler)
        result[name] = {
            "host ms": 1000 * min(asked[1:]),
            "step ms": 1000 * min(done[1:]),
            "launches": len(recorder.launches),
            "gaps": "the host is slower" if min(asked[1:]) > 0.9 * min(done[1:]) else "none",
        }
    return result


def parts(answer: Path = Path()) -> dict[str, tuple[Callable[[], Result], float]]:
    """Return all parts in their order: functions, and their shares of the time."""
    found: dict[str, tuple[Callable[[], Result], float]] = {"driver": (driver, 40)}
    for group in TESTS:
        share = {"kernels": 80, "layers": 120, "steps": 50, "streams": 30}[group]
        found[f"tests: {group}"] = (lambda g=group: tests(g, answer), share)  # type: ignore[misc]
    found |= {"against the CPU": (against_cpu, 30), "training": (training, 60)}
    for kind in ("FP32", "TF32"):
        for count in (128, 32):
            found[f"step {kind} {count}"] = (lambda k=kind, c=count: step(k, c), 25)  # type: ignore[misc]
            if importlib.util.find_spec("torch") and not SIMULATED:
                name = f"step {kind} {count}, PyTorch"
                found[name] = (lambda k=kind, c=count: step(k, c, "torch"), 15)  # type: ignore[misc]
    found["profile"] = profile, 30
    return found


# --- Running them ---------------------------------------------------------------------------------


def run_part(name: str, seconds: float) -> Result:
    """Return a part's result, from a process of its own; or what went wrong."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        while True:
            left = seconds - (time.monotonic() - start)
            text = output_of([sys.executable, __file__, name, str(answer)], max(left, 0.1))
            spent = round(time.monotonic() - start, 1)
            if not answer.exists():
                return {"FAILED": text[-2000:], "took s": spent}
            result: Result = json.loads(answer.read_text(encoding="utf-8"))
            running, lost = result.pop("running", None), result.pop("lost", None)
            if spent >= seconds:
                over = {"its time was over in": running} if running else {}
                return {**result, **over, "took s": spent}
            if not (running or lost):
                early = result.get("begun", 0) < result.get("found", 0)
                return {**result, **({"end": text[-600:]} if early else {}), "took s": spent}
            # A test has ended its process: the next ones get another.
            if running:
                result["failed"] += 1
                result["failing"].append(f"{running}: {text[-300:]}")
            write(answer, json.dumps(result))


def main(limit: float = LIMIT) -> Path:
    """Run all parts and write the files after each; return the path of the JSON."""
    end = time.monotonic() + limit * (10 if SIMULATED else 1)
    results: dict[str, Result] = {}
    target = Path("first_card.json").absolute()
    for name, (_, share) in parts().items():
        left = end - time.monotonic()
        print(f"{name} ...", flush=True)
        share = share * 10 if SIMULATED else share
        results[name] = run_part(name, min(share, left)) if left > 3 else {"FAILED": "no time left"}
        state = "FAILED" if "FAILED" in results[name] else "done"
        print(f"  {state} in {results[name].get('took s', 0)} s", flush=True)
        write(target, json.dumps(results, indent=1, default=str))
        write(target.with_suffix(".md"), markdown(results))
    print(f"written: {target} and {target.with_suffix('.md').name}; please send both in")
    return target


def markdown(results: dict[str, Result]) -> str:
    """Return the results as a page."""
    lines = ["# First card", ""]
    if SIMULATED:
        lines += ["SIMULATED: without a card. The times mean nothing.", ""]
    for name, result in results.items():
        lines += [f"## {name}", ""]
        for key, value in result.items():
            if key == "layers":
                lines += ["", "| layer | pass | launches | ms | predicted ms |", "|" + "---|" * 5]
                lines += [
                    f"| {layer} | {phase} | {n} | {ms:.3f} | {expected:.3f} |"
                    for layer, phase, n, ms, expected in value
                ]
                lines.append("")
            elif isinstance(value, str) and "\n" in value:
                lines += [f"- {key}:", "", "```", value, "```", ""]
            else:
                shown = f"{value:.4g}" if isinstance(value, float) else value
                lines.append(f"- {key}: {shown}")
        lines.append("")
    return "\n".join(lines)


def answer(name: str, path: str) -> None:
    """Do one part in this process and write its result."""
    how = json.loads(os.environ.get("FIRST_CARD_FAIL", "{}")).get(name)
    if how == "raise":
        raise RuntimeError(f"{name} was told to fail")
    if how == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    while how == "hang":
        subprocess.run([sys.executable, "-c", "import time; time.sleep(1000)"])
    result = parts(Path(path))[name][0]()
    write(Path(path), json.dumps(result, default=str))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        answer(*sys.argv[1:])
    else:
        main()
