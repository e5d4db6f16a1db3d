"""What is written beside the code agrees with it: pages, links, commands, settings, SQL, and the other manifests."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import typer.main
import yaml

from curate_assets.docs_pages.__main__ import pages
from curate_assets.graph.root_graph import GraphChoice
from curate_assets.graph.variants import with_variants
from curate_assets.graphs import GRAPH
from curate_assets.operations.query import run_query
from curate_assets.orchestration.asset_selection import selected
from curate_assets.settings.resolve import CurationConfig
from curate_cli.app import app
from curate_resources.launchers.kuberay import RIGHTS, KubeRayJobs
from curate_resources.launchers.rayjob import cluster_template
from curate_resources.sources.declared import Sources
from curate_resources.storage.profiles import StorageSettings

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "docker" / "README.md", *(ROOT / "docs").glob("*.md")])
MAKEFILE = (ROOT / "Makefile").read_text()
MAKE_TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)) | {
    f"env-{name}"
    for names in re.findall(r"^(?:ENVIRONMENTS := (.*)|\.venvs/([a-z-]+)/.*)$", MAKEFILE, re.MULTILINE)
    for name in " ".join(names).split()
}
CURATE = typer.main.get_command(app)


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def spans(page: Path) -> list[str]:
    """Inline code, outside of fenced blocks."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every documented command line as a shell would split it, with the page that has it."""
    for page in PAGES:
        lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
        for line in [*lines, *spans(page)]:
            if re.match(r"(curate|make|dagster) [a-z]", line):
                yield page.name, shlex.split(line, comments=True)


COMMANDS = list(commands())


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", pages())
def test_generated_pages_are_current(path):
    assert (ROOT / path).read_text() == pages()[path], "run `python -m curate_assets.docs_pages`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name} links to {link}, which is not there"
        assert not anchor or anchor in anchors(file), f"{page.name} links to {link}: there is no such heading"


def test_documented_make_targets_exist():
    named = {words[1] for _, words in COMMANDS if words[0] == "make"}
    assert {"demo", "test", "dev"} <= named <= MAKE_TARGETS


