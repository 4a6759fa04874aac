"""The site in a real browser without a network: python -m sphinx docs build/docs comes first.

Needs Playwright (in the ``docs`` extra) and Chromium, which comes from the system's packages. With
``AXE=axe.min.js`` (from ``npm pack axe-core``), axe looks for barriers in all pages of the site.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import ROOT

import minidl
from minidl.course.exercises import p02_tape
from minidl.nn import functional as F

SITE = ROOT / "build" / "docs"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
PAGES = sorted((ROOT / "docs" / "course").glob("[0-9][0-9]_*.py"))
for_each_page = pytest.mark.parametrize("name", [path.stem for path in PAGES])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="pip install '.[docs]'")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine: apt install chromium")
    if not (SITE / "course" / "index.html").exists():
        pytest.skip("the site is not built: python -m sphinx docs build/docs")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    contexts = []

    def open_page(path: str, **options: Any) -> Any:
        contexts.append(browser.new_context(offline=True, **options))
        page = contexts[-1].new_page()
        page.wanted, page.errors = [], []
        page.on("request", lambda request: page.wanted.append(request.url))
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        file, _, query = path.partition("?")
        page.goto((SITE / file).as_uri() + (f"?{query}" if query else ""))
        return page

    yield open_page
    for context in contexts:
        context.close()


@for_each_page
def test_pages_open_offline(open_page: Callable[..., Any], name: str) -> None:
    page = open_page(f"course/site/{name}.html")
    outside = [url for url in page.wanted if not url.startswith(("file:", "data:"))]
    assert not outside and not page.errors
    for image in page.locator("article img").all():
        assert len(image.get_attribute("alt") or "") >= 40
        assert image.evaluate("image => image.naturalWidth") > 0
    assert not page.locator("article p", has_text="| mistake |").count()  # tables are tables
    assert page.locator("article math").count() == 0 or page.locator("math mi, math mn").count()
    assert (SITE / "course" / "site" / f"{name}.html").stat().st_size < 500_000


@pytest.mark.skipif("AXE" not in os.environ, reason="AXE does not name axe.min.js")
def test_axe_finds_nothing_serious(open_page: Callable[..., Any]) -> None:
    axe = Path(os.environ["AXE"]).read_text(encoding="utf-8")
    page = open_page("index.html")
    for file in sorted(path for path in SITE.rglob("*.html") if "_static" not in path.parts):
        page.goto(file.as_uri())
        page.evaluate(axe + "; 0")
        for scheme in "light", "dark":
            page.emulate_media(color_scheme=scheme)
            found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
            serious = [each["id"] for each in found if each["impact"] in ("serious", "critical")]
            assert not serious, f"{file.relative_to(SITE)}, {scheme}: {serious}"


def test_search_finds_a_word(open_page: Callable[..., Any]) -> None:
    page = open_page("search.html?q=overlapping")
    page.wait_for_selector("ul.search li a", timeout=20_000)
    assert "pool" in page.locator("ul.search").inner_text().lower()


def test_the_site_is_small() -> None:
    if not SITE.exists():
        pytest.skip("the site is not built: python -m sphinx docs build/docs")
    files = [path for path in SITE.rglob("*") if path.is_file() and ".doctrees" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 10_000_000
    assert max(path.stat().st_size for path in files if path.suffix == ".html") < 500_000


def test_without_javascript_the_static_figure_shows(open_page: Callable[..., Any]) -> None:
    page = open_page("course/site/08_pooling.html", java_script_enabled=False)
    assert page.locator(".explorable svg[role=img]").first.is_visible()


def test_pool_routes_gives_minidl_s_numbers(open_page: Callable[..., Any]) -> None:
    page = open_page("course/site/08_pooling.html")
    rng = np.random.default_rng(0)
    place = page.locator("#explorable-pool_routes")
    for _ in range(20):
        kernel, stride = int(rng.integers(2, 5)), int(rng.integers(1, 4))
        place.locator("[name=kernel]").fill(str(kernel))
        place.locator("[name=stride]").fill(str(stride))
        i, j = rng.integers(7, size=2)
        place.locator(f'[data-at="{i},{j}"]').focus()
        page.keyboard.press("Enter")  # explorables work by keyboard
        state = json.loads(place.get_attribute("data-state"))
        assert (state["kernel"], state["stride"]) == (kernel, stride)
        x = minidl.tensor(np.array(state["x"])[None, None], requires_grad=True)
        y = F.max_pool2d(x, kernel, stride)
        y.backward(minidl.ones_like(y))
        assert x.grad is not None
        np.testing.assert_allclose(state["y"], y.detach().numpy().ravel(), atol=1e-9)
        assert state["dx"] == x.grad.numpy()[0, 0].tolist()
    assert not page.errors


def test_im2col_copies_gives_minidl_s_numbers(open_page: Callable[..., Any]) -> None:
    page = open_page("course/site/06_im2col.html")
    rng = np.random.default_rng(0)
    place = page.locator("#explorable-im2col_copies")
    image = minidl.arange(1.0, 26.0).reshape(1, 1, 5, 5)
    for _ in range(20):
        kernel, stride, padding = rng.integers((2, 1, 0), (5, 4, 2)).tolist()
        how = {"kernel": kernel, "stride": stride, "padding": padding}
        for name, value in how.items():
            place.locator(f"[name={name}]").fill(str(value))
        pixel = int(rng.integers(1, 26))
        place.locator(f'[data-at="{pixel}"]').focus()
        page.keyboard.press("Enter")
        state = json.loads(place.get_attribute("data-state"))
        assert state["pixel"] == pixel and {name: state[name] for name in how} == how
        columns = F.unfold(image, kernel, padding=padding, stride=stride)
        ones = minidl.ones_like(columns)
        back = F.fold(ones, 5, kernel, padding=padding, stride=stride)
        assert state["columns"] == columns.numpy()[0].tolist()
        assert state["counts"] == back.numpy()[0, 0].tolist()
        assert state["places"] == np.argwhere(columns.numpy()[0] == pixel).tolist()


def test_epsilon_curve_gives_minidl_s_numbers(open_page: Callable[..., Any]) -> None:
    page = open_page("course/site/01_gradcheck.html")
    rng = np.random.default_rng(1)
    place = page.locator("#explorable-epsilon_curve")
    functions = {"cube": lambda x: x * x * x, "relu": F.relu}
    for _ in range(20):
        power, x = int(rng.integers(0, 16)), round(float(rng.integers(-40, 41)) / 20, 2)
        place.locator("[name=power]").fill(str(power))
        place.locator("[name=x]").fill(str(x))
        place.locator(f'[data-at="{rng.choice(["curve", "sides"])}"]').focus()
        page.keyboard.press("Enter")
        state = json.loads(place.get_attribute("data-state"))
        assert (state["power"], state["step"]) == (power, float(f"1e-{power}"))
        function, step, sides = functions[state["curve"]], state["step"], state["sides"]
        for kind, dtype in (("double", minidl.float64), ("single", minidl.float32)):
            here = minidl.tensor(state["x"], dtype=dtype)
            low = here - step if sides == 2 else here
            slope = (function(here + step) - function(low)) / (sides * step)
            assert abs(slope.item() - state[kind]) < 1e-9
        here = minidl.tensor(state["x"], dtype=minidl.float64, requires_grad=True)
        function(here).backward()
        assert here.grad is not None and abs(here.grad.item() - state["slope"]) < 1e-9
    assert not page.errors


def test_init_collapse_gives_minidl_s_numbers(open_page: Callable[..., Any]) -> None:
    page = open_page("course/site/11_initialization.html")
    rng = np.random.default_rng(0)
    place = page.locator("#explorable-init_collapse")
    for number in range(20):
        depth, exponent = int(rng.integers(1, 9)), round(-2.5 + 0.05 * int(rng.integers(61)), 2)
        place.locator("[name=depth]").fill(str(depth))
        place.locator("[name=exponent]").fill(str(exponent))
        if number % 4 == 0:
            place.locator('[data-at="He"]').focus()
            page.keyboard.press("Enter")
        state = json.loads(place.get_attribute("data-state"))
        n = len(state["x"][0])
        assert state["depth"] == depth == len(state["sizes"])
        std = np.sqrt(2 / n) if number % 4 == 0 else 10**exponent
        np.testing.assert_allclose(state["std"], std, rtol=1e-9)
        x = minidl.tensor(np.array(state["x"]))
        for weight, size in zip(state["weights"], state["sizes"], strict=False):
            x = F.relu(F.linear(x, minidl.tensor(np.array(weight) * std)))
            np.testing.assert_allclose(size, (x * x).mean().sqrt().item(), rtol=1e-9)


def test_tape_stepper_gives_minidl_s_numbers(open_page: Callable[..., Any]) -> None:
    page = open_page("course/site/02_tape.html")
    rng = np.random.default_rng(2)
    place = page.locator("#explorable-tape_stepper")
    wrong = {mistake.name: mistake.function for mistake in p02_tape.BACKWARD.mistakes}
    walks = {
        "each once, when first reached": wrong["each value once, on the first visit"],
        "recursion": wrong["recursion without order"],
    }
    for _ in range(20):
        place.locator("[name=a]").fill(str(rng.integers(-6, 7) / 2))
        place.locator("[name=step]").fill(str(rng.integers(0, 4)))
        place.locator(f'[data-at="{rng.choice(["0", "1", "2", "order"])}"]').focus()
        page.keyboard.press("Enter")
        place.locator("[name=step]").fill("4")
        state = json.loads(place.get_attribute("data-state"))
        values = {"a": minidl.tensor(state["a"], dtype=minidl.float64, requires_grad=True)}
        for name, pair, sign in zip("bcd", ("aa", "ab", "bc"), state["signs"], strict=True):
            one, two = (values[used] for used in pair)
            values[name] = one + two if sign == "+" else one * two
            values[name].retain_grad()
        assert state["values"] == {name: value.item() for name, value in values.items()}
        values["d"].backward()
        right = {
            name: value.grad.item() for name, value in values.items() if value.grad is not None
        }
        walk = walks.get(state["order"])
        sums = right if walk is None else walk(state["graph"], "d")
        assert state["sums"] == pytest.approx(sums, abs=1e-9)
    assert not page.errors


def test_logits_gives_minidl_s_numbers(open_page: Callable[..., Any]) -> None:
    page = open_page("course/site/05_cross_entropy.html")
    rng = np.random.default_rng(0)
    place = page.locator("#explorable-logits")
    for turn in range(20):
        z, target = rng.integers(-60, 61, 5) / 10, int(rng.integers(5))
        for number, value in enumerate(z.tolist()):
            place.locator(f"[name=z{number}]").fill(str(value))
        place.locator("[name=target]").fill(str(target))
        if turn % 2:  # from the numbers of the state, not of the sliders
            place.locator("[data-at=step]").focus()
            page.keyboard.press("Enter")
        state = json.loads(place.get_attribute("data-state"))
        now = np.array([state[f"z{number}"] for number in range(5)])
        assert state["target"] == target
        logits = minidl.tensor(now[None], requires_grad=True)
        loss = F.cross_entropy(logits, minidl.tensor([target]))
        loss.backward()
        assert logits.grad is not None
        np.testing.assert_allclose(state["p"], F.softmax(logits, 1).detach().numpy()[0], atol=1e-9)
        np.testing.assert_allclose(state["gradient"], logits.grad.numpy()[0], atol=1e-9)
        assert abs(state["loss"] - loss.item()) < 1e-9
        if turn % 2:
            before = minidl.softmax(minidl.tensor(z), 0).numpy()
            np.testing.assert_allclose(now, z - before + np.eye(5)[target], atol=1e-9)
    assert not page.errors


def test_lrn_window_gives_minidl_s_numbers(open_page: Callable[..., Any]) -> None:
    page = open_page("course/site/09_response_norm.html")
    rng = np.random.default_rng(0)
    place = page.locator("#explorable-lrn_window")
    for _ in range(20):
        chosen = {
            "size": int(rng.integers(1, 8)),
            "power": float(rng.integers(-8, 3)) / 2,
            "k": float(rng.choice([1, 1.5, 2])),
            "scale": float(rng.integers(0, 7)) / 2,
        }
        for name, value in chosen.items():
            place.locator(f"[name={name}]").fill(f"{value:g}")
        channel = int(rng.integers(9))
        place.locator(f'[data-at="{channel}"]').focus()
        page.keyboard.press("Enter")
        state = json.loads(place.get_attribute("data-state"))
        assert state["channel"] == channel and {name: state[name] for name in chosen} == chosen
        x = minidl.tensor(np.array(state["x"]) * 10 ** chosen["scale"], requires_grad=True)
        y = F.local_response_norm(
            x.reshape(1, 9, 1, 1), chosen["size"], 10 ** chosen["power"], 0.75, chosen["k"]
        ).flatten()
        np.testing.assert_allclose(state["y"], y.detach().numpy(), rtol=1e-9)
        for output, slope in enumerate(state["slopes"]):
            (gradient,) = minidl.autograd.grad(y[output], x, retain_graph=True)
            assert abs(gradient[channel].item() - slope) < 1e-9
    assert not page.errors


def test_momentum_gives_minidl_s_numbers(open_page: Callable[..., Any]) -> None:
    page = open_page("course/site/12_step.html")
    rng = np.random.default_rng(0)
    place = page.locator("#explorable-momentum")
    for _ in range(20):
        chosen = {
            "momentum": int(rng.integers(0, 20)) / 20,
            "rate": int(rng.integers(1, 20)) / 100,
            "drop": int(rng.integers(1, 41)),
            "steps": int(rng.integers(1, 41)),
        }
        for name, value in chosen.items():
            place.locator(f"[name={name}]").fill(str(value))
        place.locator("[name=steps]").focus()
        page.keyboard.press("ArrowLeft")  # a step less, but at least 1
        state = json.loads(place.get_attribute("data-state"))
        assert state["steps"] == max(chosen["steps"] - 1, 1)
        for form in "torch", "paper":
            w = minidl.nn.Parameter(minidl.tensor(state["start"], dtype=minidl.float64))
            settings = {"momentum": state["momentum"], "rate_in_velocity": form == "paper"}
            optimizer = minidl.optim.SGD([w], lr=state["rate"], **settings)
            path = [w.tolist()]
            for step in range(state["steps"]):
                rate = state["rate"] if step < state["drop"] else state["rate"] / 10
                optimizer.param_groups[0]["lr"] = rate
                optimizer.zero_grad()
                ((w[0] ** 2 + 10 * w[1] ** 2) / 2).backward()
                optimizer.step()
                path.append(w.tolist())
            np.testing.assert_allclose(state[form], path, atol=1e-9)
    assert not page.errors
