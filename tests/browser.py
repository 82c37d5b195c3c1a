"""Headless Chromium, driven by its DevTools protocol over a pair of pipes: no package is needed for
that."""

import base64
import json
import os
import select
import shutil
import subprocess
import time

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-pipe",
    "--host-resolver-rules=MAP evil.example 127.0.0.1",
)
PATIENCE = 60  # seconds: the machine may be busy with other work
BUTTON = {"button": "left", "buttons": 1, "clickCount": 1}
KEYS = {
    "Delete": 46,
    "Escape": 27,
    "ArrowLeft": 37,
    "ArrowRight": 39,
    "ArrowUp": 38,
    "ArrowDown": 40,
    "Tab": 9,
}


class Browser:
    """A browser with one page; a context manager.

    folder  for its profile, and for what it downloads
    """

    def __init__(self, folder):
        self.folder = folder
        self.events = []
        self._sent = 0
        self._rest = b""

    def __enter__(self):
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        flags = (*FLAGS, f"--user-data-dir={self.folder / 'profile'}")
        # Chromium's are 3 and 4
        opened = f'exec "$0" "$@" 3</dev/fd/{to_read} 4>/dev/fd/{to_write}'
        self._process = subprocess.Popen(
            ["sh", "-c", opened, BROWSER, *flags],
            pass_fds=(to_read, to_write),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._session = None
        page = next(
            target
            for target in self.send("Target.getTargets")["targetInfos"]
            if target["type"] == "page"
        )
        attached = self.send("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.send(f"{domain}.enable")
        return self

    def __exit__(self, *error):
        self._session = None
        try:
            self.send("Browser.close")
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            os.close(self._write)
            os.close(self._read)

    def send(self, method, **parameters):
        """The result of one command; what else the browser says is added to events."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        if self._session and not method.startswith("Browser."):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (reply := self._receive()).get("id") != self._sent:
            self.events.append(reply)
        assert "error" not in reply, f"{method}: {reply['error']}"
        return reply["result"]

    def _receive(self):
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], PATIENCE)
            assert ready, "the browser says nothing"
            some = os.read(self._read, 2**20)
            assert some, "the browser has ended"
            self._rest += some
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def open(self, url, width=1200, height=800, dark=False):
        """Load a page in a window of that size, and wait for its script."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.send("Emulation.setEmulatedMedia", features=[scheme, still])
        self.events.clear()  # the former page's
        self.send("Page.navigate", url=url)
        self.wait(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def run(self, script):
        """The value of an expression in the page."""
        done = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, condition):
        """Until the expression is true; returns its value."""
        end = time.monotonic() + PATIENCE
        while not (value := self.run(condition)):
            assert time.monotonic() < end, (
                f"{condition} does not come true; {self.run('document.body.innerText')}"
            )
            time.sleep(0.05)
        return value

    def choose(self, selector, paths):
        """Put files into a file input."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def drop(self, paths, x=300, y=300):
        """Drop files on the page."""
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.send("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def drag(self, start, end, steps=4):
        """Press the mouse at a place of the window, move it to another, and let go."""
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=start[0], y=start[1])
        self.send("Input.dispatchMouseEvent", type="mousePressed", x=start[0], y=start[1], **BUTTON)
        for step in range(1, steps + 1):
            x, y = (a + (b - a) * step / steps for a, b in zip(start, end))
            self.send(
                "Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, button="left", buttons=1
            )
        self.send("Input.dispatchMouseEvent", type="mouseReleased", x=end[0], y=end[1], **BUTTON)

    def press(self, key, shift=False):
        """One key, down and up."""
        code = KEYS.get(key, ord(key[0].upper()))
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                windowsVirtualKeyCode=code,
                modifiers=8 * shift,
            )

    def download(self, action):
        """The one file that comes of calling action, once it is complete."""
        folder = self.folder / f"downloads_{self._sent}"
        folder.mkdir()
        self.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        action()
        end = time.monotonic() + PATIENCE
        while not (
            found := [path for path in folder.iterdir() if not path.name.endswith(".crdownload")]
        ):
            assert time.monotonic() < end, "nothing is downloaded"
            time.sleep(0.05)
        (path,) = found
        return path

    def screenshot(self, path):
        """Write what the window shows as PNG."""
        path.write_bytes(
            base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])
        )

    def complaints(self):
        """Exceptions, and what the browser logged as an error, such as what the page's policy
        forbids.

        Answers that are no success are logged too, and left out.
        """
        self.run("0")
        said = []
        for event in self.events:
            if event.get("method") == "Runtime.exceptionThrown":
                said.append(event["params"]["exceptionDetails"])
            elif event.get("method") == "Log.entryAdded":
                entry = event["params"]["entry"]
                if entry["level"] == "error" and entry["source"] != "network":
                    said.append(entry)
        return said
