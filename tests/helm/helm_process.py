"""Helm in a process of its own, which conftest.py starts: its runtime, Go's, crashes beside others that tests load.

A line of JSON asks for a call, another has its result or what Helm says is wrong.
"""

import json
import sys

from helm_python import Chart, HelmError, lint

path = sys.argv[1]
with Chart.load(path) as chart:
    calls = {"render": chart.render, "validate_schema": chart.validate_schema}
    for line in sys.stdin:
        name, values, options = json.loads(line)
        try:
            made = lint(path, values, **options) if name == "lint" else calls[name](values, **options)
            answer = {"result": made}
        except HelmError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)
