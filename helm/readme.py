"""Write `helm/curate-graph/README.md` from the chart's values and their comments: `python helm/readme.py`."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

CHART = Path(__file__).with_name("curate-graph")
_HEAD = """\
# curate-graph

Generated from `values.yaml` by `python helm/readme.py`; do not edit.

{description}

```sh
helm install curate-graph helm/curate-graph --namespace curation --set root=s3://bucket/curate \\
  --set images.registry=registry.example.org/video --set database.host=postgres.example.org \\
  --set database.secretName=curate-database
```

[docs/kubernetes.md](../../docs/kubernetes.md) goes from an empty namespace to a backfill, and says what was tried on a
real cluster. Whole sets of values: [ci/](ci), which the tests render, and [examples](../examples).

| value | default | meaning |
|---|---|---|
"""


def readme() -> str:
    """The page."""
    description = yaml.safe_load((CHART / "Chart.yaml").read_text())["description"]
    described = list(described_values())
    groups = {path for path, _, _ in described if any(other.startswith(f"{path}.") for other, _, _ in described)}
    rows = (
        f"| `{path}` | {'' if value == '' or path in groups else f'`{_flow(value)}`'} | {meaning} |\n"
        for path, value, meaning in described
    )
    return _HEAD.format(description=description) + "".join(rows)


def described_values() -> Iterator[tuple[str, object, str]]:
    """Every value with a comment above it: its path, its default and the comment."""
    text = (CHART / "values.yaml").read_text()
    values = yaml.safe_load(text)
    above: list[str] = []
    path: list[str] = []
    for line in text.splitlines():
        if comment := re.fullmatch(r" *# (.*)", line):
            above.append(comment[1])
        elif key := re.match(r"( *)([\w.-]+):", line):
            path = [*path[: len(key[1]) // 2], key[2]]
            if above:
                value = values
                for part in path:
                    value = value[part]
                yield ".".join(path), value, " ".join(above)
            above = []


def _flow(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).replace("\n...", "").strip()


if __name__ == "__main__":
    (CHART / "README.md").write_text(readme())
