"""What the engine costs by itself: rows through five stages that do nothing, one worker for each stage.

    python benchmarks/engine_overhead.py [--envs build/peers] [--only ENGINE] [--size BYTES] [--repeats 1]

The first stage makes a row's payload, the others pass it on, the last one counts. 5,000 rows of 1 MB, then 20,000 rows
of 1 kB, through ours (in process, and on Ray fused and pooled), plain Ray Data and Xenna. Rows per second are given
from the first to the last row that is through, and of the whole command, start-up and end included; CPU seconds and
memory are those of all processes. Ours hands every row of every stage back to the driver, as they are to be stored; the
others drop the payload in the last stage. Prints Markdown.
"""

# pyright: basic

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))

import environments
from floors import write_figures
from meter import Measured, measure

SIZES = ((5_000, 1_000_000), (20_000, 1_000))
"""Rows, and bytes of each."""

HEADER = """\
| engine | rows | bytes each | rows/s | with start-up | CPU-s | peak MiB |
|---|---:|---:|---:|---:|---:|---:|"""

BATCH_BYTES = 8_000_000
"""Rows travel in batches of about so many bytes, where the engine leaves that to the caller; 100 rows at most."""


def batch_of(size: int) -> int:
    """Rows in a batch."""
    return max(1, min(100, BATCH_BYTES // size))


OUR_CPUS = {"fused": 2, "pooled": 5}
"""CPUs that our Ray engine is told it has: two actors for all stages, or one for each stage."""


def ours(kind: str, metrics: bool = False, traces: bool = False) -> Callable[[int, int], Iterator[int]]:
    """Our engines: a unit for each batch of rows, which are a table's rows of one video.

    Args:
        metrics: count what is done, as with `CURATE_METRICS_PORT`.
        traces: send a span of every call of a stage to a receiver that takes them and does nothing.
    """

    def run(rows: int, size: int) -> Iterator[int]:
        import pyarrow as pa

        from curate_resources.declarations.stage import Stage, Work, Worker
        from curate_resources.declarations.table import Column, Row, Table
        from curate_resources.declarations.units import UnitFiles, UnitTable
        from curate_resources.engines.in_process import InProcessEngine
        from curate_resources.engines.pools import Layout
        from curate_resources.engines.ray_cluster import RayCluster
        from curate_resources.engines.ray_engine import RayEngine
        from curate_resources.pipeline.events import emit, listening
        from curate_resources.pipeline.plan import Plan
        from curate_resources.pipeline.run import unit_done
        from curate_resources.pipeline.run_context import RunContext
        from curate_resources.pipeline.unit import Unit
        from curate_resources.telemetry.metrics import RunMetrics
        from curate_resources.telemetry.processes import observed
        from curate_resources.telemetry.tracing import run_traceparent

        def table(name: str, *columns: Column) -> Table:
            return Table(name, "row", ("row",), (Column("row", pa.int64()), *columns), "Of a benchmark.")

        given, payloads = table("given"), table("payloads", Column("payload", pa.large_binary()))
        files = Table("files", "file", ("uri",), (Column("uri", pa.string()),), "Of a benchmark.")
        units_of = UnitTable(files, UnitFiles("file", frozenset({".bin"})), id="uri")
        counted = [table(f"counted_{index}") for index in range(4)]

        def opener(writes: Table) -> Any:
            def open_worker(config: Any, storage: Any) -> Worker:
                def work(asked: Work) -> dict[str, list[Row]]:
                    payload = {"payload": bytes(size)} if writes.name == "payloads" else {}
                    return {writes.name: [{"row": row, **payload} for row in asked.items["row"].to_pylist()]}

                return work

            return open_worker

        stages = [Stage("make", "given", (), (payloads,), opener(payloads), heavy=True)]
        stages += [Stage(each.name, "given", ("payloads",), (each,), opener(each), heavy=True) for each in counted]
        tables = {each.name: each for each in (given, payloads, *counted)}
        plan = Plan(tuple(stages), frozenset(tables) - {"given"}, tables, None, "/nowhere", units_of)

        def unit(first: int, count: int) -> Unit:
            items = [{"row": first + index, "shard": "s", "status": "ok", "fingerprint": "0"} for index in range(count)]
            return Unit("s", f"{first:08d}", {"given": pa.Table.from_pylist(items, schema=given.rows_schema)})

        batch = batch_of(size)
        units = [unit(first, min(batch, rows - first)) for first in range(0, rows, batch)]
        engine = (
            InProcessEngine() if kind == "in_process" else RayEngine(RayCluster(OUR_CPUS[kind]), cast(Layout, kind))
        )
        total = len(units)
        with ExitStack() as stack:
            if metrics:
                stack.enter_context(listening(RunMetrics()))
            if traces:
                os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = stack.enter_context(receiver())
                context = RunContext("0" * 32, run_traceparent("1" * 32))
                plan = replace(plan, context=context)
                stack.enter_context(observed(context))
            for number, done in enumerate(engine.run(plan, units), 1):
                emit(unit_done(plan, done, number, total))
                yield done.rows[counted[-1].name].num_rows

    return run


@contextmanager
def receiver() -> Iterator[str]:
    """The URL of a process of its own that answers every request with nothing."""
    code = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.terminate()
        process.wait()


def ray_data(rows: int, size: int) -> Iterator[int]:
    """Plain Ray Data: a pool of one actor for each stage, Arrow batches without copies."""
    import pyarrow as pa
    import ray

    class Make:
        def __call__(self, batch: pa.Table) -> pa.Table:
            return batch.append_column("payload", pa.array([bytes(size)] * batch.num_rows, pa.large_binary()))

    class Pass:
        def __call__(self, batch: pa.Table) -> pa.Table:
            return batch

    class Count:
        def __call__(self, batch: pa.Table) -> pa.Table:
            return batch.select(["id"])

    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    data = ray.data.range(rows, override_num_blocks=max(20, rows * size >> 25))
    for stage in (Make, Pass, Pass, Pass, Count):
        data = data.map_batches(
            stage,
            batch_format="pyarrow",
            batch_size=batch_of(size),
            zero_copy_batch=True,
            num_cpus=1,
            compute=ray.data.ActorPoolStrategy(size=1),
        )
    for batch in data.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield batch.num_rows  # pyright: ignore[reportAttributeAccessIssue]


def xenna(rows: int, size: int) -> Iterator[int]:
    """Xenna: a worker for each stage. Its rows come back together, so the last stage notes when they pass it."""
    from cosmos_xenna.pipelines import v1  # pyright: ignore[reportMissingImports]

    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder) / "times"

        class Stage(v1.Stage):
            required_resources = property(lambda self: v1.Resources(cpus=1.0))
            stage_batch_size = property(lambda self: batch_of(size))

            def process_data(self, tasks: list[Any]) -> list[Any]:
                return tasks

        class Make(Stage):
            def process_data(self, tasks: list[Any]) -> list[Any]:
                return [bytes(size) for _ in tasks]

        class Count(Stage):
            def process_data(self, tasks: list[Any]) -> list[Any]:
                with times.open("a") as file:
                    file.write(f"{time.time()} {len(tasks)}\n")
                return [0] * len(tasks)

        names = ("Pass1", "Pass2", "Pass3")  # Xenna tells stages apart by their classes
        stages = [Make(), *(type(name, (Stage,), {})() for name in names), Count()]
        config = v1.PipelineConfig(
            execution_mode=v1.ExecutionMode.STREAMING, cpu_allocation_percentage=4.0, logging_interval_s=30
        )
        specs = [v1.StageSpec(stage, num_workers=1) for stage in stages]
        v1.run_pipeline(v1.PipelineSpec(list(range(rows)), specs, config))
        for line in times.read_text().splitlines():
            when, count = line.split()
            yield Passed(int(count), float(when))


class Passed(int):
    """A number of rows that passed the last stage at a time of their own, in seconds since the epoch."""

    when: float

    def __new__(cls, count: int, when: float) -> "Passed":
        """A count with its time."""
        passed = super().__new__(cls, count)
        passed.when = when
        return passed


ENGINES: dict[str, tuple[str | None, Callable[[int, int], Iterable[int]]]] = {
    "ours, in process": (None, ours("in_process")),
    "ours, in process, with metrics": (None, ours("in_process", metrics=True)),
    "ours, in process, with metrics and traces": (None, ours("in_process", metrics=True, traces=True)),
    "ours on Ray, fused": (None, ours("fused")),
    "ours on Ray, pooled": (None, ours("pooled")),
    "Ray Data": ("ray", ray_data),
    "Xenna": ("ray", xenna),
}
"""Environment (None: this one) and the function that runs rows through: it gives counts as rows come out."""


def drive(engine: str, rows: int, size: int) -> None:
    """Run rows through one engine; prints JSON: seconds since the epoch of the first and the last row out."""
    through, first, last = 0, None, 0.0
    for count in ENGINES[engine][1](rows, size):
        last = count.when if isinstance(count, Passed) else time.time()
        first = (last, int(count)) if first is None else first
        through += count
    if through != rows or first is None:
        raise SystemExit(f"{through} of {rows} rows came through")
    print(json.dumps({"steady_rows": rows - first[1], "steady_s": last - first[0]}))


def measured(engine: str, rows: int, size: int, envs: Path) -> tuple[Measured, float | None]:
    """One run in a process of its own, and its rows per second once they flow; None if all came at once."""
    environment = ENGINES[engine][0]
    python = str(environments.python_of(envs, environment)) if environment else sys.executable
    with tempfile.TemporaryDirectory(prefix="run", ignore_cleanup_errors=True) as scratch:
        variables = {**os.environ, "RAY_ADDRESS": "local", "RAY_TMPDIR": scratch, "RAY_USAGE_STATS_ENABLED": "0"}
        log = Path(scratch) / "log"
        command = [python, __file__, "--drive", engine, str(rows), str(size)]
        result = measure(command, log, environment=variables)
        printed = log.read_text().strip().splitlines()
        if result.exit_code != 0:
            print("\n".join(printed[-20:]), file=sys.stderr)
            return result, None
        told = next(json.loads(line) for line in reversed(printed) if line.startswith('{"steady_rows"'))
    return result, told["steady_rows"] / told["steady_s"] if told["steady_s"] else None


def main() -> None:
    """Measure and print."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what is measured ends with this
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", type=Path, default=Path("build/peers"), help="folder for the peers' environment")
    parser.add_argument("--only", choices=ENGINES, action="append")
    parser.add_argument("--size", type=int, choices=[size for _, size in SIZES], help="rows of these bytes only")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures to this file: benchmarks/floors.py")
    parser.add_argument("--drive", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.drive:
        engine, rows, size = arguments.drive
        drive(engine, int(rows), int(size))
        return
    cpu: dict[tuple[str, int], float] = {}
    print(HEADER)
    for rows, size in SIZES:
        if arguments.size not in (None, size):
            continue
        for engine in arguments.only or ENGINES:
            runs = [measured(engine, rows, size, arguments.envs) for _ in range(arguments.repeats)]
            good = [(result, rate) for result, rate in runs if result.exit_code == 0]
            if not good:
                print(f"| {engine} | {rows} | {size} | failed | | | |", flush=True)
                continue
            rates = [rate for _, rate in good if rate is not None]
            cpu[engine, size] = median(result.cpu_s for result, _ in good)
            cells = (
                round(median(rates)) if rates else "all at once",
                round(rows / median(result.wall_s for result, _ in good)),
                round(median(result.cpu_s for result, _ in good), 1),
                round(median(result.peak_mib for result, _ in good)),
            )
            print(f"| {engine} | {rows} | {size} | {' | '.join(map(str, cells))} |", flush=True)
    small = min(size for _, size in SIZES)
    ratios = {
        "ray_data_per_ours_fused": ("Ray Data", "ours on Ray, fused"),
        "ray_data_per_ours_pooled": ("Ray Data", "ours on Ray, pooled"),
        "xenna_per_ours_fused": ("Xenna", "ours on Ray, fused"),
    }
    figures = {
        name: cpu[peer, small] / cpu[ours, small]
        for name, (peer, ours) in ratios.items()
        if {(peer, small), (ours, small)} <= cpu.keys()
    }
    write_figures(arguments.json, __file__, figures)


if __name__ == "__main__":
    main()
