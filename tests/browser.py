"""A headless Chromium for tests of pages: `with browser() as driver: driver.get(url)`.

Debian's chromium and chromedriver through selenium; where one of them is missing, the test is skipped with
the reason. Nothing is downloaded, and Chromium itself asks nothing of the network.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-default-apps", "--disable-extensions", "--disable-dev-shm-usage", "--force-color-profile=srgb",
    "--hide-scrollbars", "--disable-features=NetworkTimeServiceQuerying,OptimizationHints,MediaRouter",
)  # fmt: skip
PATIENCE = 300
"""Seconds that a page or a script may take: a busy machine is slow, not hung."""


def chromium() -> tuple[str, str]:
    """(chromium, chromedriver); skips the test where one of them, or selenium, is missing."""
    pytest.importorskip("selenium", reason="needs selenium: pip install -e '.[test]'")
    found = [shutil.which(name) or "" for name in ("chromium", "chromedriver")]
    if not all(found):
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    return found[0], found[1]


@contextmanager
def browser(width: int = 1400, height: int = 1000) -> Iterator[Any]:
    """A selenium driver of a fresh headless Chromium, with nothing stored from before.

    Start it once a module (a fixture with scope="module"): it costs one to two seconds of CPU.

    Args:
      width: of the page, in CSS pixels; `resize` changes it.
      height: of the page.
    """
    program, service = chromium()
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = program
        for switch in (*SWITCHES, f"--user-data-dir={profile}"):
            options.add_argument(switch)
        options.add_argument("about:blank")  # not the new-tab page with its hundreds of files
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(executable_path=service))
        try:
            driver.set_page_load_timeout(PATIENCE)
            driver.set_script_timeout(PATIENCE)
            resize(driver, width, height)
            yield driver
        finally:
            driver.quit()


def resize(driver: Any, width: int, height: int = 1000) -> None:
    """Lays the page out as in a window of `width` x `height` CSS pixels; 400 is a phone's."""
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )


def dark(driver: Any, yes: bool = True) -> None:
    """Lets the page believe that the person likes it dark, or light."""
    feature = {"name": "prefers-color-scheme", "value": "dark" if yes else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def complaints(driver: Any) -> list[str]:
    """What the console said since the last call, warnings and errors; [] is a page without fault."""
    said = driver.get_log("browser")
    return [entry["message"] for entry in said if entry["level"] in ("WARNING", "SEVERE")]


def requests(driver: Any) -> list[str]:
    """The addresses that pages asked for since the last call, in order; data: and blob: are none.

    What Chromium's own pages (chrome:) ask of Chromium is left out.
    """
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    urls = [params["request"]["url"] for params in asked]
    return [url for url in urls if not url.startswith(("data:", "blob:", "chrome", "about:"))]


def screenshot(driver: Any, path: Path, *, whole: bool = True) -> None:
    """Saves what the page looks like as PNG, from top to bottom or what the window shows."""
    from base64 import b64decode

    answer = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": whole} | (
        {"clip": _whole(driver)} if whole else {}
    ))  # fmt: skip
    Path(path).write_bytes(b64decode(answer["data"]))


def _whole(driver: Any) -> dict[str, float]:
    size = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    return {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
