"""A headless Chromium, driven over W3C WebDriver by chromedriver; both are Debian's packages."""

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.vllm_fixture import _free_port

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
#: The browser itself shall ask nobody for anything, and be able to run as root.
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_KEYS = {"Enter": "\ue007", "Tab": "\ue004"}


class WebDriverError(Exception):
    """What the driver says went wrong."""


@dataclass(frozen=True)
class Browser:
    """One window. Selectors are those of CSS."""

    session: str

    def open(self, url: str) -> None:
        self._call("POST", "url", url=url)

    def run(self, script: str, *arguments: Any) -> Any:
        """What the body of a JavaScript function returns."""
        return self._call("POST", "execute/sync", script=script, args=arguments)

    def wait(self, script: str, *arguments: Any, seconds: float = 60) -> Any:
        """What the script returns as soon as that is truthy."""
        deadline = time.monotonic() + seconds
        while not (found := self.run(script, *arguments)):
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{script} did not come true in {seconds} s; the page:\n{self.text('body')}"
                )
            time.sleep(0.1)
        return found

    def text(self, selector: str) -> str:
        shown: str = self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)
        return shown

    def click(self, selector: str) -> None:
        self._call("POST", f"element/{self._element(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        self._call("POST", f"element/{self._element(selector)}/value", text=text)

    def press(self, key: str) -> None:
        """A key, for whatever has the focus."""
        actions = [{"type": kind, "value": _KEYS[key]} for kind in ("keyDown", "keyUp")]
        self._call("POST", "actions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])

    def devtools(self, command: str, **parameters: Any) -> Any:
        """A command of the Chrome DevTools Protocol."""
        return self._call("POST", "goog/cdp/execute", cmd=command, params=parameters)

    def screenshot(self) -> bytes:
        """PNG."""
        return base64.b64decode(self._call("GET", "screenshot"))

    def complaints(self) -> list[str]:
        """Warnings and errors of the console since the last call, refused content among them."""
        return [one["message"] for one in self._call("POST", "se/log", type="browser")]

    def hosts(self) -> set[str]:
        """`host:port` of all that pages asked for over a network since the last call."""
        events = [
            json.loads(one["message"])["message"] for one in self._call("POST", "se/log", type="performance")
        ]
        asked = [
            urlsplit(event["params"]["request"]["url"])
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return {url.netloc for url in asked if url.scheme not in ("chrome", "data", "blob", "about")}

    def forget(self) -> None:
        """Nothing before now counts as a complaint or a request."""
        self.complaints()
        self.hosts()

    def _element(self, selector: str) -> str:
        found = self._call("POST", "element", using="css selector", value=selector)
        element: str = found[_ELEMENT]
        return element

    def _call(self, method: str, command: str, **body: Any) -> Any:
        return _send(method, f"{self.session}/{command}", body)


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser of its own with an empty profile."""
    assert CHROMIUM and DRIVER
    port = _free_port()
    with (profile / "chromedriver.log").open("wb") as log:
        driver = subprocess.Popen([DRIVER, f"--port={port}"], stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(address)
        options = {
            "binary": CHROMIUM,
            "args": [*_ARGUMENTS, f"--user-data-dir={profile / 'profile'}"],
        }
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "WARNING", "performance": "ALL"},
        }
        made = _send("POST", f"{address}/session", {"capabilities": {"alwaysMatch": wanted}})
        session = f"{address}/session/{made['sessionId']}"
        yield Browser(session)
        _send("DELETE", session, {})
    finally:
        driver.terminate()
        driver.wait(timeout=30)


def _wait(address: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            _send("GET", f"{address}/status", {})
        except urllib.error.URLError:
            assert time.monotonic() < deadline, "chromedriver did not start in 60 s"
            time.sleep(0.1)
        else:
            return


def _send(method: str, url: str, body: dict[str, Any]) -> Any:
    data = json.dumps(body).encode() if method == "POST" else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.load(response)["value"]
    except urllib.error.HTTPError as error:
        told = json.loads(error.read())["value"]
        raise WebDriverError(f"{told['error']}: {told['message']}") from error
