"""A real Prometheus scrapes a running gateway and evaluates the rules that are shipped."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import legonn
from deploy.grafana import dashboards
from legonn_loadtest.load.server import serving
from tests.deploy.manifests import ROOT

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(180)]

RULES = ROOT / "deploy/prometheus"
METRIC = re.compile(r"\b(?:legonn_|engine_process_|process_)[a-z0-9_]+|\blegonn:[a-z0-9_:]+")
EMBEDDED_ONLY = "engine_"
PORT = 39_090


def ask(path: str, **query: str) -> Any:
    url = f"http://127.0.0.1:{PORT}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.loads(answer.read())["data"]


async def until(check: Any, what: str) -> Any:
    async with asyncio.timeout(90):
        while True:
            try:
                if found := await asyncio.to_thread(check):
                    return found
            except OSError:
                pass
            await asyncio.sleep(0.5)
    raise AssertionError(what)


@pytest.fixture
async def scraped(tmp_path: Path) -> AsyncIterator[None]:
    """A gateway that has had a stream, a text and a refusal, with a Prometheus looking at it."""
    found = shutil.which("prometheus")
    assert found, "no prometheus on the path: deploy/prometheus/get FOLDER fetches Debian's"
    async with serving("fake", max_streams=4) as served:
        for name in ("recording.yml", "alerts.yml"):
            text = (RULES / name).read_text()
            (tmp_path / name).write_text(text.replace("interval: 15s", "interval: 1s"))
        config = yaml.safe_load((RULES / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        target = served.metrics.removeprefix("http://").removesuffix("/metrics")
        config["scrape_configs"] = [config["scrape_configs"][0]]
        config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        process = await asyncio.create_subprocess_exec(
            found, f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{PORT}",
            "--log.level=error",
        )  # fmt: skip
        try:
            await until(lambda: ask("query", query="up == 1")["result"], "a first scrape")
            await use(served.address)
            await until(lambda: value("sum(legonn_finals_total) > 0"), "the finals")
            yield
        finally:
            process.terminate()
            await process.wait()


async def use(address: str) -> None:
    from legonn_loadtest.load.scenario import SpeechLoad
    from legonn_loadtest.load.sources import load_clips

    content = load_clips(SpeechLoad())[0].content
    async with legonn.AsyncClient(address) as client:
        chunks = [content[at : at + 3200] for at in range(0, len(content), 3200)]
        async for _ in client.stream(chunks, sample_rate_hertz=16_000):
            pass
        await client.translate("Guten Tag", source="de")
        with pytest.raises(legonn.LegonnError):
            await client.translate("x", source="xx")


def value(query: str) -> float | None:
    result = ask("query", query=query)["result"]
    return float(result[0]["value"][1]) if result else None


def shipped_queries() -> dict[str, list[str]]:
    found = {
        f"dashboard {name}": [
            target["expr"] for panel in dashboards.page(name)["panels"]
            for target in panel["targets"]
        ]
        for name in dashboards.PAGES
    }  # fmt: skip
    for file in ("recording.yml", "alerts.yml"):
        groups = yaml.safe_load((RULES / file).read_text())["groups"]
        found[file] = [rule["expr"] for group in groups for rule in group["rules"]]
    scaler = ROOT / "deploy/kubernetes/components/keda/scaled-object.yaml"
    triggers = yaml.safe_load(scaler.read_text())["spec"]["triggers"]
    found["keda"] = [trigger["metadata"]["query"] for trigger in triggers]
    return found


async def test_everything_that_is_asked_for_exists_and_every_rule_evaluates(scraped: None):
    names = set(await asyncio.to_thread(ask, "label/__name__/values"))
    recorded = {
        rule["record"]
        for group in yaml.safe_load((RULES / "recording.yml").read_text())["groups"]
        for rule in group["rules"]
    }
    wanted = {
        (where, name)
        for where, queries in shipped_queries().items()
        for query in queries
        for name in METRIC.findall(query)
    }
    assert len(wanted) > 60
    missing = {
        (where, name)
        for where, name in wanted
        if name not in names | recorded and not name.startswith(EMBEDDED_ONLY)
    }
    assert not missing
    # An engine's process is watched as the gateway's is; the fake has none.
    engine = {name for _, name in wanted if name.startswith(EMBEDDED_ONLY)}
    assert engine
    assert {name.removeprefix(EMBEDDED_ONLY) for name in engine} <= names

    def evaluated() -> list[dict[str, Any]]:
        rules = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
        return rules if all(rule["health"] != "unknown" for rule in rules) else []

    rules = await until(evaluated, "an evaluation of every rule")
    assert len(rules) >= 24
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    firing = [rule["name"] for rule in rules if rule.get("state") == "firing"]
    assert firing == [], "a healthy gateway alarms nobody"
    free = await until(lambda: value('legonn:sessions:free_ratio{kind="speech"}'), "a record")
    assert free == 1.0


def test_every_alert_has_its_line_in_the_runbook():
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).strip().replace(" ", "-")
        for line in page.splitlines()
        if line.startswith("#")
    }
    groups = yaml.safe_load((RULES / "alerts.yml").read_text())["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert path == "docs/operations.md"
        assert anchor in anchors, rule["alert"]
        assert rule["labels"]["severity"] in {"page", "ticket"}


def test_every_alert_is_tested_on_a_recorded_series():
    groups = yaml.safe_load((RULES / "alerts.yml").read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"]}
    tests = yaml.safe_load((RULES / "rules_test.yml").read_text())["tests"]
    firing = {
        case["alertname"]
        for test in tests
        for case in test.get("alert_rule_test", ())
        if case.get("exp_alerts")
    }
    assert firing == alerts
