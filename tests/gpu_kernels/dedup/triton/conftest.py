"""These run by Triton's interpreter, in a process of their own: `test_triton_forms.py` beside this folder starts it."""

import os

collect_ignore_glob = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["test_*.py"]
