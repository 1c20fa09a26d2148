"""Where what was made once is kept: the grammar's tables and, for the run time, compiled code.

In: the environment. Out: a folder, which need not exist. Apart from everything else, so that a
warm start that parses nothing imports nothing of the parser.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

#: What the names of stored grammar tables begin with.
GRAMMAR_PREFIX = "grammar-"


def cache_directory() -> Path:
    """`$TDSL_CACHE_DIR`, else the platform's place for a user's caches."""
    own = os.environ.get("TDSL_CACHE_DIR")
    if own:
        return Path(own)
    home = Path(os.path.expanduser("~"))  # unlike Path.home(), never raises
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "tdsl"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home) / "tdsl" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "tdsl"
