"""`docs/configuration.md`: every section and key of the configuration."""

from itertools import groupby
from textwrap import fill

from curate_assets.settings.catalogue import Section, Setting, sections
from curate_assets.settings.edit import as_yaml
from curate_assets.settings.presets import OF_THE_DATASET
from curate_assets.settings.resolve import CONFIG_FILE, DEPLOYMENT_VARIABLE, PRESETS_FOLDER

_OF_THE_DATASET = fill(", ".join(f"`{key}`" for key in OF_THE_DATASET), 110).replace("\n", "\n   ")

_HEAD = f"""\
# Configuration

Generated from `curate_assets.graph.platform` by `python -m curate_assets.docs_pages`; do not edit.

Settings come from five places. The later one wins, key by key:

1. the defaults below;
2. the file that `{DEPLOYMENT_VARIABLE}` names, for what belongs to a deployment and not to its data, such as `cluster`:
   the [Helm chart](kubernetes.md) makes one;
3. `<root>/{CONFIG_FILE}`, a YAML file with the sections as its keys, and before its own keys those of the
   [preset](operations.md#presets) that its key `preset` names, such as `preset: cosmos`;
4. `<root>/{PRESETS_FOLDER}/<preset>.yaml`, likewise, of shards with a [preset](operations.md#presets), which cannot set
   {_OF_THE_DATASET};
5. what is given for one run: the file of `curate materialize --config`, or the `curation` resource in Dagster's
   launchpad.

An unknown key and a bad value are errors that name the key. Changing a setting recomputes the rows that depend on it
and nothing else; the table of each section says which assets its keys enter. Keys marked *no effect on results* change
how a result is obtained, and recompute nothing.

Above the sections, `graph` names the graph of the root, and `variants` and `reads` what it has
[several of](operations.md#variants). They are in `{CONFIG_FILE}` only, and a process reads them when it starts.
"""


def configuration_page() -> str:
    """The page."""
    return "\n".join([_HEAD, *map(_section, sections())])


def _section(section: Section) -> str:
    users = ", ".join(f"`{asset}`" for asset in section.assets)
    enters = f"Its keys enter the fingerprints of {users}." if users else ""
    lines = [f"## `{section.name}`", "", f"{section.meaning} {enters}".strip(), ""]
    for backends, settings in groupby(section.settings, key=lambda setting: setting.backends):
        if backends:
            chosen = " or ".join(f"`{section.name}.backend: {backend}`" for backend in backends)
            lines += ["", f"With {chosen}:", ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        lines += [_row(section, each) for each in settings]
    return "\n".join([*lines, ""])


def _row(section: Section, setting: Setting) -> str:
    without_effect = section.assets and not setting.recomputes
    meaning = setting.meaning + (" *No effect on results.*" if without_effect else "")
    default = "needed" if setting.required else f"`{_cell(as_yaml(setting.default))}`"
    return f"| `{setting.path}` | {_cell(setting.type)} | {default} | {_cell(meaning)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
