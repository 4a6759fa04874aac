"""Options and fixtures of the whole suite: the device, hypothesis's profile, warnings as errors."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings

if "PYTEST_XDIST_WORKER" in os.environ:
    # Parallel test processes get one BLAS thread each. BLAS reads these variables at import.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")

# Tests start Python hundreds of times. Where PYTHONDONTWRITEBYTECODE is set, as in many containers,
# each of these processes would compile minidl anew, and every run of pytest all of the tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Lets tests in every folder `import reference` and `import helpers`.
sys.path.insert(0, str(Path(__file__).parent))

# The same examples every time make a failure repeatable; no deadline makes results independent of
# the machine's speed.
settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
# Different examples every time: pytest --hypothesis-profile=explore
settings.register_profile("explore", parent=settings.get_profile("ci"), derandomize=False)
settings.load_profile("ci")

TESTS = Path(__file__).parent
SIMULATED = "gpu-simulated"
SIMULATOR = TESTS / "cupy_on_cpu"
SIMULATOR_TESTS = SIMULATOR / "tests"

#: Files with an expensive fixture: ``pytest -n`` runs all tests of such a file in one process.
TOGETHER = (
    "test_cuda_sources.py", "test_alexnet_imagenet.py", "test_alexnet_ablations.py",
    "test_alexnet_figures.py", "test_finetune.py", "models/test_alexnet.py",
)  # fmt: skip

#: ``--short`` runs the tests in these folders, of layers with kernels of their own, and of the main
#: program. The others run kernels that CuPy generates, and the simulator must compile thousands of
#: them; the other programs run the same kernels.
SHORT = ("kernels", "optim", "cupy_on_cpu")
CUDA = TESTS.parent / "minidl" / "kernels" / "cuda"
#: Standard tests (tests/operation.py) that always run plain code.
PLAIN = ("test_gradients_of_gradients", "test_float16")

#: Hypothesis's number of examples is divided by this on the simulated GPU, where they are slow.
FEWER = 12


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        default="cpu",
        help="device of the tests' arrays: cpu, gpu, gpu:1, or gpu-simulated, which runs CuPy "
        "without a GPU (tests/cupy_on_cpu). Except for cpu, only tests with the fixture `device` "
        "run.",
    )
    parser.addoption(
        "--short",
        action="store_true",
        help="on a simulated GPU: only tests of our own kernels, and of the main program",
    )


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So a shell starts what runs in the background, and programs under test inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("filterwarnings", "error")
    name = config.getoption("--device")
    if "PYTEST_XDIST_WORKER" in os.environ:
        import minidl

        minidl.set_num_threads(2)  # enough for lanes to run in parallel
    if name == SIMULATED:
        import cupy_on_cpu

        try:
            cupy_on_cpu.install()  # before anything imports cupy
        except cupy_on_cpu.SimulatorError as error:
            raise pytest.UsageError(f"--device={SIMULATED}: {error}") from error
    elif name != "cpu":
        import minidl

        try:
            minidl.device(name)
        except minidl.errors.DeviceError as error:
            raise pytest.UsageError(f"--device={name}: {error}") from error


def is_short(config: pytest.Config) -> bool:
    return config.getoption("--device") == SIMULATED and bool(config.getoption("--short"))


def is_of_our_kernels(file: Path) -> bool:
    """Return whether ``--short`` runs tests of a file."""
    folder, page = file.relative_to(TESTS).parts[0], file.name.removeprefix("test_")
    ours = page in ("activation.py", "fusion.py", "sorting.py", "alexnet_imagenet.py")
    return ours or folder in SHORT or (folder == "nn" and (CUDA / page).exists())


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignore the simulator's files, its tests unless it is installed, and files without tests.

    Collecting all files takes half a minute.
    """
    if collection_path.is_relative_to(SIMULATOR_TESTS):
        return None if config.getoption("--device") == SIMULATED else True
    if collection_path.parent == SIMULATOR:
        return True
    if config.getoption("--device") != "cpu" and collection_path.suffix == ".py":
        if not collection_path.is_relative_to(TESTS):  # doctests take no device
            return True
        if is_short(config) and not is_of_our_kernels(collection_path):
            return True
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On devices other than the CPU, select the tests that take a device; use fewer examples."""
    name = config.getoption("--device")
    if name == "cpu":
        return

    def takes_device(item: pytest.Item) -> bool:
        return "device" in getattr(item, "fixturenames", ()) or SIMULATOR_TESTS in item.path.parents

    short = is_short(config)

    def is_too_slow_to_simulate(item: pytest.Item) -> bool:
        """Return whether it is a standard test of plain code (tests/operation.py), not in float32.

        CuPy generates dozens of kernels per dtype for plain code, and the simulator must compile
        all of them.
        """
        arguments = getattr(getattr(item, "callspec", None), "params", {})
        is_plain = name == SIMULATED and arguments.get("way") == "plain"
        return is_plain and (short or str(arguments.get("dtype")) != "float32")

    def is_omitted(item: pytest.Item) -> bool:
        if not takes_device(item) or is_too_slow_to_simulate(item):
            return True
        return short and getattr(item, "originalname", "") in PLAIN

    omitted = [item for item in items if is_omitted(item)]
    config.hook.pytest_deselected(items=omitted)
    out = set(omitted)
    items[:] = [item for item in items if item not in out]

    if name == SIMULATED and not config.getoption("--hypothesis-profile"):
        # Tests with their own number of examples ignore the profile's. (A parametrized test is one
        # function and several items.)
        for test in {item.function for item in items if hasattr(item, "function")}:
            if hasattr(test, "hypothesis"):
                own: Any = getattr(test, "_hypothesis_internal_use_settings", settings.default)
                count = max(5, own.max_examples // FEWER)
                test._hypothesis_internal_use_settings = settings(own, max_examples=count)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Remove the folders that a docstring's example makes: only a test has ``tmp_path``."""
    if not isinstance(item, pytest.DoctestItem):
        return (yield)
    with tempfile.TemporaryDirectory() as folder, patch.object(tempfile, "tempdir", folder):
        return (yield)


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Send tests to processes one by one, except for the files in ``TOGETHER``."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file.endswith(TOGETHER) else nodeid

        def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
            """Forget what is finished: xdist goes over all that a process was given each time."""
            super().mark_test_complete(node, item_index, duration)
            work = self.assigned_work[node]
            scope = self._split_scope(self.registered_collections[node][item_index])
            if all(work[scope].values()):
                del work[scope]

    return Scheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def saved_memory_is_known() -> Iterator[None]:
    """Make it an error to save another array that shows the memory of a result or an argument.

    A later change in place would go unnoticed, and the backward would read the new numbers.
    """
    import numpy as np

    from minidl.autograd.function import Context

    guard = Context.guard

    def checked(self: Any, args: Any, places: dict[int, int], results: Any) -> None:
        arrays = [getattr(tensor, "array", None) for tensor in (*args, *results)]
        for saved in self._saved if self.function.__module__.startswith("minidl.") else ():
            if isinstance(saved, np.ndarray) and id(saved) not in places:
                for array in arrays:
                    assert not isinstance(array, np.ndarray) or not np.may_share_memory(
                        saved, array
                    ), f"{self.function.__name__} saves a view of an argument or a result"
        guard(self, args, places, results)

    Context.guard = checked  # type: ignore[method-assign]
    yield
    Context.guard = guard  # type: ignore[method-assign]


