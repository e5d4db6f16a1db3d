"""Commands of the release's pods, started here with the files and the environment that the chart gives them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import ListRepositoriesResponse
from dagster_shared.serdes import deserialize_value

pytestmark = pytest.mark.deep

LEAST = {"root": "/data", "images": {"registry": "registry.example.org"}}


def files(release: Any, config: str, folder: Path) -> Path:
    """A ConfigMap as a volume."""
    folder.mkdir()
    for name, text in release.one("ConfigMap", config)["data"].items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def database(postgres, render, request) -> tuple[Any, dict[str, str]]:
    """A release whose database is there, and what the environment of its pods has besides."""
    variables = postgres.database(request.node.name)
    database = {
        "host": variables["DAGSTER_POSTGRES_HOST"],
        "port": int(variables["DAGSTER_POSTGRES_PORT"]),
        "name": variables["DAGSTER_POSTGRES_DB"],
        "username": variables["DAGSTER_POSTGRES_USER"],
        "secretName": "curate-database",
    }
    password = variables["DAGSTER_POSTGRES_PASSWORD"]
    return render({**LEAST, "database": database}), {**variables, "DAGSTER_POSTGRES_PASSWORD": password}


def test_migration(database, tmp_path):
    """It works without Kubernetes, may be repeated, and leaves a database that it does not know as it was."""
    release, variables = database
    home = files(release, "migrate", tmp_path / "home")
    (container,) = release.one("Job", "migrate")["spec"]["template"]["spec"]["containers"]
    environment = {**os.environ, **variables, "DAGSTER_HOME": str(home)}
    program, *arguments = container["command"]

    def migrate() -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name(program)), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

    for _ in range(2):
        done = migrate()
        assert done.returncode == 0, done.stderr[-2000:]
    connection = psycopg2.connect(
        host=variables["DAGSTER_POSTGRES_HOST"],
        port=variables["DAGSTER_POSTGRES_PORT"],
        user=variables["DAGSTER_POSTGRES_USER"],
        password=variables["DAGSTER_POSTGRES_PASSWORD"],
        dbname=variables["DAGSTER_POSTGRES_DB"],
    )
    connection.autocommit = True
    with connection.cursor() as cursor:
        columns = "select table_name, column_name from information_schema.columns where table_schema = 'public'"
        cursor.execute(columns)
        before = sorted(cursor.fetchall())
        assert {"runs", "event_logs", "alembic_version"} <= {table for table, _ in before}
        cursor.execute("update alembic_version set version_num = 'of_a_later_version'")
        assert migrate().returncode != 0
        cursor.execute(columns)
        assert sorted(cursor.fetchall()) == before
    connection.close()


def test_code_server(database, tmp_path):
    """It answers the probe of its pod without a token of Kubernetes, and says what its runs are in."""
    release, variables = database
    home, settings = files(release, "dagster", tmp_path / "home"), files(release, "settings", tmp_path / "curate")
    (container,) = release.one("Deployment", "code-server")["spec"]["template"]["spec"]["containers"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    places = {"/srv/dagster": str(home), "/etc/curate": str(settings), "/home/curate": str(tmp_path)}
    for name, value in given.items():
        for inside, here in places.items():
            value = value.replace(inside, here) if name != "DAGSTER_CONTAINER_CONTEXT" else value
        given[name] = value
    arguments = [each.replace("0.0.0.0", "127.0.0.1").replace("4000", str(port)) for each in container["args"]]
    program, *words = container["command"]
    environment = {**os.environ, **given, **variables, "CURATE_ROOT": str(tmp_path / "root")}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name(program)), *words, *arguments],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        client = DagsterGrpcClient(port=port, host="127.0.0.1")
        assert container["readinessProbe"]["grpc"]["service"] == "DagsterApi"
        deadline = time.monotonic() + 120
        while client.health_check_query() != "SERVING":
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()[-4000:]
            time.sleep(0.5)
        answer = deserialize_value(client.list_repositories())
        assert isinstance(answer, ListRepositoriesResponse), answer
        assert answer.container_image == given["DAGSTER_CONTAINER_IMAGE"]
        assert answer.container_context == json.loads(given["DAGSTER_CONTAINER_CONTEXT"])
        assert [each.repository_name for each in answer.repository_symbols] == ["__repository__"]
        assert yaml.safe_load((settings / "curate.yaml").read_text())["cluster"]["mode"] == "kuberay"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