def test_documented_curate_commands_exist():
    known = {
        name: {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
        for name, command in _commands(CURATE)
    }
    seen = set()
    for page, words in COMMANDS:
        if words[0] != "curate":
            continue
        name = " ".join(words[1:3]) if " ".join(words[1:3]) in known else words[1]
        rest = words[1 + len(name.split()) :]
        assert name in known, f"{page}: {shlex.join(words)}"
        unknown = {word for word in rest if word.startswith("--")} - known[name]
        assert not unknown, f"{page}: {shlex.join(words)}"
        seen.add(name)
    assert seen == set(known), "every command is documented"


def _commands(group, before=""):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def test_documented_selections_name_assets():
    example = {"brightness_scores"}
    for page, words in COMMANDS:
        for option, value in pairwise(words):
            if option == "--select" and value not in {*example, "..."}:
                assert selected(value), f"{page}: {shlex.join(words)}"
            if option == "-f":
                assert (ROOT / value).is_file(), f"{page}: {shlex.join(words)}"


def test_documented_settings_exist():
    sections = {
        name: set(section.model_fields)
        for name, field in CurationConfig.model_fields.items()
        if isinstance(section := field.annotation, type)
    }
    mentioned = 0
    for page in PAGES:
        for section, key in re.findall(r"(?<![\w/.])([a-z_]+)\.([a-z_]+)(?![\w/(.])", "\n".join(spans(page))):
            if section in sections and key not in {"md", "py", "lance"}:
                assert key in sections[section], f"{page.name}: {section}.{key}"
                mentioned += 1
        for written in map(yaml.safe_load, blocks(page, "yaml")):
            if page.name == "storage.md":
                StorageSettings.model_validate(written)
            elif "sources" in written and "root" not in written:
                Sources.model_validate(written)
            elif "kind" not in written and "root" not in written:  # else for Kubernetes or its chart: tests/helm
                chosen = {key: written[key] for key in GraphChoice.model_fields if key in written}
                with_variants(GRAPH, GraphChoice.model_validate(chosen)).config_model(
                    "Settings", __name__
                ).model_validate(written)
    assert mentioned > 50


def test_documented_kubernetes_objects_are_accepted_and_suffice(kubernetes, tmp_path):
    texts = blocks(ROOT / "docs" / "kubernetes.md", "yaml")
    objects = {written.get("kind"): (text, written) for text in texts for written in [yaml.safe_load(text)]}
    template = tmp_path / "cluster.yaml"
    template.write_text(objects["RayCluster"][0])
    server = KubeRayJobs(kubernetes.namespace, cluster_template(str(template)))
    server.submit("job", "true")
    assert server.state("job")
    allowed = {
        (group, resource, verb)
        for rule in objects["Role"][1]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert allowed == set(RIGHTS)


def test_documented_sql_runs(finished):
    statements = [(page, words[2]) for page, words in COMMANDS if words[:2] == ["curate", "query"] and len(words) > 2]
    assert len(statements) > 5
    for page, sql in statements:
        assert run_query(finished.storage, sql).column_names, f"{page}: {sql}"


def test_pixi_and_make_mirror_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pixi = tomllib.loads((ROOT / "pixi.toml").read_text())

    def names(requirements: list[str]) -> dict[str, str]:
        parsed = (re.fullmatch(r"([\w-]+)(?:\[[\w,]+\])?([^;]*).*", requirement) for requirement in requirements)
        return {match[1]: match[2] for match in parsed if match}

    def versions(table: dict) -> dict[str, str]:
        given = {name: value if isinstance(value, str) else value.get("version") for name, value in table.items()}
        return {name: version for name, version in given.items() if name != project["project"]["name"]}

    assert versions(pixi["pypi-dependencies"]) == names(project["project"]["dependencies"])
    assert versions(pixi["feature"]["dev"]["pypi-dependencies"]) == names(project["dependency-groups"]["dev"])
    groups = project["dependency-groups"]
    (makes,) = re.findall(r"^ENVIRONMENTS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(makes.split()) == {*pixi["environments"]} - {"default", "dev", "cuda"} == {*groups} - {"dev"}
    for name in makes.split():
        own = [each for each in groups[name] if isinstance(each, str)]
        included = [each["include-group"] for each in groups[name] if isinstance(each, dict)]
        assert versions(pixi["feature"][name]["pypi-dependencies"]) == names(own)
        assert pixi["environments"][name] == {"features": ["alone", *included, name], "no-default-feature": True}
    whole = [
        "faiss",
        "kubernetes",
        "measurements",
        "observability",
        "platform",
        "profiling",
        "search",
        "speech",
    ]  # what `make env` and `make env-cuda` install
    assert all(f"'.[{','.join(whole)}]'" in line for line in MAKEFILE.splitlines() if "--editable '" in line)
    assert {name: pixi["environments"][name] for name in ("default", "dev", "cuda")} == {
        "default": whole,
        "dev": ["dev", *whole],
        "cuda": ["cuda", *whole],
    }
    assert "pypi-dependencies" not in pixi["feature"]["cuda"]
    extras = project["project"]["optional-dependencies"]
    for extra, requirements in extras.items():
        assert versions(pixi["feature"][extra]["pypi-dependencies"]) == names(requirements)


def test_dagster_cloud_names_the_location_of_the_workspace(monkeypatch):
    from dagster_k8s.container_context import K8sContainerContext

    (location,) = yaml.safe_load((ROOT / "dagster_cloud.yaml").read_text())["locations"]
    (loaded,) = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    assert location["location_name"] == loaded["python_module"]["location_name"]
    assert (
        location["code_source"]["module_name"] == loaded["python_module"]["module_name"] == "curate_assets.definitions"
    )
    monkeypatch.setenv("CURATE_ROOT", "s3://bucket/curate")
    context = K8sContainerContext.create_from_config(location["container_context"])  # an unknown key raises
    secrets = [source["secret_ref"]["name"] for source in context.run_k8s_config.container_config["env_from"]]
    assert secrets == location["container_context"]["k8s"]["env_secrets"]
