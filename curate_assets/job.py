"""`python -m curate_assets.job ROOT JOB`: the driver of a plan inside a cluster. It knows nothing of Dagster."""

import logging
import sys

from curate_assets.graph.root_graph import choose_graph
from curate_resources.launchers.jobs import Ledger, print_event
from curate_resources.launchers.transient_errors import passes
from curate_resources.pipeline.events import listening
from curate_resources.pipeline.run import materialize
from curate_resources.storage.root import Storage
from curate_resources.telemetry.json_logs import JsonLines, json_handler
from curate_resources.telemetry.processes import observed
from curate_resources.telemetry.profiling import check_profile


def main(root: str, job: str) -> int:
    """Do what the job's specification asks for, and note every commit in its ledger.

    Returns:
        The exit code: 0, or 1 when the ledger has an error.
    """
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout)
    logger = logging.getLogger("curate")
    logger.setLevel(logging.INFO)
    handler = json_handler(sys.stdout)
    handler.addFilter(lambda record: record.name != "curate.events")  # these are printed as what they are
    logger.addHandler(handler)
    logger.propagate = False
    ledger = Ledger(Storage(root), job)
    try:
        choose_graph(root)
        from curate_assets.graphs import GRAPH
        from curate_assets.orchestration.engines import engine_of
        from curate_assets.settings.resolve import validated

        spec = ledger.spec()
        config = validated(spec.config)
        stages = [stage for stage in GRAPH.stages if stage.name in spec.stages]
        plan = GRAPH.plan(frozenset(spec.wanted), config, root, spec.force, spec.failed_only, stages, spec.context)
        handler.setFormatter(JsonLines(spec.context.run))
        check_profile(spec.context.profile)
        known = {(each.table, each.shard) for each in ledger.begin()}
        with listening(print_event), observed(spec.context):
            for done in materialize(plan, spec.shards, engine_of(config), spec.mode):
                if (done.table, done.shard) not in known:
                    known.add((done.table, done.shard))
                    ledger.record(len(known) - 1, done)
    except Exception as error:
        logger.exception("the job failed")
        ledger.close(f"{type(error).__name__}: {error}", passes(error, root))
        return 1
    ledger.close(None)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
