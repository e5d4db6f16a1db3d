"""The Dockerfile, its context and the compose file, as far as they can be judged without an engine."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from dagster._core.instance.config import dagster_instance_config
from dagster._core.workspace.config_schema import process_workspace_config

from curate_assets.settings.resolve import validated
from curate_cli.images import Environment

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
LOOSE = re.compile(r"(?i)token|secret|password|credential|api_?key")


def instructions() -> list[tuple[str, str]]:
    """Keyword and rest of every instruction, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (DOCKER / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(words[0], words[1]) for line in lines if line for words in [line.split(maxsplit=1)]]


def stages() -> dict[str, list[tuple[str, str]]]:
    """By name of the stage, the instructions that hold for it: those of the stages that it is made from first."""
    found: dict[str, list[tuple[str, str]]] = {}
    for keyword, rest in instructions():
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            current = found[name] = list(found.get(base, ()))
        elif found:
            current.append((keyword, rest))
    return found


def test_hadolint_finds_nothing():
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKER / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_everything_comes_from_one_pinned_base():
    arguments = dict(rest.partition("=")[::2] for keyword, rest in instructions() if keyword == "ARG")
    assert re.search(r":[\w.-]*\d{8}[\w.-]*$", arguments["BASE"]), "a tag with a date is not moved"
    names = [rest.split(" AS ") for keyword, rest in instructions() if keyword == "FROM"]
    seen: set[str] = set()
    for base, name in names:
        assert base in seen or base == "${BASE}${BASE_DIGEST}", f"{name} comes from {base}"
        seen.add(name)
    copied = {words.split("=")[1].split()[0] for keyword, words in instructions() if words.startswith("--from=")}
    assert copied <= seen, "files are copied from stages of this file only"


@pytest.mark.parametrize("target", ["control", "worker", *(f"worker-{name.value}" for name in Environment)])
def test_an_image_runs_as_a_user_without_rights_and_knows_no_secret(target):
    told = stages()[target]
    last = dict(told)
    assert last["USER"] == "1000:1000"
    assert json.loads(last["ENTRYPOINT"]) == ["/usr/bin/tini", "--"], "KubeRay and Dagster give the commands"
    assert "HEALTHCHECK" not in last
    variables = [rest for keyword, rest in told if keyword in ("ENV", "ARG")]
    assert variables and not [each for each in variables if LOOSE.search(each)]
    labels = " ".join(rest for keyword, rest in told if keyword == "LABEL")
    assert {"title", "licenses", "source", "revision", "version"} <= set(re.findall(r"image\.(\w+)=", labels))
    assert any("/sbom/" in rest for keyword, rest in told if keyword == "COPY")


def test_images_have_the_packages_that_the_constraints_name():
    runs = [rest for keyword, rest in instructions() if keyword == "RUN"]
    installs = [rest for rest in runs if "--requirements pyproject.toml" in rest]
    assert len(installs) == 2 and all("--constraint constraints.txt" in each for each in installs)
    assert "--excludes worker_only.txt" in installs[0] and "--excludes" not in installs[1]
    environments = [rest for rest in runs if "/srv/environments/" in rest and "--group" in rest]
    assert [re.findall(r"--group (\w+)", each) for each in environments] == [[name.value] for name in Environment]
    assert all("grep '^ray==' constraints.txt" in each for each in environments), "a cluster has one Ray"


def test_the_context_is_what_a_wheel_is_made_of():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*", "what is not named stays out"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    top = {path.split("/")[0] for path in tracked}
    assert let_in <= top
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert let_in == packages | {"docs", "LICENSE", "README.md", "constraints.txt", "pyproject.toml"}
    assert {"**/__pycache__", "**/*.pyc"} <= set(lines)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


def test_compose_follows_its_schema_and_names_what_is_there(compose):
    schema = files("check_jsonschema").joinpath("builtin_schemas", "vendor", "compose-spec.json").read_text()
    jsonschema.validate(compose, json.loads(schema))
    targets = set(stages())
    for name, service in compose["services"].items():
        image = service["image"].split("}")[1].split(":")[0] if "curate-graph" in service["image"] else ""
        assert name == "postgres" or image.removeprefix("curate-graph-") in targets
        assert not any(published.partition(":")[0] != "127.0.0.1" for published in service.get("ports", []))
        for mounted in service.get("volumes", []):
            if mounted.startswith("./"):
                assert (DOCKER / mounted.split(":")[0]).is_file()
        if name != "postgres":
            assert service["read_only"] and service["cap_drop"] == ["ALL"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert compose["services"]["daemon"]["image"].endswith(f":-{version}}}")


def test_compose_asks_for_its_secrets_and_the_readme_says_so(compose):
    asked = set(re.findall(r"\$\{(\w+):\?", (DOCKER / "compose.yaml").read_text()))
    assert asked == {"DAGSTER_POSTGRES_PASSWORD", "RAY_AUTH_TOKEN"}
    readme = (DOCKER / "README.md").read_text()
    assert all(f"{name}=" in readme for name in asked)


def test_the_files_of_compose_are_valid(compose, monkeypatch):
    monkeypatch.setenv("DAGSTER_POSTGRES_PASSWORD", "one")
    settings, _ = dagster_instance_config(str(DOCKER / "compose"))
    example = yaml.safe_load((ROOT / "examples" / "platform" / "dagster.yaml").read_text())
    for section in ("run_launcher", "run_monitoring", "run_retries", "retention"):
        assert settings[section] == example[section], section
    assert settings["storage"]["postgres"]["postgres_db"]["scheme"] == "postgresql+psycopg2"
    workspace = process_workspace_config(yaml.safe_load((DOCKER / "compose" / "workspace.yaml").read_text()))
    assert workspace.success
    (location,) = workspace.value["load_from"]
    server, words = location["grpc_server"], compose["services"]["code-server"]["command"]
    assert server["host"] == "code-server" and str(server["port"]) == words[words.index("--port") + 1]
    example_workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"][0]["python_module"]
    assert server["location_name"] == example_workspace["location_name"]
    assert example_workspace["module_name"] in words
    cluster = validated(yaml.safe_load((DOCKER / "compose" / "curate.yaml").read_text())).cluster
    assert (cluster.mode, cluster.address) == ("cluster", "http://ray-head:8265")
    for service in compose["services"].values():
        for word in service.get("command", []):
            assert shlex.split(str(word)) == [str(word)]
