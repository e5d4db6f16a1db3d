"""What a worker in an environment of its own needs of ours: a small core, held to it at every import statement."""

import subprocess
import sys
from pathlib import Path

_DRIVER = """
import sys
from ray import cloudpickle
from curate_assets.settings.resolve import validated
from curate_assets.video.graph import VIDEO

with open(sys.argv[1], "wb") as file:
    cloudpickle.dump(VIDEO.plan({"captions"}, validated({}), "/nowhere"), file)
"""

_CHILD = """
import builtins, sys

CORE = {"numpy", "pyarrow", "pydantic", "pydantic_core", "annotated_types", "typing_extensions", "yaml"}
OURS = ("curate_assets", "curate_resources", "gpu_kernels")
plain_import = builtins.__import__

def checked(name, globals=None, locals=None, fromlist=(), level=0):
    top = name.split(".")[0]
    importer = (globals or {}).get("__name__", "")
    if importer.startswith(OURS) and level == 0 and not (
        top in sys.stdlib_module_names or top in CORE or top in OURS
    ):
        raise ImportError(f"{importer} imports {name}, which is not in the core", name=name)
    return plain_import(name, globals, locals, fromlist, level)

builtins.__import__ = checked

import pickle
import pyarrow as pa
from curate_resources.engines.scheduler import Task
from curate_resources.engines.stage_actor import Done, Order, StageActor
from curate_resources.pipeline.unit import Unit

plan = pickle.load(open(sys.argv[1], "rb"))
tables = plan.tables
clip = {"video_id": "v", "clip_id": "c", "start_frame": 0, "end_frame": 8, "selected": True, "keeper": True}
clip |= {"shard": "s", "status": "ok", "fingerprint": "f"}
board = [clip | {"frame": frame, "pts_ns": frame, "path": "p", "offset": 0, "bytes": 1} for frame in range(8)]

def typed(table, rows):
    names = table.rows_schema.names
    kept = [{name: value for name, value in row.items() if name in names} for row in rows]
    return pa.Table.from_pylist(kept, schema=table.rows_schema)

(stage,) = plan.stages
rows = {name: typed(tables[name], board if name == "storyboards" else [clip]) for name in stage.inputs}
actor = StageActor(plan, 1, gpus=0.0)
answers = actor.call([Order.of(Task(0, 0, None), lambda handle: (0, 0))], Unit("s", "u", rows).to_arrow())
table, told = answers
assert isinstance(told, Done)
(row,) = Unit.from_arrow(table, 0, tables).rows["captions"].to_pylist()
assert (row["caption_status"], row["error"]) == ("skipped", None), row
actor.close()
"""


def test_a_worker_needs_only_the_core(tmp_path: Path):
    """As one on Ray: it is sent the plan, and opens what there is to do."""
    repository = Path(__file__).resolve().parents[3]
    for script in (_DRIVER, _CHILD):  # processes of their own: Ray reads its settings once, when it is imported
        command = [sys.executable, "-c", script, str(tmp_path / "plan")]
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
