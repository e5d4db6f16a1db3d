"""The dashboard and the alert rules: what they name exists, and Prometheus answers every query from a real run."""

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from curate_assets.operations.platform_metrics import PLATFORM_METRICS
from curate_resources.telemetry.metrics import DEATHS, RUN_METRICS

CHART = Path(__file__).resolve().parents[2] / "helm" / "curate-graph"
METRICS = {metric.name: metric for metric in (*RUN_METRICS, *PLATFORM_METRICS)}


def dashboards() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((CHART / "dashboards").glob("*.json"))]


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    return [target["expr"] for dashboard in dashboards() for panel in panels(dashboard) for target in panel["targets"]]


def rules() -> list[dict[str, Any]]:
    files = sorted((CHART / "rules").glob("*.yaml"))
    return [rule for path in files for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def kept(query: str) -> set[str]:
    """The labels that a query's results have."""
    return {label.strip() for group in re.findall(r"\bby \(([^)]*)\)", query) for label in group.split(",")}


def test_every_metric_and_label_is_declared_and_every_metric_is_shown():
    named: set[str] = set()
    for query in [*queries(), *(rule["expr"] for rule in rules())]:
        metrics = set(re.findall(r"\bcurate_\w+", query))
        assert metrics and metrics <= METRICS.keys(), query
        known = {label for name in metrics for label in METRICS[name].labels} | {"instance"}
        assert set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)\s*\"", query)) | kept(query) <= known, query
        counters = {name for name in metrics if METRICS[name].kind == "counter"}
        assert all(re.search(rf"(?:rate|increase)\({name}\b", query) for name in counters), query
        named |= metrics
    assert named == METRICS.keys()


def test_legends_and_annotations_use_labels_that_their_queries_keep():
    for dashboard in dashboards():
        for target in (target for panel in panels(dashboard) for target in panel["targets"]):
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) == kept(target["expr"]), target["expr"]
    for rule in rules():
        text = " ".join(rule["annotations"].values())
        assert set(re.findall(r"\$labels\.(\w+)", text)) <= kept(rule["expr"]), rule["alert"]
        assert rule["annotations"].keys() == {"summary", "description"} and rule["labels"]["severity"]


def lost(given: Any, known: Any, path: str = "") -> Iterator[str]:
    """Where something of `given` is not in `known`."""
    if isinstance(given, dict):
        for name, value in given.items():
            yield from lost(value, known[name], f"{path}.{name}") if name in known else [f"{path}.{name}"]
    elif isinstance(given, list):
        for number, (value, other) in enumerate(zip(given, known, strict=True)):
            yield from lost(value, other, f"{path}[{number}]")
    elif given != known:
        yield path


def test_the_dashboard_is_one_that_grafana_loads():
    """Read by the classes that Grafana generates from its schemas, which keep what they know and nothing else."""
    plugins.register_default_plugins()
    (dashboard,) = dashboards()
    read = Dashboard.from_json(dashboard)
    assert list(lost(dashboard, json.loads(JSONEncoder(sort_keys=True).encode(read)))) == []
    assert dashboard.get("id") is None and len(dashboard["uid"]) <= 40
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    cells: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        rows = range(place["y"], place["y"] + place["h"])
        own = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in rows}
        assert not own & cells, f"{panel['title']} overlaps another panel"
        cells |= own
        for target in panel.get("targets", []):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def caption_server():
    """Answers as a server of a vision model does; `url` is for `captions.endpoint`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            choice = {"finish_reason": "stop", "message": {"content": "A street with bicycles."}}
            body = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 300, "completion_tokens": 6}}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


RUN = """
from curate_cli.app import app
app({arguments!r}, standalone_mode=False)
input()  # its metrics can be read until it ends
"""


class Prometheus:
    def __init__(self, folder: Path, targets: list[str]) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "scrape_configs": [{"job_name": "curate", "static_configs": [{"targets": targets}]}],
            "rule_files": [str(path) for path in (CHART / "rules").glob("*.yaml")],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        command = ["prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
        command += [f"--web.listen-address={self.url.removeprefix('http://')}"]
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)

    def get(self, path: str, **parameters: str) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def await_rows(self, query: str, seconds: float) -> list[Any]:
        until = time.monotonic() + seconds
        while True:
            try:
                found = self.get("query", query=query)["result"]
            except OSError:  # it starts
                found = []
            if found or time.monotonic() > until:
                return found
            time.sleep(0.5)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        self._log.close()


@pytest.mark.deep
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="Debian's package prometheus is not installed")
def test_prometheus_scrapes_a_run_and_answers_every_query_and_rule(
    new_root, tmp_path, monkeypatch, request, caption_server
):
    """A run on Ray with captions, whose server tells their tokens, and `curate metrics` beside it."""
    checked = subprocess.run(["promtool", "check", "rules", *map(str, (CHART / "rules").glob("*.yaml"))], check=False)
    assert checked.returncode == 0
    root = new_root()
    run_port, root_port = free_port(), free_port()
    prometheus = Prometheus(tmp_path, [f"127.0.0.1:{run_port}", f"127.0.0.1:{root_port}"])
    request.addfinalizer(prometheus.close)
    command = [sys.executable, "-m", "curate_cli.main", "metrics", "--port", str(root_port), "--every-seconds", "2"]
    exporter = subprocess.Popen([*command, "--root", root.storage.root], stdout=subprocess.DEVNULL)
    request.addfinalizer(lambda: (exporter.terminate(), exporter.wait(20)))
    settings = {
        "clips": {"min_seconds": 0.6, "min_frames": 15, "crop_seconds": 0.2},
        "captions": {"backend": "openai", "endpoint": caption_server, "model": "seer"},
        "engine": {"kind": "ray", "cpus": 2},
    }
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings))
    arguments = ["materialize", "--config", str(config), "--root", root.storage.root, "--json"]
    code = RUN.format(arguments=arguments)
    monkeypatch.setenv("CURATE_METRICS_PORT", str(run_port))
    run = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True)
    request.addfinalizer(lambda: (run.kill(), run.wait(20)))

    assert prometheus.await_rows('curate_commits_total{asset="captions"}', 400), "the run's metrics were not scraped"
    assert prometheus.await_rows(f"{METRICS['curate_last_materialization_timestamp_seconds'].name}", 30)
    time.sleep(4)  # two scrapes more, for what is a rate
    for query in queries():
        rows = prometheus.get("query", query=query.replace("$__rate_interval", "10m"))["result"]
        assert rows and all(row["value"][1] != "NaN" for row in rows if "/" not in query), query
    evaluated = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in evaluated} == {rule["alert"] for rule in rules()}
    assert {(rule["health"], rule.get("lastError", "")) for rule in evaluated} == {("ok", "")}
    for rule in rules():  # each side of its comparison has data, so that it can fire
        for side in re.split(r" unless |(?: > [\d.]+)", rule["expr"]):
            assert not side.strip() or prometheus.get("query", query=side)["result"], (rule["alert"], side)
    assert prometheus.get("query", query=f"sum({DEATHS.name})")["result"][0]["value"][1] == "0"
