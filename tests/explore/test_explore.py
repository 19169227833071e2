"""The page to type text on: its numbers, its bounds, its headers, and what a browser makes of it."""

import asyncio
import base64
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from browser import browser, complaints, dark, requests, resize, screenshot
from tiny_runs import write_label_run, write_recall_run, write_text_run

from lstm_jax import predict
from lstm_jax.explore import app as explore_app
from lstm_jax.explore import serve
from lstm_jax.explore.headers import HEADERS
from lstm_jax.explore.view import CHARACTERS, TOKENS, View, view_of
from lstm_jax.predict.reading import Reader
from lstm_jax.support.errors import UserError

NEEDED = "needs the page's libraries: pip install -e '.[test,explore]'"
httpx = pytest.importorskip("httpx", reason=NEEDED)
uvicorn = pytest.importorskip("uvicorn", reason=NEEDED)
for library in ("jinja2", "starlette"):
    pytest.importorskip(library, reason=NEEDED)

ROOT = Path(__file__).parents[2]
SCRIPT = "<script>alert(1)</script>"
HOST = "http://localhost:8765"


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    root = tmp_path_factory.mktemp("words")
    return write_text_run(root).rename(root / "<b>run")  # a name that is markup


@pytest.fixture(scope="module")
def view(text_run):
    return view_of(predict.Run(text_run))


@pytest.fixture(scope="module")
def app(view):
    return explore_app.make_app(view, ["localhost"])


def ask(app, path="/read", *, host=HOST, method="POST", **request):
    """One request to the application, without a socket."""

    async def one():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url=host) as client:
            return await client.request(method, path, **request)

    return asyncio.run(one())


# ------------------------------------------------------------------ numbers


def test_what_is_shown_is_what_was_read(app, text_run):
    answer = ask(app, json={"text": "the cat saw", "layer": 1, "order": "number"})
    assert answer.status_code == 200
    shown = answer.json()
    lm = predict.load(text_run)
    read = Reader(lm, 10, traced=True).read("the cat saw")
    assert [row["shown"] for row in shown["tokens"]] == ["the", "cat", "saw"]
    assert [row["known"] for row in shown["tokens"]] == [True, True, False] and "'saw'" in shown["told"]
    np.testing.assert_allclose([row["bits"] for row in shown["tokens"]], read.bits, rtol=1e-4)
    np.testing.assert_allclose([row["probability"] for row in shown["tokens"]], 2.0**-read.bits, rtol=1e-4)
    for mine, numbers, probabilities in zip(
        shown["expected"], read.expected, read.probabilities, strict=True
    ):
        assert [row[0] for row in mine] == [lm.vocabulary.tokens[number] for number in numbers]
        np.testing.assert_allclose([row[2] for row in mine], probabilities, rtol=1e-4)
    assert shown["steps"] == ["<eos>", "the", "cat", "saw"]
    assert [one["name"] for one in shown["maps"]] == ["i", "f", "g", "o", "c"]
    for one in shown["maps"]:
        trace = read.traces[1][one["name"]]
        cells = np.frombuffer(base64.b64decode(one["cells"]), np.uint8).reshape(4, 4)  # [H, steps]
        values = one["low"] + cells / 255 * (one["high"] - one["low"])
        clipped = np.clip(trace, one["low"], one["high"])
        np.testing.assert_allclose(values, clipped.T, atol=0.51 * (one["high"] - one["low"]) / 255)
        np.testing.assert_allclose(one["mean"], trace.mean(1), rtol=1e-4)
        assert one["units"] == [1, 2, 3, 4] and one["scale"] is None
        assert len(base64.b64decode(one["palette"])) == 3 * 256


