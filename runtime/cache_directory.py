"""Where what was made once is kept: compiled code.

In: the environment. Out: a folder, which need not exist.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


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
