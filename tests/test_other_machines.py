"""Code for machines with less than this one, run here: what LLVM says of the CPU is cut down in a
process of its own, which then runs some test files whole.

AVX2 is what most machines have; without it there are vectors of 16 bytes. The files are those where
the sizes of vectors and of the register file make the code: large products.
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
HERE = Path(__file__).parent
SLOW = pytest.mark.slow
OLD = "avx,amx,fma,f16c,vaes,vpclmul,xop"


@pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="features of x86-64"
)
@pytest.mark.parametrize(
    ("gone", "vector_bytes", "files"),
    [
        pytest.param(
            "avx512,amx,avx10", 32, ("test_packed.py", "test_half_products.py"), id="avx2"
        ),
        # f16 in software is not there: so old are processors without instructions for it
        pytest.param(OLD, 16, ("test_packed.py", "test_packed_split.py"), id="sse", marks=SLOW),
    ],
)
def test_products(gone: str, vector_bytes: int, files: tuple[str, ...], tmp_path: Path) -> None:
    own = {"TDSL_CACHE_DIR": str(tmp_path)}
    paths = [str(HERE / name) for name in files]
    done = subprocess.run(
        [sys.executable, "-c", CUT_DOWN, gone, str(vector_bytes), *paths],
        cwd=HERE.parent,
        env=os.environ | own,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
