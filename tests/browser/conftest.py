"""A real Chromium before a real host with a bot that fails until it is mended."""

from __future__ import annotations

import http.client
import json
import shutil
import sys
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from tests.operator.page.site import SECRET, TOKEN, Site

from bothost.pyrus.signature import sign

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from selenium.webdriver.remote.webelement import WebElement

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --disable-dev-shm-usage"
)
SOURCE = """\
from pathlib import Path

BROKEN = Path(HERE, "broken")


def rates_of(task):
    if BROKEN.exists():
        raise RuntimeError(f"the rates of task {task.id} cannot be read: is the share mounted?")


def answer(event):
    rates_of(event.task)
    return None
"""
# its traceback names a place that is the same on every machine: the pictures show it
PLUGIN = f"""\
import linecache
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = {SOURCE!r}
linecache.cache["flaky_rates/rates.py"] = (len(SOURCE), None, SOURCE.splitlines(True), "flaky_rates/rates.py")
exec(compile(SOURCE, "flaky_rates/rates.py", "exec"))
"""
INI = f"""\
[host]
operator_token = {TOKEN}
public_url = https://bots.example.com
operator_hosts = ops.example.com
drain = 1s

[bot:refunds]
plugin = flaky
secret = {SECRET}
on_error = ignore
"""


class Browser:
    """Chromium, and what a person does with it."""

    def __init__(self, driver: webdriver.Chrome, site: Site) -> None:
        self.driver = driver
        self.site = site
        self.name = "127.0.0.1"
        """The name under which the page is opened."""

    def open(self, path: str) -> None:
        self.driver.get(f"http://{self.name}:{self.site.port}{path}")

    def log_in(self) -> None:
        self.open("/login")
        self.find("#token").send_keys(TOKEN)
        self.find("button.main").click()
        self.wait("nav a")

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def wait(self, selector: str, text: str = "") -> WebElement:
        """Until it is there and says that."""

        def there(_: Any) -> WebElement | None:
            return next((each for each in self.all(selector) if text in each.text), None)

        found = WebDriverWait(self.driver, 15, ignored_exceptions=[Exception]).until(there)
        assert found is not None
        return found

    def press(self, text: str, *, last: bool = False) -> None:
        """The button or link that says so; `last`: the last of several, such as the one in an open menu."""
        found = [each for each in self.all("button, a, summary") if each.text.strip() == text]
        if found:
            found[-1 if last else 0].click()
            return
        raise AssertionError(f"no button {text!r} in {self.find('main').text}")

    def look(self, scheme: str = "light", width: int = 1280, height: int = 900) -> None:
        """Colours and size of the window."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def console(self) -> list[str]:
        """Errors and warnings since the last look."""
        return [line["message"] for line in self.driver.get_log("browser") if line["level"] in ("SEVERE", "WARNING")]

    def fetched(self) -> list[str]:
        """Every address that was asked for since the last look."""
        messages = [json.loads(line["message"])["message"] for line in self.driver.get_log("performance")]
        return [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]

    def serious(self) -> list[str]:
        """What axe-core finds wrong with the page that is shown, but for what it calls minor."""
        axe = (files("axe_core_python") / "axe.min.js").read_text("utf-8")
        self.driver.execute_script(axe)
        found: dict[str, Any] = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then(done, error => done({error: String(error)}))"
        )
        assert "error" not in found, found
        return [
            f"{one['id']}: {node['html'][:160]} {node['any'][0]['message'] if node['any'] else ''}"
            for one in found["violations"]
            if one["impact"] in ("moderate", "serious", "critical")
            for node in one["nodes"]
        ]

    def deliver(self, task: int, bot: str = "refunds", secret: str = SECRET) -> int:
        """As Pyrus does it; the status."""
        body = json.dumps(
            {"event": "comment", "task_id": task, "user_id": 5, "task": {"id": task, "comments": [{"id": task}]}}
        )
        connection = http.client.HTTPConnection("127.0.0.1", self.site.public_port, timeout=20)
        headers = {"X-Pyrus-Sig": sign(body.encode(), secret), "X-Pyrus-Retry": "1/3"}
        connection.request("POST", f"/{bot}", body, headers)
        status = connection.getresponse().status
        connection.close()
        return status


@pytest.fixture(scope="session")
def driver() -> Iterator[webdriver.Chrome]:
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("needs chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.add_argument("--host-resolver-rules=MAP ops.example.com 127.0.0.1")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options, Service(chromedriver))
    yield made
    made.quit()


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of an installed plugin, which is broken while the file `broken` is there."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "flaky_rates.py").write_text(PLUGIN)
    about = folder / "flaky_rates-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: flaky-rates\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[bothost.plugins]\nflaky = flaky_rates:answer\n")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("flaky_rates", None)


@pytest.fixture
def browser(driver: webdriver.Chrome, plugin: Path, tmp_path: Path) -> Iterator[Browser]:
    site = Site(tmp_path, INI).start()
    driver.delete_all_cookies()
    seen = Browser(driver, site)
    seen.look()
    seen.console()
    seen.fetched()
    yield seen
    driver.get("about:blank")
    site.stop()
