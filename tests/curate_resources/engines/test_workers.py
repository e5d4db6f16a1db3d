"""How much is asked of a worker at a time."""

import time

import pyarrow as pa

from curate_resources.declarations.stage import Stage
from curate_resources.declarations.table import Column, Table
from curate_resources.engines.pools import Pool
from curate_resources.engines.scheduler import Task
from curate_resources.engines.workers import Call, Crew, Worker

TABLE = Table("scores", "clip", ("clip",), (Column("clip", pa.string()),), "")
POOL = Pool((Stage("score", "clips", (), (TABLE,), lambda *_: lambda work: {}),), 0)


def test_calls_stay_small_in_units_that_are_quick_but_large():
    crew = Crew(POOL, 0, None, ())

    def answered(size: int) -> None:
        worker, call = Worker(None, None), Call([Task(0, 0, None)], None)
        worker.take(call)
        worker.busy_since = time.monotonic() - 0.001
        crew.answered(worker, call, size)

    assert crew.per_call() == 1, "nothing is known of the units yet"
    answered(size=100)
    assert crew.per_call() > 10
    answered(size=8 << 20)
    assert crew.per_call() == 2, "16 MiB in all"
