"""Options and fixtures of the whole suite: the device, hypothesis' profile, warnings as errors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# So that every test, however deep, can `import reference` and `import helpers`.
sys.path.insert(0, str(Path(__file__).parent))

# Always the same examples, so that a red run can be repeated, and no verdict that depends on speed.
settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
# Other examples every time, to search further: pytest --hypothesis-profile=explore
settings.register_profile("explore", parent=settings.get_profile("ci"), derandomize=False)
settings.load_profile("ci")


SIMULATED = "gpu-simulated"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        default="cpu",
        help="device that tests make their arrays on: cpu, gpu, gpu:1, or gpu-simulated, which "
        "runs CuPy without a GPU (tests/cupy_on_cpu)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "error")
    if config.getoption("--device") == SIMULATED:
        import cupy_on_cpu

        cupy_on_cpu.install()  # before anything imports cupy


@pytest.fixture
def device(request: pytest.FixtureRequest) -> str:
    """The device under test, by the name that ``Tensor.to`` takes."""
    name: str = request.config.getoption("--device")
    return "gpu" if name == SIMULATED else name


@pytest.fixture
def gpu(device: str) -> str:
    """The device under test, for tests of what only a GPU has."""
    if device == "cpu":
        pytest.skip("is about the GPU: pytest --device=gpu-simulated")
    return device


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random state, in whatever order the tests run."""
    import minidl

    minidl.manual_seed(0)


@pytest.fixture
def threads() -> Iterator[None]:
    """For tests that change the number of threads: set it back afterwards."""
    import minidl

    before = minidl.get_num_threads()
    yield
    minidl.set_num_threads(before)