@pytest.fixture
def device(request: pytest.FixtureRequest) -> str:
    """The device under test, by the name that ``Tensor.to`` takes."""
    name: str = request.config.getoption("--device")
    return "gpu" if name == SIMULATED else name


@pytest.fixture
def gpu(device: str) -> str:
    """The device under test, for tests of features that only a GPU has."""
    if device == "cpu":
        pytest.skip("needs a GPU: pytest --device=gpu-simulated")
    return device


@pytest.fixture
def simulator(gpu: str) -> ModuleType:
    """``cupy_on_cpu``, for tests that count launches, copies and bytes."""
    import cupy_on_cpu

    if not cupy_on_cpu.is_installed():
        pytest.skip("needs the simulated GPU's counts: pytest --device=gpu-simulated")
    return cupy_on_cpu


@pytest.fixture(autouse=True)
def seeded(request: pytest.FixtureRequest) -> Iterator[None]:
    """Start every test from the same random state, in whatever order the tests run.

    Each test also waits for its work on the GPU, so its errors are not reported by a later test.
    """
    import minidl

    minidl.manual_seed(0)
    yield
    if request.config.getoption("--device") != "cpu":
        minidl.cuda.synchronize()


@pytest.fixture
def threads() -> Iterator[None]:
    """Restore the number of threads after a test that changes it."""
    import minidl

    before = minidl.get_num_threads()
    yield
    minidl.set_num_threads(before)
