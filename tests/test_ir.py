"""What is written for LLVM: to LLVM it is the same as what llvmlite writes."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import llvmlite.ir
import pytest
from tdsl.compiler import ir
from tdsl.compiler.llvm_vector import constant
from tdsl.compiler.machine import host

Build = Callable[[Any, Any, Any], None]
"""Fills a function, given the module that is called `ir`, a builder, and the function."""


def _read(text: str) -> str:
    """As LLVM writes it, names apart."""
    module = llvm.parse_assembly(text, llvm.create_context())
    module.verify()
    return "".join(map(_plain, re.split("^(?=define)", str(module), flags=re.MULTILINE)))


def _plain(text: str) -> str:
    """The text of a function without comments, its names in order."""
    text = re.sub(r"^source_.*| *;.*", "", text, flags=re.MULTILINE)
    text = re.sub(r'^("?[\w.]+"?):', r"%\1:", text, flags=re.MULTILINE)
    names: dict[str, str] = {}
    return re.sub(
        r'%(?:"[^"]*"|[\w.]+)',
        lambda m: names.setdefault(m[0].replace('"', ""), f"%{len(names)}"),
        text,
    )


def _written(made_by: Any, build: Build) -> str:
    module = made_by.Module("m")
    module.triple = host().triple
    i64, f32, p = made_by.IntType(64), made_by.FloatType(), made_by.PointerType()
    vectors = [made_by.VectorType(f32, 4), made_by.VectorType(i64, 4)]
    t = made_by.FunctionType(made_by.VoidType(), [i64, i64, f32, f32, p, *vectors])
    f = made_by.Function(module, t, "f")
    f.args[4].name = "p"
    f.args[4].add_attribute("noalias")
    f.attributes.add("nounwind")
    b = made_by.IRBuilder(f.append_basic_block("entry"))
    build(made_by, b, f)
    if not b.block.is_terminated:
        b.ret_void()
    return str(module)


def arithmetic(ir: Any, b: Any, f: Any) -> None:
    x, y, u, v, _, w, n = f.args
    for name in ("add", "sub", "mul", "sdiv", "udiv", "srem", "urem", "shl", "lshr", "ashr"):
        getattr(b, name)(x, y)
    for name in ("and_", "or_", "xor"):
        getattr(b, name)(n, n)
    for name in ("fadd", "fsub", "fmul", "fdiv", "frem"):
        getattr(b, name)(u, v)
    b.add(x, y, flags=["nsw"])
    b.not_(x), b.not_(n), b.neg(x), b.neg(n), b.fneg(w)
    b.not_(b.icmp_signed("<", n, n))


def comparisons(ir: Any, b: Any, f: Any) -> None:
    x, y, u, v, _, w, _ = f.args
    for how in ("<", ">", "<=", ">=", "==", "!="):
        b.icmp_signed(how, x, y)
        b.icmp_unsigned(how, x, y)
        b.fcmp_ordered(how, u, v)
        b.fcmp_unordered(how, w, w)
    b.fcmp_unordered("uno", u, v)
    b.select(b.fcmp_ordered("ord", u, v), x, y)


def casts(ir: Any, b: Any, f: Any) -> None:
    x, _, u, _, p, w, n = f.args
    i32, i128, f64 = ir.IntType(32), ir.IntType(128), ir.DoubleType()
    b.trunc(x, i32), b.zext(x, i128), b.sext(x, i128), b.fpext(u, f64), b.fptrunc(u, ir.HalfType())
    b.bitcast(u, i32), b.sitofp(x, f64), b.uitofp(n, w.type), b.fptosi(u, i32), b.fptoui(w, n.type)
    b.ptrtoint(p, x.type), b.inttoptr(x, p.type)
    assert b.trunc(x, x.type) is x


def vectors(ir: Any, b: Any, f: Any) -> None:
    x, _, u, _, _, w, _ = f.args
    zero, i32 = ir.Constant(ir.IntType(32), 0), ir.IntType(32)
    one = b.insert_element(ir.Constant(w.type, ir.Undefined), u, zero)
    b.shuffle_vector(one, w, ir.Constant(ir.VectorType(i32, 8), [0, 1, 2, 3, 4, 4, 4, 7]))
    b.extract_element(w, zero)
    pair = ir.Constant(ir.LiteralStructType([x.type, u.type]), ir.Undefined)
    b.extract_value(b.insert_value(b.insert_value(pair, x, 0), u, 1), 1)


def memory(ir: Any, b: Any, f: Any) -> None:
    x, y, u, _, p, w, _ = f.args
    with b.goto_entry_block():
        slot = b.alloca(ir.ArrayType(ir.FloatType(), 3))
    slot.align = 64
    b.alloca(x.type, x)
    b.store(w, b.gep(p, [x, y], source_etype=ir.ArrayType(u.type, 4)), align=4)
    b.load(p, typ=w.type, align=16), b.load(p, typ=x.type)
    b.load_atomic(p, "seq_cst", 8, typ=x.type)
    b.atomic_rmw("xchg", p, x, "acq_rel")
    b.extract_value(b.cmpxchg(p, x, y, "seq_cst", "monotonic"), 1)


def calls(ir: Any, b: Any, f: Any) -> None:
    x, _, _, _, p, w, _ = f.args
    module, i32 = f.module, ir.IntType(32)
    printf = ir.Function(module, ir.FunctionType(i32, [p.type], var_arg=True), "printf")
    b.call(printf, [p, x])
    total = ir.FunctionType(w.type.element, [w.type.element, w.type])
    declared = ir.Function(module, total, "llvm.vector.reduce.fadd.v4f32")
    b.call(declared, [ir.Constant(w.type.element, 0.0), w], fastmath=("reassoc",))
    g = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "g")
    g.linkage = "internal"
    for attribute in ("noinline", "optnone"):
        g.attributes.add(attribute)
    b.call(g, [], tail=True)
    ir.IRBuilder(g.append_basic_block()).ret_void()


def branches(ir: Any, b: Any, f: Any) -> None:
    x, y, u, v, p, _, _ = f.args
    before = b.block
    head, after = f.append_basic_block("for"), f.append_basic_block("for")
    b.branch(head)
    b.position_at_end(head)
    at = b.phi(x.type)
    at.add_incoming(ir.Constant(x.type, 0), before)
    with b.if_then(b.icmp_signed("==", at, y), likely=False):
        b.store(u, p)
    with b.if_then(b.icmp_signed("==", at, x), likely=True):
        b.ret_void()
    with b.if_else(b.fcmp_ordered("<", u, v)) as (small, large):
        with small:
            b.store(v, p)
        with large:
            b.store(x, p)
    further = b.add(at, ir.Constant(x.type, 1))
    at.add_incoming(further, b.block)
    b.cbranch(b.icmp_signed("<", further, x), head, after)
    b.position_at_end(after)
    cases = b.switch(x, after_all := f.append_basic_block())
    for k in (-1, 7):
        cases.add_case(ir.Constant(x.type, k), after_all)
    b.position_at_end(after_all)


def variables(ir: Any, b: Any, f: Any) -> None:
    module, i64, f32 = f.module, ir.IntType(64), ir.FloatType()
    table = ir.GlobalVariable(module, ir.ArrayType(i64, 3), "table")
    table.initializer = ir.Constant(table.value_type, [ir.Constant(i64, k) for k in (1, -2, 3)])
    table.linkage, table.global_constant, table.align = "internal", True, 64
    shared = ir.GlobalVariable(module, f32, "shared", addrspace=3)
    shared.initializer, shared.linkage = ir.Constant(f32, 0.1), "internal"
    ir.GlobalVariable(module, i64, module.get_unique_name("table"))
    form = ir.Constant.literal_struct([ir.Constant(i64, 0), ir.Constant(ir.PointerType(), None)])
    ir.GlobalVariable(module, form.type, "form").initializer = form
    zeros = ir.GlobalVariable(module, ir.ArrayType(f32, 2), "zeros")
    zeros.initializer = ir.Constant(zeros.value_type, None)


@pytest.mark.parametrize(
    "build", [arithmetic, comparisons, casts, vectors, memory, calls, branches, variables]
)
def test_says_what_llvmlite_says(build: Build) -> None:
    assert _read(_written(ir, build)) == _read(_written(llvmlite.ir, build))


def test_any_name_can_be_read() -> None:
    """Names of users' functions and indices end up here."""
    module = ir.Module()
    for name in ("plain", "größe β", 'a "b" \\ c', "x\ny"):
        f = ir.Function(module, ir.FunctionType(ir.VoidType(), [ir.IntType(8)] * 2), name)
        for arg in f.args:
            arg.name = name
        b = ir.IRBuilder(f.append_basic_block(name))
        after = f.append_basic_block(name)
        b.branch(after)
        ir.IRBuilder(after).ret_void()
        v = ir.GlobalVariable(module, ir.IntType(8), f"{name}_variable")
        v.initializer = ir.Constant(ir.IntType(8), 1)
    parsed = llvm.parse_assembly(str(module), llvm.create_context())
    parsed.verify()
    assert {x.name for x in parsed.functions} == {f.name for f in module.functions}


