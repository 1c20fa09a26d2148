"""The remainder in integer arithmetic equals C's `fmod`, bit for bit, over all exponents."""

from __future__ import annotations

import ctypes
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from tdsl.compiler import ir
from tdsl.compiler.exact_remainder import replace_remainders

FORMATS: dict[str, tuple[ir.Type, Any, Any]] = {
    "float32": (ir.FloatType(), ctypes.c_float, np.uint32),
    "float64": (ir.DoubleType(), ctypes.c_double, np.uint64),
}


def module_with_remainder(t: ir.Type) -> ir.Module:
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(t, [t, t]), "remainder")
    b = ir.IRBuilder(function.append_basic_block())
    b.ret(b.frem(*function.args))
    replace_remainders(module)
    return module


@pytest.mark.parametrize("name", FORMATS)
def test_remainders_are_exact(name: str) -> None:
    t, c_type, bits = FORMATS[name]
    text = str(module_with_remainder(t))
    assert "frem" not in text
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), machine)
    engine.finalize_object()
    remainder = ctypes.CFUNCTYPE(c_type, c_type, c_type)(engine.get_function_address("remainder"))

    rng = np.random.default_rng(0)
    edges = np.array([0, -0.0, np.inf, -np.inf, np.nan, 5e-324, 1e-45, 1e-310, 3, -3], name)
    count = 5000
    any_bits = rng.integers(0, np.iinfo(bits).max, (2, count), dtype=bits).view(name)
    eighths = (rng.integers(-50, 50, (2, count)) / 8).astype(name)
    near = rng.standard_normal(count).astype(name)
    x = np.concatenate([any_bits[0], eighths[0], near, np.repeat(edges, len(edges))])
    y = np.concatenate([any_bits[1], eighths[1], near / 3, np.tile(edges, len(edges))])
    got = np.array([remainder(a, b) for a, b in zip(x, y, strict=True)], name)
    with np.errstate(all="ignore"):
        want = np.fmod(x, y)
    wrong = (got.view(bits) != want.view(bits)) & ~(np.isnan(got) & np.isnan(want))
    assert not wrong.any(), list(zip(x[wrong], y[wrong], strict=True))[:4]


def test_another_type_is_an_error() -> None:
    with pytest.raises(TypeError, match="half"):
        module_with_remainder(ir.HalfType())
