"""A page in a headless Chromium, driven through its DevTools protocol: evaluate, click, look, listen for complaints."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import websocket

FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-sync --hide-scrollbars --disable-quic"
FLAGS += " --disable-background-networking --disable-component-update"
FLAGS += " --remote-debugging-port=0 --remote-allow-origins=*"


class Browser:
    """One tab of a Chromium of its own; close it, or use it as a context manager.

    Attributes:
        complaints: what the page wrote to the console or left uncaught, and what its policy stopped.
    """

    def __init__(self, profile: Path):
        found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        if found is None:
            pytest.skip("no Chromium on this machine; install chromium to see pages as readers do")
        command = [found, *FLAGS.split(), f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self._socket = websocket.create_connection(f"ws://127.0.0.1:{self._port(profile)}", timeout=60)
        self._count, self._session, self.complaints = 0, "", []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._session = ""
        self.send("Browser.close")
        self._socket.close()
        self._process.wait(30)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for what it returns."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        self._socket.send(json.dumps(message | ({"sessionId": self._session} if self._session else {})))
        while True:
            said = json.loads(self._socket.recv())
            self._listen(said)
            if said.get("id") == self._count:
                assert "error" not in said, said
                return said["result"]

    def open(self, page: Path) -> float:
        """Open a file and wait until it is loaded; seconds from the request to the end of the load event."""
        self.send("Page.navigate", url=page.resolve().as_uri())
        while True:
            state = self.evaluate("[document.readyState, performance.timing.loadEventEnd > 0, location.href]")
            if state[0] == "complete" and state[1] and state[2].startswith("file:"):
                break
        return self.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") / 1000

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, promises awaited."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until_painted(self, action: str) -> float:
        """Run JavaScript and wait for the next frame but one; seconds until what it did was on the screen."""
        frames = "await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        timed = f"(async () => {{ const t = performance.now(); {action}; {frames}; return performance.now() - t }})()"
        return self.evaluate(timed) / 1000

    def screenshot(self) -> bytes:
        """What is on the screen, as PNG."""
        return base64.b64decode(self.send("Page.captureScreenshot")["data"])

    def _port(self, profile: Path) -> str:
        """Port and path of the browser's socket, which it writes into its profile when it listens."""
        said = profile / "DevToolsActivePort"
        for _ in range(600):
            if said.exists() and len(lines := said.read_text().split()) == 2:
                return "".join(lines)
            assert self._process.poll() is None, "Chromium did not start"
            time.sleep(0.1)
        self._process.kill()
        raise TimeoutError("Chromium did not listen within a minute")

    def _listen(self, said: dict[str, Any]) -> None:
        method, given = said.get("method"), said.get("params", {})
        if method == "Log.entryAdded":
            self.complaints.append(given["entry"]["text"])
        elif method in (
            "Runtime.consoleAPICalled",
            "Runtime.exceptionThrown",
            "Page.javascriptDialogOpening",
        ):
            self.complaints.append(f"{method}: {json.dumps(given)[:500]}")
