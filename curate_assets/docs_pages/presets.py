"""`docs/presets.md`: what each preset that comes with the platform takes over, with the source of every value."""

from curate_assets.settings.edit import as_yaml
from curate_assets.settings.shipped_presets import Rule, ShippedPreset, shipped_presets

_HEAD = """\
# Presets

Generated from `curate_assets/settings/shipped/` by `python -m curate_assets.docs_pages`; do not edit.

What papers and other pipelines reject, as settings of this one. They are starting points: the scores are measured by
other models and on other scales, so look at what a preset would change before you select by it.

```sh
curate preset list
curate preset show movie_gen
curate preset apply movie_gen --dry-run   # which settings would change, and from what
curate preset apply movie_gen             # writes them into curate.yaml, each with its source in a comment
```

`apply` changes the keys that the preset has and leaves all else in `curate.yaml` as it stands, comments too. Applied
again, it changes nothing. A preset can also be taken without being written: see [operations](operations.md#presets).

- A measurement that a preset switches on brings its [default thresholds](measurements.md), too. Most of them need
  `pip install 'curate-graph[measurements]'`.
- *Our number* means that the source gives none.
- Where a model is needed that no package ships, the rule counts once its settings name one. Until then `apply` leaves
  it out and says so.
- Rules without a setting cannot be reproduced here; the last column says why, or what comes near.
"""


def presets_page() -> str:
    """The page."""
    return "\n".join([_HEAD, *(_preset(name, each) for name, each in shipped_presets().items())])


def _preset(name: str, preset: ShippedPreset) -> str:
    head = [f"## `{name}`", "", f"{preset.title}. {preset.about}", ""]
    table = ["| rule | where | settings | what differs |", "|---|---|---|---|"]
    return "\n".join([*head, *table, *map(_row, preset.rules), ""])


def _row(rule: Rule) -> str:
    settings = [
        f"`{path}`: `{as_yaml(value)}`{', our number' if rule.number_is_ours(path) else ''}"
        for path, value in rule.set.items()
    ]
    if rule.needs:
        settings.append(f"where {' and '.join(f'`{path}`' for path in rule.needs)} are set")
    cells = [rule.rule, rule.source, "<br>".join(settings) or "none", rule.differs or ""]
    return f"| {' | '.join(each.replace('|', chr(92) + '|') for each in cells)} |"
