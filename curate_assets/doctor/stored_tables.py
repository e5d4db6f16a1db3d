"""The tables under the root: whether each opens, and was written by a version with the same columns."""

from curate_assets.doctor.check import Check, Deployment, Finding, failed, ok
from curate_assets.graphs import GRAPH
from curate_resources.tables.lance_tables import Tables

_RESTORE = "restore the .lance folder, or move it away and materialize the asset again"


def opened_tables(deployment: Deployment) -> Finding:
    """Every table opens and has no columns that this version does not know; those that are new come with new rows."""
    known = GRAPH.tables
    tables = Tables(deployment.storage)
    wrong: list[str] = []
    broken: list[str] = []
    seen = others = 0
    for name in (each.removesuffix(".lance") for each in deployment.storage.folders("tables")):
        try:
            if not tables.exists(name):
                continue  # a run was killed before the first commit
            dataset = tables.dataset(name)
            dataset.count_rows()
        except Exception as error:
            broken.append(f"{name} does not open ({type(error).__name__}: {error})")
            continue
        if name not in known:
            others += 1
            continue
        seen += 1
        stored = set(dataset.schema.names)
        lacks, besides = {*known[name].keys} - stored, stored - {*known[name].schema.names}
        if lacks or besides:
            wrong.append(f"{name} (lacks {sorted(lacks)}, has besides {sorted(besides)})")
    if broken:
        return failed("; ".join(broken), _RESTORE)
    if wrong:
        return failed(
            f"other columns than this version writes: {', '.join(wrong)}",
            "move the .lance folder away and materialize the asset again",
        )
    return ok(f"{seen} tables open" + (f", and {others} that are not of this graph" if others else ""))


CHECKS = (Check("tables", opened_tables, _RESTORE, needs=("root",), seconds=120),)