def test_units_by_time_scale(view):
    sorted_maps = view.read("the cat sat on the mat", 0, "time scale")["maps"]
    plain = view.read("the cat sat on the mat", 0, "number")["maps"]
    for mine, other in zip(sorted_maps, plain, strict=True):
        assert mine["scale"] == sorted(mine["scale"]) and sorted(mine["units"]) == other["units"]
        cells, rows = (
            np.frombuffer(base64.b64decode(m["cells"]), np.uint8).reshape(5, 7) for m in (mine, other)
        )
        np.testing.assert_array_equal(cells, rows[np.array(mine["units"]) - 1])


def test_labels(tmp_path):
    view = view_of(predict.Run(write_label_run(tmp_path)))
    shown = view.read("the cat sat", 0, "")
    assert shown["label"] == shown["labels"][0][0] and len(shown["labels"]) == 3
    np.testing.assert_allclose(sum(p for _, p in shown["labels"]), 1, rtol=1e-4)
    page = ask(explore_app.make_app(view, ["localhost"]), "/", method="GET").text
    assert "3 labels" in page and 'id="bars"' in page and 'id="maps"' not in page


def test_other_tasks_are_told_where_to_look(tmp_path):
    with pytest.raises(UserError, match=r"explore answers runs of texts only.*analyze\.py"):
        view_of(predict.Run(write_recall_run(tmp_path / "recall")))


# ------------------------------------------------------------------ markup and headers


