"""CPU time is that of all processes that work for a computation, and of no other computation.

In a process of its own, because the threads of libraries that other tests have loaded spend time, too.
"""

import json
import subprocess
import sys

_SCRIPT = """
import json, subprocess, sys, time
from curate_resources.pipeline.stopwatch import Stopwatch

def burn(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass

grandchild = "import time\\nwhile time.process_time() < 0.4: pass"
child = f'''
import subprocess, sys
subprocess.run([sys.executable, "-c", {grandchild!r}])
print("burnt", flush=True)
sys.stdin.read()
'''
found = {}
watch, alone = Stopwatch(children=True), Stopwatch(children=False)
with subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
    process.stdout.readline()
    found["while it is there"], found["of this process alone"] = watch.spent[1], alone.spent[1]
    process.stdin.close()
    process.wait()
    found["after it"] = watch.spent[1]
watch = Stopwatch(children=False)
watch.without(burn)(0.4)
found["for others"] = watch.spent[1]
burn(0.4)
found["own"] = watch.spent[1]
print(json.dumps(found))
"""


def test_children_count_and_what_is_done_for_others_does_not() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True)
    spent = json.loads(done.stdout)
    assert spent["while it is there"] >= 0.4 and spent["after it"] >= 0.4
    assert spent["of this process alone"] < 0.3
    assert spent["for others"] < 0.3 and 0.4 <= spent["own"] < 0.7
