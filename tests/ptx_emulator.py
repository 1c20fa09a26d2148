"""A GPU in NumPy: PTX kernels run with a lane for every thread, and every access is watched.

In: PTX text, launches, arrays in a `DeviceMemory`. Out: the memory afterwards, or an
`EmulationError` for what would be wrong on a device: an access out of bounds, misaligned or of
memory never written; two threads that meet in a byte, in shared memory with no barrier between
them, in global memory at all; a barrier or a shuffle that some thread never reaches.

The threads at the lowest place in the program step together, so that they reconverge as on a
device; with `shuffle`, a warp chosen at random steps instead. A thread that has left the kernel is
not waited for. Arithmetic is IEEE's: `fma` rounds once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

import ptx_arithmetic as arithmetic