def test_mistakes_are_found_when_they_are_built() -> None:
    module = ir.Module()
    i64, f32 = ir.IntType(64), ir.FloatType()
    f = ir.Function(module, ir.FunctionType(i64, [i64, f32]), "f")
    b = ir.IRBuilder(f.append_basic_block())
    x, u = f.args
    for wrong in (
        lambda: b.add(x, u),
        lambda: b.icmp_signed("<", x, u),
        lambda: b.select(ir.Constant(ir.IntType(1), 1), x, u),
        lambda: ir.Function(module, f.function_type, "f"),
    ):
        with pytest.raises(ValueError):
            wrong()
    for args in ([x], [x, x], [x, u, u]):
        with pytest.raises(TypeError):
            b.call(f, args)
    with pytest.raises(KeyError):
        b.icmp_signed("=", x, x)
    v = ir.GlobalVariable(module, i64, "v")
    v.initializer = ir.Constant(f32, 1.0)
    with pytest.raises(TypeError):
        str(module)
    b.ret(x)
    with pytest.raises(AssertionError):
        b.ret(x)


def test_zeros_of_both_signs() -> None:
    """They are equal, and not the same."""
    for t in (ir.FloatType(), ir.VectorType(ir.DoubleType(), 4)):
        assert constant(t, 0.0).ref != constant(t, -0.0).ref
        assert constant(t, 0).ref == constant(t, 0.0).ref


def test_what_is_added_to_a_block_with_an_end_stands_before_it() -> None:
    module = ir.Module()
    i64 = ir.IntType(64)
    f = ir.Function(module, ir.FunctionType(i64, [i64]), "f")
    b = ir.IRBuilder(f.append_basic_block())
    after = f.append_basic_block()
    b.branch(after)
    early = ir.IRBuilder(b.block).mul(f.args[0], f.args[0])
    ir.IRBuilder(after).ret(early)
    llvm.parse_assembly(str(module), llvm.create_context()).verify()


def test_a_type_is_one_object_for_all_threads() -> None:
    made: list[list[ir.Type]] = []
    ready = threading.Barrier(4)

    def make() -> None:
        ready.wait()
        made.append([ir.ArrayType(ir.VectorType(ir.IntType(8), 3), 1000 + k) for k in range(500)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(x is y for types in made for x, y in zip(types, made[0], strict=True))
