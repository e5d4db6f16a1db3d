"""Help, version and completion: what is asked before anything is done."""

import subprocess
import sys
import tomllib
from pathlib import Path

from typer.testing import CliRunner

from curate_cli.app import app

_ASKED_FOR_HELP = """
import sys
from typer.main import get_command
from typer.testing import CliRunner
from curate_cli.app import app

commands = get_command(app).commands
inner = [[name, each] for name, command in commands.items() for each in getattr(command, "commands", [])]
assert ["config", "show"] in inner
for arguments in ([], *([name] for name in commands), *inner):
    for option in ("--help", "-h"):
        result = CliRunner().invoke(app, [*arguments, option])
        assert result.exit_code == 0 and "Usage:" in result.output, result.output
slow = {"dagster", "ray", "torch", "lance", "duckdb", "pyarrow", "numpy", "av", "cv2"}
print(sorted(slow & set(sys.modules)))
"""


def test_help_imports_nothing_that_takes_long():
    done = subprocess.run([sys.executable, "-c", _ASKED_FOR_HELP], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_the_version_is_that_of_the_package():
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())["project"]
    assert CliRunner().invoke(app, ["--version"]).output == f"curate {project['version']}\n"


def test_names_that_are_nearly_right_are_proposed():
    mistyped = CliRunner().invoke(app, ["materialise"])
    assert (mistyped.exit_code, "Did you mean 'materialize'" in mistyped.output) == (2, True)
    option = CliRunner().invoke(app, ["plan", "--selct", "clips"])
    assert (option.exit_code, "--select" in option.output) == (2, True)


def test_shells_complete_commands():
    environment = {"_CURATE_COMPLETE": "complete_bash", "COMP_WORDS": "curate ma", "COMP_CWORD": "1"}
    done = CliRunner().invoke(app, prog_name="curate", env=environment)
    assert done.output.split() == ["materialize"]
