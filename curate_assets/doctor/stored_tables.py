"""The tables under the root: whether each opens, and was written by a version with the same columns."""

from curate_assets.doctor.check import Check, Deployment, Finding, failed, ok
from curate_assets.graphs import GRAPH
from curate_resources.tables.lance_tables import Tables

_RESTORE = "restore the .lance folder, or move it away and materialize the asset again"


def opened_tables(deployment: Deployment) -> Finding:
    """Every table opens and has the columns that this version writes."""
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
        if dataset.schema.names != known[name].schema.names:
            here, there = set(known[name].schema.names), set(dataset.schema.names)
            wrong.append(f"{name} (lacks {sorted(here - there)}, has besides {sorted(there - here)})")
    if broken:
        return failed("; ".join(broken), _RESTORE)
    if wrong:
        return failed(
            f"other columns than this version writes: {', '.join(wrong)}",
            "move the .lance folder away and materialize the asset again",
        )
    return ok(f"{seen} tables open" + (f", and {others} that are not of this graph" if others else ""))


CHECKS = (Check("tables", opened_tables, _RESTORE, needs=("root",), seconds=120),)
