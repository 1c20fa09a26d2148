"""Code for machines with less than this one, run here: what LLVM says of the CPU is cut down in a
process of its own, which then runs some test files whole.

AVX2 is what most machines have; without it there are vectors of 16 bytes. The files are those where
sizes of vectors and registers make the code: large products, convolutions, reductions, bands.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

CUT_DOWN = """
import sys
import llvmlite.binding as llvm
import pytest

known, gone = llvm.get_host_cpu_features, tuple(sys.argv[1].split(","))
llvm.get_host_cpu_features = lambda: {
    name: on and not name.startswith(gone) for name, on in known().items()
}
from tdsl.compiler.machine import host
assert host().registers.vector_bytes == int(sys.argv[2])
sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *sys.argv[3:]]))
"""
MACHINES = {"avx2": ("avx512,amx,avx10", 32), "sse": ("avx,amx,fma,f16c,vaes,vpclmul,xop", 16)}
HERE = Path(__file__).parent
FILES = ("test_packed.py", "test_packed_split.py", "test_half_products.py", "test_bands.py")


@pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="features of x86-64"
)
@pytest.mark.parametrize("machine", MACHINES)
def test_products_and_bands(machine: str, tmp_path: Path) -> None:
    gone, vector_bytes = MACHINES[machine]
    own = {"TDSL_CACHE_DIR": str(tmp_path)}
    files = [str(HERE / name) for name in FILES]
    done = subprocess.run(
        [sys.executable, "-c", CUT_DOWN, gone, str(vector_bytes), *files],
        cwd=HERE.parent,
        env=os.environ | own,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
