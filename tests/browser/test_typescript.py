"""The TypeScript client as a page uses it: in a browser, from another origin, through a loss."""

from __future__ import annotations

import base64
import functools
import json
import signal
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.browser.speech import over_grpc, talk
from tests.support.browser import Browser
from tests.support.process import ROOT, ServerProcess

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

BUILT = ROOT / "build/typescript"
PROTOBUF = "/node_modules/@bufbuild/protobuf/dist/esm"
MAP = {
    "legonn/browser": "/dist/browser.js",
    "@bufbuild/protobuf": f"{PROTOBUF}/index.js",
    "@bufbuild/protobuf/": f"{PROTOBUF}/",
    "@bufbuild/protobuf/codegenv2": f"{PROTOBUF}/codegenv2/index.js",
    "@bufbuild/protobuf/wkt": f"{PROTOBUF}/wkt/index.js",
}
PAGE = f"""<!doctype html><meta charset="utf-8"><title>legonn/browser</title>
<script type="importmap">{json.dumps({"imports": MAP})}</script>
<script type="module">
import {{ Client }} from "legonn/browser";
window.__Client = Client;
</script>"""
SPEAK = """
const [origin, encoded] = arguments;
const bytes = Uint8Array.from(atob(encoded), (one) => one.charCodeAt(0));
const pcm = new Int16Array(bytes.buffer);
async function* chunks() {
  for (let start = 0; start < pcm.length; start += 1600) {
    await new Promise((done) => setTimeout(done, 60));
    yield pcm.subarray(start, start + 1600);
  }
}
Object.assign(window, { __kinds: [], __finals: [], __error: "" });
(async () => {
  try {
    const client = new window.__Client(origin);
    for await (const event of client.stream(chunks(), { language: "en", resumeForMs: 120000 })) {
      window.__kinds.push(event.kind);
      if (event.kind === "final" && event.text) window.__finals.push(event.text);
    }
  } catch (error) {
    window.__error = `${error.reason}: ${error.message}`;
  }
  window.__isDone = true;
})();
"""


class Pages(SimpleHTTPRequestHandler):
    """The package as it is packed, and one page that imports it by name."""

    def do_GET(self) -> None:
        if self.path != "/":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def origin() -> Iterator[str]:
    assert (BUILT / "dist/browser.js").exists(), "run by make test-browser, which builds it"
    handler = functools.partial(Pages, directory=str(BUILT))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{pages.server_port}"
        pages.shutdown()


def test_a_page_of_another_origin_captions_through_a_loss(origin: str, window: Browser):
    pcm = (talk(5) * 32767).astype("<i2").tobytes()
    with ServerProcess(LEGONN_WEB__ORIGINS=origin) as server:
        expected = over_grpc(server.address, pcm)
        window.driver.get(f"{origin}/")
        window.wait_for("return window.__Client !== undefined")
        window.js(SPEAK, server.page.rstrip("/"), base64.b64encode(pcm).decode())
        window.wait_for("return window.__finals.length >= 2 || window.__error")
        server.end(signal.SIGKILL)
        server.start()
        window.wait_for("return window.__isDone")
        assert window.js("return window.__error") == ""
        assert " ".join(window.js("return window.__finals")) == expected
        kinds = window.js("return window.__kinds")
    assert kinds[0] == "started"
    assert kinds[-1] == "summary"
    assert kinds.count("recovered") == 1


def test_a_page_that_is_not_listed_is_told(origin: str, window: Browser):
    with ServerProcess() as server:
        window.driver.get(f"{origin}/")
        window.wait_for("return window.__Client !== undefined")
        window.js(
            "window.__refused = ''; const done = (error) => { window.__refused = error.message; };"
            "(async () => { for await (const _ of new window.__Client(arguments[0])"
            ".stream([], { attempts: 1 })); })().catch(done);",
            server.page.rstrip("/"),
        )
        window.wait_for("return window.__refused !== ''")