def test_the_page_has_nothing_inline_and_names_are_text(app):
    page = ask(app, "/", method="GET")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    assert "&lt;b&gt;run" in page.text and "<b>" not in page.text
    assert re.findall(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=|https?:", page.text) == []
    for name in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert ask(app, f"/{name}", method="GET").status_code == 200
    scripts = "".join(path.read_text() for path in (ROOT / "lstm_jax/explore/static").glob("*.js"))
    assert re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(", scripts) == []
    assert re.findall(r"localStorage|sessionStorage|indexedDB|cookie|https?:", scripts) == []


@pytest.mark.parametrize(
    ("path", "method", "host", "status"),
    [
        ("/", "GET", HOST, 200),
        ("/read", "GET", HOST, 405),
        ("/nowhere", "GET", HOST, 404),
        ("/static/../app.py", "GET", HOST, 404),
        ("/static/%2e%2e/app.py", "GET", HOST, 404),
        ("/", "GET", "http://evil.example", 400),  # whose name was made to point here
        ("/read", "POST", "http://localhost.evil.example:8765", 400),
        ("/read", "POST", "http://127.0.0.2", 400),
    ],
)
def test_every_answer_has_its_headers(app, path, method, host, status):
    answer = ask(app, path, method=method, host=host)
    assert answer.status_code == status
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "unsafe" not in HEADERS["content-security-policy"] and "set-cookie" not in answer.headers


def test_what_is_typed_comes_back_as_data(app):
    answer = ask(app, json={"text": f"the {SCRIPT}"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["tokens"][1]["shown"] == SCRIPT


# ------------------------------------------------------------------ bounds


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        ({"json": {"text": "a" * (CHARACTERS + 1)}}, 422, "characters"),
        ({"json": {"text": "a " * (TOKENS + 1)}}, 422, f"no more than {TOKENS}"),
        ({"json": {"text": "a", "layer": 2}}, 422, "no layer 3"),
        ({"json": {"text": "a", "layer": -1}}, 422, "no layer 0"),
        ({"json": {"text": "a", "order": SCRIPT}}, 422, "no order"),
        ({"content": b'{"text": "\\ud800"}'}, 422, "half of a pair"),
        ({"json": {"text": 3}}, 400, "a string"),
        ({"json": {"text": "a", "layer": True}}, 400, "a number"),
        ({"json": ["a"]}, 400, "a string"),
        ({"content": b"{"}, 400, "not JSON"),
        ({"content": b"[" * 50_000}, 400, "not JSON"),
        ({"content": b"\xff"}, 400, "not JSON"),
        ({"content": b" " * (explore_app.BODY + 1)}, 413, "bytes"),
        ({"content": b'{"text": "a"}', "headers": {"content-type": "text/plain"}}, 415, "application/json"),
        ({"data": {"text": "a"}}, 415, "application/json"),  # a form, which any page may send
    ],
    ids=lambda value: str(value)[:30],
)
def test_bounds(app, request_, status, said):
    if "content" in request_:
        request_ = {"headers": {"content-type": "application/json"}} | request_
    answer = ask(app, **request_)
    assert answer.status_code == status and said in answer.json()["error"]


def test_the_longest_that_is_taken(app, view):
    assert ask(app, json={"text": "a " * TOKENS}).status_code == 200
    text = "a" * CHARACTERS
    escaped = "".join(f"\\u{ord(sign):04x}" for sign in text)
    body = f'{{"text": "{escaped}", "layer": 0}}'.encode()
    assert ask(app, content=body, headers={"content-type": "application/json"}).status_code == 200


def test_a_request_that_trickles_in_is_given_up(app, monkeypatch):
    monkeypatch.setattr(explore_app, "SLOWEST", 0.01)

    async def never():
        yield b'{"text": '
        await asyncio.Event().wait()

    answer = ask(app, content=never(), headers={"content-type": "application/json"})
    assert answer.status_code == 408


def test_no_more_texts_wait_than_allowed(monkeypatch):
    monkeypatch.setattr(explore_app, "WAITING", 2)
    begun, go_on, together = threading.Event(), threading.Event(), []

    def read(text, layer, order):
        together.append(text)
        begun.set()
        assert go_on.wait(600)
        together.remove(text)
        assert not together  # one at a time
        return {"text": text}

    facts = {"kind": "classification", "name": "x", "told": [], "most_characters": 9, "most_tokens": 0}
    app = explore_app.make_app(View(facts, read), ["localhost"])

    async def three():
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url=HOST) as client:
            first = asyncio.create_task(client.post("/read", json={"text": "first"}))
            await asyncio.to_thread(begun.wait, 600)
            rest = [asyncio.create_task(client.post("/read", json={"text": text})) for text in "ab"]
            refused, _ = await asyncio.wait(rest, return_when=asyncio.FIRST_COMPLETED)
            (answer,) = [task.result() for task in refused]
            assert answer.status_code == 503 and "try again" in answer.json()["error"]
            go_on.set()
            return [(await task).status_code for task in (first, *rest)]

    assert sorted(asyncio.run(three())) == [200, 200, 503]


# ------------------------------------------------------------------ the socket


def test_where_it_listens():
    with serve.listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert serve.address_of(listener) == f"http://127.0.0.1:{port}/"
        with pytest.raises(UserError, match=rf"port {port} of 127.0.0.1 is taken.*--port=0"):
            serve.listen("127.0.0.1", port)
    with serve.listen("0.0.0.0", 0) as listener:
        assert serve.address_of(listener).startswith("http://127.0.0.1:")
    for host, port, said in [
        ("127.0.0.1", 70_000, "port=70000"),
        ("", 0, "--host is empty"),  # to a socket that would be every address
        ("192.0.2.1", 0, "192.0.2.1"),
        ("no host", 0, "--host is an address of this machine"),
    ]:
        with pytest.raises(UserError, match=said):
            serve.listen(host, port)


def test_names_by_which_it_may_be_asked_for():
    at_home = ["localhost", "127.0.0.1", "[::1]"]
    assert serve.allowed_hosts("127.0.0.1") == at_home
    assert serve.allowed_hosts("127.0.0.1", ["lab.example", "*", ""]) == [*at_home, "lab.example"]
    everywhere = serve.allowed_hosts("0.0.0.0")
    assert socket.gethostname() in everywhere and not any("*" in name for name in everywhere)
    assert serve.is_loopback("::1") and serve.is_loopback("localhost") and serve.is_loopback("127.0.0.3")
    assert not serve.is_loopback("0.0.0.0") and not serve.is_loopback("lab.example")


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([b""], b""),
        ([b"GET / HTTP/1.1\r\nHost: loc"], b""),
        ([b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET / HT"], b"HTTP/1.1 200"),
        ([b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{", b"1"], b"HTTP/1.1 405"),
    ],
    ids=["nothing", "a header", "a second header", "a body that nobody reads"],
)
def test_connections_left_half_way_are_closed(app, monkeypatch, parts, status):
    """Each part is sent once the one before is answered; then the other side says no more."""
    found = []

    async def left(config):
        config.load()
        state = uvicorn.server.ServerState()
        made = dict(config=config, server_state=state, app_state={})
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: config.http_protocol_class(**made), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(parts[0])
        answer = b""
        for part in parts[1:]:
            answer = await reader.readuntil(b"\r\n\r\n")
            writer.write(part)
        async with asyncio.timeout(60):
            rest = await reader.read()  # until it is closed
        found.append((answer + rest)[: len(status) or None])
        found.append(len(state.connections))
        writer.close()
        server.close()

    monkeypatch.setattr(serve, "SLOWEST", 0.1)
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: asyncio.run(left(self.config)))
    serve.serve(app, serve.listen("127.0.0.1", 0), lambda: None)
    assert found == [status, 0]


def test_libraries_that_are_missing(monkeypatch):
    monkeypatch.setattr(explore_app, "find_spec", lambda name: None if name == "uvicorn" else name)
    with pytest.raises(UserError, match=r"missing \(uvicorn\): pip install -e '\.\[explore\]'"):
        explore_app.need_libraries()


# ------------------------------------------------------------------ in a browser


@pytest.fixture(scope="module")
def address(text_run):
    """The command itself, on a free port; it must leave cleanly by Ctrl-C."""
    program = [sys.executable, "experiments/explore.py", f"--run={text_run}", "--port=0"]
    more = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with subprocess.Popen(program, cwd=ROOT, env=os.environ | more, **pipes) as process:
        try:
            line = process.stdout.readline()
            assert "Ctrl-C ends it" in line, line or process.stderr.read()
            yield line.split()[0]
            process.send_signal(signal.SIGINT)
            out, raised = process.communicate(timeout=600)
            assert (process.returncode, out, raised) == (0, "stopped\n", "")
        finally:
            process.kill()


@pytest.fixture(scope="module")
def driver():
    with browser() as driver:
        yield driver


def typed(driver, text):
    """Types into the page as a person does, and waits until it shows what it read of all of it."""
    from selenium.webdriver.support.ui import WebDriverWait

    box = driver.find_element("id", "text")
    box.send_keys(text)
    settled = f"return document.body.dataset.read === String({len(box.get_property('value'))})"
    WebDriverWait(driver, 600, poll_frequency=0.1).until(lambda driver: driver.execute_script(settled))


def texts(driver, selector):
    return [found.text for found in driver.find_elements("css selector", selector)]


def shading(driver):
    script = "return [...document.querySelectorAll('.token')].map(t => getComputedStyle(t).backgroundColor)"
    return driver.execute_script(script)


def test_a_person_types(driver, address, view, tmp_path):
    from selenium.webdriver.common.keys import Keys

    driver.get(address)
    typed(driver, f"the cat {SCRIPT}")
    shown = view.read(f"the cat {SCRIPT}", 1, "time scale")

    # What was typed is text: in the words, nowhere an element, and nothing ran.
    assert texts(driver, ".token .word") == ["the", "cat", SCRIPT, "next"]
    assert driver.execute_script("return document.scripts.length") == 1
    assert texts(driver, "h1") == ["<b>run"]

    # The surprisal: as a shade, as a number, and to a screen reader.
    bits = [row["bits"] for row in shown["tokens"]]
    assert texts(driver, ".token small") == [*(f"{b:.1f}" for b in bits), "?"]
    shades = {min(1.0, b / view.facts["blind"]) for b in bits}
    assert len(set(shading(driver)[:3])) == len(shades) > 1
    label = driver.find_elements("css selector", ".token")[1].get_attribute("aria-label")
    assert label.startswith(f"cat: {bits[1]:.2f} bits, probability ") and "rank" in label

    # The next words as bars, and the heat maps painted.
    expected = [row[1] for row in shown["expected"][-1]]
    assert texts(driver, ".bar .word")[: len(expected)] == expected
    painted = """
        const canvas = document.querySelector(".field canvas");
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        const maps = document.querySelectorAll(".map").length;
        return [canvas.width, canvas.height, new Set(data).size > 4, maps];
    """
    assert driver.execute_script(painted) == [4, 4, True, 5]

    # By keyboard alone: back to "cat", what was expected in its place; a cell of a map read out.
    driver.find_elements("css selector", ".token")[3].send_keys(Keys.ARROW_LEFT * 2)
    assert driver.switch_to.active_element.get_attribute("aria-label") == label
    assert texts(driver, "#expected") == ["In place of “cat”"]
    assert texts(driver, ".bar.own .word") == ["cat"]
    driver.find_element("css selector", ".field canvas").send_keys(Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    assert driver.find_element("id", "readout").text.startswith("input gate i at “the”: ")

    # Go on with a word that is offered.
    driver.find_elements("css selector", ".token")[3].click()
    offered = texts(driver, "button.bar .word")
    place = next(number for number, word in enumerate(offered) if word.isalpha())
    driver.find_elements("css selector", "button.bar")[place].click()
    assert driver.find_element("id", "text").get_property("value") == f"the cat {SCRIPT} {offered[place]}"
    typed(driver, "")

    for width in (1400, 400):
        resize(driver, width)
        for night in (False, True):
            dark(driver, night)
            overflow = "return document.documentElement.scrollWidth - innerWidth"
            assert driver.execute_script(overflow) == 0
            picture = tmp_path / f"{width}{'-dark' * night}.png"
            screenshot(driver, picture)
            assert picture.stat().st_size > 10_000
    assert complaints(driver) == []
    assert {url.split("/")[2] for url in requests(driver)} == {address.split("/")[2]}


def test_what_is_typed_during_a_read_is_not_said_to_be_read(driver, address):
    """The answer to "the" is held back until "the cat" stands in the box: it is still an answer to "the"."""
    resize(driver, 1400)
    driver.get(address)
    typed(driver, "")
    hold = """
        const answered = arguments[0], text = document.getElementById("text"), told = [], real = window.fetch;
        const typed = (value) => (text.value = value, text.dispatchEvent(new Event("input")));
        new MutationObserver(() => {
            const shown = [...document.querySelectorAll(".token .word")].map((word) => word.textContent);
            told.push([Number(document.body.dataset.read), shown.slice(0, -1).join(" ").length]);
            if (told.at(-1)[1] === 7) answered(told);
        }).observe(document.body, { attributes: true });
        window.fetch = async (...asked) => {
            const answer = await real(...asked), found = await answer.json();
            window.fetch = real;
            typed("the cat");
            return { status: answer.status, json: async () => found };
        };
        typed("the");
    """
    driver.set_script_timeout(600)
    raised = driver.execute_async_script(hold)
    assert raised[-1] == [7, 7]
    assert all(read == shown for read, shown in raised), raised


def test_a_browser_says_what_the_server_refuses(driver, address):
    resize(driver, 1400)
    driver.get(address)
    typed(driver, "a " * (TOKENS + 1))
    assert f"no more than {TOKENS} are read at once" in driver.find_element("id", "status").text
    complaints(driver)  # the browser's own line about status 422


def test_a_browser_tells_its_own_fault_from_the_servers(driver, address):
    driver.get(address)
    typed(driver, "a")
    for answer, said in (
        ("({ status: 200, json: async () => ({ tokens: 3 }) })", "the page could not draw the answer"),
        ("{ throw new TypeError('no network'); }", "the server does not answer"),
    ):
        driver.execute_script(f"window.fetch = async () => {answer};")
        typed(driver, "b")
        assert driver.find_element("id", "status").text.startswith(said)
    complaints(driver)  # the fault itself
