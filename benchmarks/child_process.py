"""Fresh processes: what has to be measured in one that has done nothing else yet.

Modules come from bytecode, as those of an installed package do, whatever the environment says. It
is kept in a folder of its own from the first process on, for as long as the benchmarks run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
_bytecode = tempfile.TemporaryDirectory(prefix="bytecode-")


def run_python(program: str, *arguments: str, env: Mapping[str, str] | None = None) -> Any:
    """What `program` (a text, run with this folder on its path) prints last, as JSON. Raises
    RuntimeError with its complaint where it fails."""
    path = os.pathsep.join(p for p in (str(HERE), os.environ.get("PYTHONPATH")) if p)
    own = {"PYTHONPATH": path, "PYTHONPYCACHEPREFIX": _bytecode.name, "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, **(env or {}), **own},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        last = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise RuntimeError(last[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])
