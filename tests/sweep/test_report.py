"""The page of a sweep: what it holds, and what a real browser makes of it."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from browser import browser, complaints, dark, requests, resize
from conftest import ROOT

from configs.memory import base
from lstm_jax.support.errors import UserError
from lstm_jax.sweep.comparison import Comparison, margins, read, shown_variants
from lstm_jax.sweep.define import expand
from lstm_jax.sweep.directory import SweepPaths, record_failure
from lstm_jax.sweep.summary import summarise

EVIL = "<img src=x onerror=\"document.title='owned'\"> & <b>LSTM</b>"
VARIANTS = {"LSTM": {"model.cell.name": "lstm"}, EVIL: {"model.cell.name": "gru"}}


def finish(where: Path, accuracy: float, step: int | None, *, steps: int = 400, seconds: float = 3.0) -> None:
    """A run's directory as `training.loop.run` leaves it, as far as the comparison reads it."""
    where.mkdir(parents=True)
    figures = {"accuracy": accuracy, "nats": 2 * (1 - accuracy)}
    result = {
        "best_step": steps, "steps": steps, "seconds": seconds, "parameters": 1234, "hardware": "a <CPU>",
        "figures": {"static": {"valid": figures, "test": figures}},
        "chance": {"nats": 2.08, "accuracy": 0.125},
        "solved": step is not None, "solved_step": step, "commit": "0123456789abcdef", "dirty": False,
        "date": "2026-11-23T13:35:29+00:00",
    }  # fmt: skip
    rows = [{"step": s, "kind": "valid", "epoch": s / 200, **figures} for s in (200, steps)]
    (where / "config.json").write_text("{}")
    (where / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (where / "run.log").write_text("a log\n")
    (where / "result.json").write_text(json.dumps(result))


def make(directory: Path, definition: dict[str, Any], ended: int | None = None) -> SweepPaths:
    """A sweep whose members have ended, or the first `ended` of them; accuracy rises with place and seed."""
    sweep, paths = expand(base.get_config("delayed_recall"), definition), SweepPaths(directory)
    paths.guard(sweep, "configs/sweeps/<one>.py")
    for place, member in enumerate(sweep.members[:ended]):
        accuracy = min(1.0, 0.2 + 0.7 * place / len(sweep.members) + 0.01 * member.seed)
        finish(paths.member(member.name), accuracy, 200 if accuracy > 0.6 else None)
    return paths


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> SweepPaths:
    """2 variants, 2 lengths, 3 seeds; of the 12 the last has not begun, the one before it failed."""
    directory = tmp_path_factory.mktemp("with <evil> name")
    found = make(directory, {"list": VARIANTS, "grid": {"task.length": [5, 20]}, "seeds": 3}, ended=10)
    names = [member["name"] for member in found.read()["members"]]
    record_failure(
        found.member(names[10]), UserError("the loss is not finite at step 2 <script>alert(1)</script>")
    )
    (found.member(names[10]) / "run.log").write_text("error\n")
    summarise(directory)
    return found


@pytest.fixture(scope="module")
def comparison(paths) -> Comparison:
    return read(paths.root)


@pytest.fixture(scope="module")
def page(comparison) -> Path:
    pytest.importorskip("plotly", reason="needs pip install -e '.[report]'")
    pytest.importorskip("jinja2", reason="needs pip install -e '.[report]'")
    from lstm_jax.sweep.report.page import write

    return write(comparison, title=EVIL)


def without_scripts(text: str) -> str:
    return re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def links_of(text: str) -> list[str]:
    return [link for link in re.findall(r'(?:href|src)="([^"]*)"', without_scripts(text)) if link[0] != "#"]


def test_what_the_comparison_reads(comparison):
    assert (comparison.metric, comparison.high, comparison.length) == ("accuracy", True, "length")
    assert comparison.baseline == {"variant": "LSTM"} and comparison.lengths == [5, 20]
    assert [len(comparison.members), len(comparison.groups), len(comparison.runs)] == [12, 4, 11]
    assert comparison.groups[3]["counted"] == 1 and comparison.groups[3]["failed"] == 1
    variant, length = margins(comparison)
    assert (variant.field, length.field) == ("variant", "length")
    # The second variant has one run of length 20: the lengths are compared by the first variant alone.
    mine = [run["value"] for run in comparison.runs if run["variant"] == "LSTM" and run["length"] == 5]
    assert length.means[5][0] == pytest.approx(np.mean(mine)) and len(mine) == 3
    assert (length.settings, length.left_out) == (2, 1) == (variant.settings, variant.left_out)
    assert [value[0] for value in variant.means.values()] == pytest.approx(
        [
            np.mean([run["value"] for run in comparison.runs if (run["variant"], run["length"]) == (name, 5)])
            for name in variant.means
        ]
    )


def test_a_chance_level_is_drawn_where_it_is_one(comparison):
    """Another field than the length may change the task, as the kind of a question does."""
    assert comparison.chance() == {5: 0.125, 20: 0.125} and comparison.one_chance == 0.125
    other = [
        run | {"chance": 0.5} if run["name"] == comparison.runs[0]["name"] else run for run in comparison.runs
    ]
    mixed = comparison._replace(runs=other)
    assert mixed.runs[0]["length"] == 5
    assert mixed.chance() == {20: 0.125} and mixed.one_chance is None


def test_fields_are_compared_over_settings_that_all_their_values_have(tmp_path):
    """A bias that never ends is not compared; a setting that one seed of one bias lacks is left out."""
    grid = {"model.cell.forget_bias": [0, 1, 2], "optim.clip": [1.0, 2.0]}
    paths = make(tmp_path, {"grid": grid, "seeds": 2})
    names = [member["name"] for member in paths.read()["members"]]
    for name in [*names[8:], names[7]]:  # all of bias 2, and of bias 1 with clip 2 the second seed
        (paths.member(name) / "result.json").unlink()
    comparison = read(tmp_path)
    value = {run["name"]: run["value"] for run in comparison.runs}
    bias, clip = margins(comparison)
    assert (bias.settings, bias.left_out) == (2, 1) == (clip.settings - 1, clip.left_out - 1)
    assert bias.means["0"][0] == pytest.approx((value[names[0]] + value[names[1]]) / 2)
    assert list(bias.means) == ["0", "1"]
    assert clip.means[2.0][0] == pytest.approx((value[names[2]] + value[names[3]]) / 2)


def test_of_many_variants_the_best_and_the_baseline_are_shown(tmp_path):
    make(tmp_path, {"grid": {"model.cell.forget_bias": list(range(20))}, "baseline": "forget_bias=2"})
    assert shown_variants(read(tmp_path), 4) == ["2", "17", "18", "19"]
    assert shown_variants(read(tmp_path, metric="nats"), 2) == ["2", "19"]


def test_the_page_holds_the_table_and_escapes_what_it_is_given(page):
    text = without_scripts(page.read_text())
    assert "<img" not in text and "<b>LSTM" not in text and "alert(1)</script>" not in text
    assert text.count("&lt;img src=x") > 4 and "a &lt;CPU&gt;" in text
    assert "minus LSTM [95 %]" in text and "1 of 3 (1 failed, 1 unfinished)" in text
    assert "not finite at step 2" in text and "This sweep is not finished" in text
    assert "0123456789ab" in text and "delayed recall" in text and "configs/sweeps/&lt;one&gt;.py" in text


def test_it_asks_nothing_of_the_network_and_its_links_are_files_beside_it(page):
    text = page.read_text()
    assert len(text) < 8e6 and "default-src 'none'" in text
    links = [link for link in links_of(text) if not link.startswith("data:")]
    assert not [link for link in links if re.match(r"[a-z+.-]*:|/", link)]
    assert [link for link in links if not (page.parent / unquote(link)).is_file()] == []
    assert sum(link.endswith("result.json") for link in links) == 10
    assert any(link.endswith("failure.json") for link in links) and "summary.csv" in links


def test_links_start_from_where_the_page_lies(comparison, tmp_path):
    pytest.importorskip("plotly", reason="needs pip install -e '.[report]'")
    from lstm_jax.sweep.report.page import write

    other = write(comparison, tmp_path / "deep" / "page.html")
    links = [link for link in links_of(other.read_text()) if not link.startswith("data:")]
    assert links and all((other.parent / unquote(link)).is_file() for link in links)


def test_plotly_knows_every_property_of_the_charts(comparison):
    graph_objects = pytest.importorskip("plotly.graph_objects", reason="needs pip install -e '.[report]'")
    from lstm_jax.sweep.report.charts import sections

    made = sections(comparison)
    assert [section.id for section in made] == [
        "differences", "map-section", "length", "learning", "parallel-section", "marginals",
    ]  # fmt: skip
    for section in made:
        for chart in section.charts:
            text = re.sub(r'"@\w+"', '"#123456"', json.dumps(chart.figure, allow_nan=False))
            graph_objects.Figure(json.loads(text))
    data = made[0].charts[0].figure["data"][0]
    group = comparison.groups[2]
    assert data["x"][0] == pytest.approx(group["difference"], rel=1e-5)
    assert data["error_x"]["array"][0] == pytest.approx(
        group["difference_high"] - group["difference"], rel=1e-4
    )


def test_a_sweep_with_nothing_finished_has_a_page_that_says_so(tmp_path):
    pytest.importorskip("plotly", reason="needs pip install -e '.[report]'")
    from lstm_jax.sweep.report.page import render

    make(tmp_path, {"seeds": 2}, ended=0)
    text = without_scripts(render(read(tmp_path)))
    assert (
        "No run has finished yet" in text
        and "0 finished" in text
        and "2 not begun" in text.replace("\n", " ")
    )


def test_a_big_sweep_stays_small(tmp_path):
    pytest.importorskip("plotly", reason="needs pip install -e '.[report]'")
    from lstm_jax.sweep.report.page import render

    rates = {"distribution": "log_uniform", "low": 1e-4, "high": 1e-1}
    hidden = {"distribution": "choice", "values": [8, 16, 32]}
    random = {"optim.learning_rate": rates, "optim.clip": rates, "task.batch": hidden, "count": 500}
    sweep = {"random": random, "seeds": 2}
    paths = make(tmp_path, sweep)
    assert len(paths.read()["members"]) == 1000
    text = render(read(tmp_path))
    assert len(text) < 8e6
    assert text.count("<tr") > 1500


def test_without_the_extra_it_says_what_to_install(comparison, monkeypatch):
    from lstm_jax.sweep.report.page import render

    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[report\]'"):
        render(comparison)


def test_the_command(paths, tmp_path):
    pytest.importorskip("plotly", reason="needs pip install -e '.[report]'")
    command = [sys.executable, str(ROOT / "experiments/report.py"), f"--sweep={paths.root}", "--nofigures"]
    out = tmp_path / "page.html"
    done = subprocess.run(
        [*command, f"--baseline={EVIL}", "--metric=nats", f"--out={out}"],
        cwd=ROOT, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "test nats [95 %]" in done.stdout and f"minus {EVIL}" in done.stdout
    assert "failed " in done.stdout and "not finite at step 2" in done.stdout
    assert "not finished, 1 of 12 members" in done.stdout and f"page {out}" in done.stdout
    assert (paths.root / "summary.csv").read_text().count("\n") == 5 and out.stat().st_size > 1e6


@pytest.fixture(scope="module")
def driver():
    with browser(1400) as one:
        yield one


@pytest.fixture
def shown(driver, page):
    """The page, opened afresh from its file, with every chart drawn."""
    requests(driver), complaints(driver)
    resize(driver, 1400)
    dark(driver, False)
    driver.get(page.as_uri())
    driver.execute_async_script("drawAll().then(arguments[0])")
    return driver


def texts(driver: Any, column: int) -> list[str]:
    rows = "[...document.querySelectorAll('#comparison tbody tr')]"
    return driver.execute_script(f"return {rows}.map(row => row.cells[arguments[0]].innerText)", column)


def test_it_loads_without_complaint_and_without_the_network(shown, page):
    assert shown.title.startswith("<img src=x") and "owned" not in shown.title[:5]
    assert complaints(shown) == []
    assert {url.partition("#")[0] for url in requests(shown)} == {page.as_uri()}
    assert len(texts(shown, 0)) == 4
    assert shown.execute_script("return document.querySelectorAll('#members tbody tr').length") == 12


def test_a_click_and_a_key_sort_the_table(shown):
    from selenium.webdriver.common.keys import Keys

    heads = shown.find_elements("css selector", "#comparison thead th")
    names = [head.text for head in heads]
    column = next(place for place, name in enumerate(names) if name.startswith("test accuracy"))
    button = heads[column].find_element("css selector", "button")
    means = [float(text.split()[0]) for text in texts(shown, column)]
    button.click()
    assert [float(text.split()[0]) for text in texts(shown, column)] == sorted(means)
    assert heads[column].get_attribute("aria-sort") == "ascending"
    button.send_keys(Keys.ENTER)
    assert [float(text.split()[0]) for text in texts(shown, column)] == sorted(means, reverse=True)
    assert heads[column].get_attribute("aria-sort") == "descending"
    differences = next(place for place, name in enumerate(names) if name.startswith("minus"))
    heads[differences].find_element("css selector", "button").click()
    assert texts(shown, differences)[-2:] == ["baseline"] * 2, "what has no difference stays last"


def test_every_chart_is_drawn_with_axes_that_are_named(shown):
    sizes = shown.execute_script(
        "return [...document.querySelectorAll('.chart')].map(c => {"
        " const s = c.querySelector('svg.main-svg');"
        " return [c.id, s ? s.clientWidth : 0, s ? s.clientHeight : 0, c.textContent]; })"
    )
    assert len(sizes) == 3 + 2 + 1 + 2
    for name, width, height, _ in sizes:
        assert width > 300 and height > 150, name
    words = {name: text for name, _, _, text in sizes}
    assert "length (steps)" in words["by-length"] and "test accuracy (share right)" in words["by-length"]
    assert "chance 0.125" in words["by-length"] and "training steps" in words["learning-0"]
    assert EVIL in words["by-length"], "a name is shown as it is, not taken for markup"
    lines = "return document.querySelectorAll('#parallel .scatterlayer path.js-line').length"
    assert shown.execute_script(lines) > 10


def test_choosing_runs_fades_the_others_and_hides_their_rows(shown):
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

    printable = "return [...document.querySelectorAll('#members tbody tr')].filter(r => !r.hidden).length"
    Select(shown.find_element("css selector", "#choose select")).select_by_visible_text("LSTM")
    assert shown.execute_script(printable) == 6
    assert "6 of 12 runs" in shown.execute_script("return document.getElementById('chosen').value")
    faded = "return document.getElementById('parallel').data[0].x.length"
    assert shown.execute_script(faded) == 5 * 4, "five runs of three axes and a gap"
    shown.find_element("css selector", "#choose button").send_keys(Keys.ENTER)
    shown.execute_async_script("setTimeout(arguments[0], 50)")
    assert shown.execute_script(printable) == 12 and shown.execute_script(faded) == 0


@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_sticks_out_at_the_side(shown, width):
    resize(shown, width)
    shown.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    wide = (
        "return [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, script')"
        " && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + ' ' + e.className)"
    )
    assert shown.execute_script(wide) == []
    assert shown.execute_script("return document.documentElement.scrollWidth") <= width


def test_dark_changes_the_page_and_its_charts(shown):
    colours = (
        "const text = document.querySelector('#by-length .xtitle');"
        "return [getComputedStyle(document.body).backgroundColor, getComputedStyle(text).fill]"
    )
    light = shown.execute_script(colours)
    dark(shown)
    shown.execute_async_script("drawAll().then(arguments[0])")
    there = shown.execute_script(colours)
    assert light[0] == "rgb(255, 255, 255)" and there[0] == "rgb(20, 23, 27)"
    assert light[1] != there[1]
