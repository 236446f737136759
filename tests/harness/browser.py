"""A real browser without a window, driven over the pipe of its DevTools protocol: Chromium, if it is installed."""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser")
_ANSWER_S = 30.0


def find() -> str | None:
    """The program, or None."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


class NotStarted(Exception):
    """The program is there and does not run, as one from a confined package or without its libraries."""


class Page:
    """One page, and everything that it complained of."""

    def __init__(self, requests: int, answers: int) -> None:
        self.complaints: list[str] = []
        self.fetched: list[str] = []
        self._requests = requests
        self._answers = answers
        self._buffer = b""
        self._sent = 0
        self._session: str | None = None
        self._loaded = False

    def attach(self) -> None:
        """Make the page, and listen."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command, and its answer."""
        self._sent += 1
        number = self._sent
        command: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            command["sessionId"] = self._session
        os.write(self._requests, json.dumps(command).encode() + b"\0")
        while True:
            message = self._receive()
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                result: dict[str, Any] = message["result"]
                return result

    def open(self, path: Path) -> None:
        """Load a file, and wait until it is there."""
        self._loaded = False
        self.call("Page.navigate", url=path.absolute().as_uri())
        while not self._loaded:
            self._receive()

    def run(self, script: str) -> Any:
        """The value of an expression, awaited if it is a promise."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def size(self, width: int, height: int, ratio: float = 1.0, mobile: bool = False) -> None:
        """The window's size in CSS pixels, and screen pixels for each of them."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=ratio, mobile=mobile
        )

    def media(self, scheme: str, motion: str = "reduce") -> None:
        """The system's theme; and nothing that glides or plays by itself, so that there is nothing to wait for."""
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        self.call(
            "Emulation.setEmulatedMedia", features=[{"name": name, "value": is_} for name, is_ in features.items()]
        )

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """`kind` is mouseMoved, mousePressed, mouseReleased or mouseWheel."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, x: float, y: float) -> None:
        """With the left button."""
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=1)

    def touch(self, fingers: Sequence[tuple[float, float]], kind: str = "touchStart") -> None:
        """Where fingers are; none: they were lifted."""
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(fingers)]
        self.call("Input.dispatchTouchEvent", type=kind if fingers else "touchEnd", touchPoints=points)

    def key(self, key: str) -> None:
        """Press a key."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + _ANSWER_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], deadline - time.monotonic())
            assert ready, "the browser does not answer"
            data = os.read(self._answers, 1 << 20)
            assert data, "the browser has gone"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, parameters: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.complaints.append(str([each.get("value") for each in parameters["args"]]))
        elif method == "Network.requestWillBeSent":
            self.fetched.append(parameters["request"]["url"])


@contextlib.contextmanager
def browser(program: str, profile: Path) -> Iterator[Page]:
    """A page of a browser of its own. Raises NotStarted."""
    request_read, request_write = os.pipe()
    answer_read, answer_write = os.pipe()
    # The browser reads from 3 and writes to 4.
    shell = f'exec "$0" "$@" 3<&{request_read} 4>&{answer_write}'
    options = [
        "--headless=new",
        "--no-sandbox",
        "--no-first-run",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-extensions",
        "--disable-background-networking",
        "--hide-scrollbars",
        "--remote-debugging-pipe",
        f"--user-data-dir={profile}",
    ]
    process = subprocess.Popen(
        ["bash", "-c", shell, program, *options, "about:blank"],
        pass_fds=(request_read, answer_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(request_read)
    os.close(answer_write)
    try:
        page = Page(request_write, answer_read)
        try:
            page.attach()
        except (AssertionError, OSError) as error:
            raise NotStarted(f"{program} does not start: {error}") from None
        yield page
    finally:
        # It has processes of its own, all in the session that began with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(request_write)
        os.close(answer_read)


@contextlib.contextmanager
def page_or_skip(profile: Path) -> Iterator[Page]:
    """A page in the light theme for the tests of a file, which are skipped where no browser runs; never on CI."""
    refuse = pytest.fail if os.environ.get("CI") else pytest.skip
    program = find()
    if program is None:
        refuse("no Chromium here; on Debian: apt-get install chromium")
    with contextlib.ExitStack() as stack:
        try:
            page = stack.enter_context(browser(program, profile))
        except NotStarted as error:
            refuse(str(error))
        page.size(1280, 800)
        page.media("light")
        yield page
