"""One Prometheus scrapes a gateway and the Triton servers behind it, with the shipped rules."""

from __future__ import annotations

import asyncio
import json
import shutil
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from deploy.triton.launcher import Ports
from legonn_loadtest.load.server import serving
from tests.support.triton import ROOT, Servers, listen, recordings

pytestmark = [pytest.mark.triton, pytest.mark.timeout(600)]

RULES = ROOT / "deploy/prometheus"
RULE_FILES = ("recording.yml", "alerts.yml")


class Prometheus:
    """A running one.

    Args:
        port: Of its web page, on loopback.
    """

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, path: str, **query: str) -> Any:
        """One answer of its HTTP API."""
        url = f"{self._base}/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.loads(answer.read())["data"]

    def value(self, query: str) -> float | None:
        """The first value of a query; None if there is none."""
        result = self.ask("query", query=query)["result"]
        return float(result[0]["value"][1]) if result else None

    async def until(self, check: Callable[[], object]) -> None:
        """Wait for something to hold, a minute or two."""
        async with asyncio.timeout(150):
            while True:
                try:
                    if await asyncio.to_thread(check):
                        return
                except OSError:
                    pass  # it is not up yet
                await asyncio.sleep(0.5)


@asynccontextmanager
async def scraping(folder: Path, jobs: dict[str, list[str]]) -> AsyncIterator[Prometheus]:
    """A Prometheus that looks at these targets once a second."""
    found = shutil.which("prometheus")
    assert found, "no prometheus on the path: deploy/prometheus/get FOLDER fetches Debian's"
    for name in RULE_FILES:
        text = (RULES / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace("interval: 15s", "interval: 1s"))
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": list(RULE_FILES),
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": targets}]}
            for job, targets in jobs.items()
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    port = Ports.free().http
    process = await asyncio.create_subprocess_exec(
        found, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
    )  # fmt: skip
    try:
        yield Prometheus(port)
    finally:
        process.terminate()
        await process.wait()


async def test_gateway_and_triton_are_scraped_side_by_side(
    triton_servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Untrained modules believe little of what they say; as noise it would not be shown.
    monkeypatch.setenv("LEGONN_DECODING__MIN_CONFIDENCE", "0")
    monkeypatch.setenv("LEGONN_TRITON__ENDPOINTS", triton_servers.options().endpoints)
    monkeypatch.setenv("LEGONN_TRITON__CALL_TIMEOUT_SECONDS", "60")
    targets = [server.metrics_address.split("/")[2] for server in triton_servers.all]
    async with serving("triton", max_streams=4) as gateway:
        jobs = {"legonn": [gateway.metrics.split("/")[2]], "triton": targets}
        async with scraping(tmp_path, jobs) as prometheus:
            await prometheus.until(lambda: prometheus.value("sum(up)") == 3)
            heard = await listen(gateway.address, recordings(1, seconds=3.0)[0])
            assert heard.broken == () and heard.finals
            await prometheus.until(
                lambda: (prometheus.value("sum(legonn_audio_processed_seconds_total)") or 0) > 0
            )
            # Both tell of the same work: chunks that the gateway sent are steps that Triton ran.
            await prometheus.until(
                lambda: (prometheus.value("sum(nv_inference_request_success)") or 0) > 0
            )
            assert prometheus.value("sum(nv_inference_request_failure)") == 0
            await prometheus.until(
                lambda: all(
                    rule["health"] != "unknown"
                    for group in prometheus.ask("rules")["groups"]
                    for rule in group["rules"]
                )
            )
            rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
            assert {
                one["name"]: one.get("lastError") for one in rules if one["health"] != "ok"
            } == {}
            assert [one["name"] for one in rules if one.get("state") == "firing"] == []
