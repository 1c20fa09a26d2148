"""What makes a compiled function callable from Python: its part of the native entry.

In: the module that holds `tdsl_run` and `tdsl_arena`, and the function's signature. Out: in the
same module

    tdsl_call       a METH_FASTCALL | METH_KEYWORDS function of the C API
    tdsl_again      the same for arguments that the slow path has put in order
    tdsl_bind       binds the named dims, checks every size, computes the results' shapes
    tdsl_signature  the parameters and results as data

Everything that does not depend on the function (objects, results, scratch memory, keywords) is
the shared entry's business, compiled once: `entry_code`. Compiled into every function it cost 60
ms each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import entry_table as table
from . import ir
from .binding import Bind, Equal, binding_steps
from .dims import Dim, FloorDiv, dim, product
from .dtypes import STRONG
from .entry_builder import I64, PTR, Builder, Callee
from .graph import Comp, Function, Node, postorder

ENTER = ir.FunctionType(PTR, [PTR, PTR, I64, PTR, I64, PTR])


def add_entry(module: ir.Module, fn: Function, arrays: bool = False) -> None:
    """Add the entry of `fn` to the module that defines its `tdsl_run` and `tdsl_arena`. Results
    without axes are Python numbers, or arrays of rank 0 if `arrays`."""
    signature = _signature(module, fn, arrays)
    _bind(module, fn)
    for name, again in (("tdsl_call", 0), ("tdsl_again", 1)):
        entry = ir.Function(module, ir.FunctionType(PTR, [PTR, PTR, I64, PTR]), name)
        b = Builder(entry.append_basic_block("entry"))
        enter = Callee(b.load(b.item(signature, table.ENTER, I64), typ=PTR), ENTER)
        b.ret(b.call(enter, [*entry.args, I64(again), signature], tail=True))


def _signature(module: ir.Module, fn: Function, arrays: bool) -> Any:
    words = [0] * table.HEADER
    words[table.PARAMS] = len(fn.params)
    words[table.OUTPUTS] = len(fn.outputs)
    words[table.RETURNS_TUPLE] = int(fn.returns_tuple)
    words[table.ARRAYS] = int(arrays)
    words[table.PARAM_AXES] = sum(len(p.shape) for p in fn.params)
    words[table.OUTPUT_AXES] = sum(len(o.shape) for o in fn.outputs)
    words[table.DIMS] = len(fn.dims)
    words[table.DONATED] = len(fn.donated)
    outputs = dict(fn.donated)
    params = {o: p for p, o in fn.donated}
    for values, places in ((fn.params, outputs), (fn.outputs, params)):
        for k, value in enumerate(values):
            words += _record(value, places.get(k))
    signature = ir.GlobalVariable(module, ir.ArrayType(I64, len(words)), "tdsl_signature")
    signature.initializer = ir.Constant(signature.value_type, [I64(w) for w in words])
    return signature


def _record(value: Node, place: int | None) -> list[int]:
    record = [0] * table.RECORD
    record[table.RANK] = len(value.shape)
    record[table.KIND] = table.kind_of(value.dtype)
    record[table.BITS] = value.dtype.bits
    record[table.DTYPE] = STRONG.index(value.dtype)
    record[table.PLACE] = 0 if place is None else 1 + place
    return record


# --------------------------------------------------------------------------- sizes


def _bind(module: ir.Module, fn: Function) -> None:
    """`tdsl_bind(sizes, dims, shapes) -> work`: from the sizes of all parameters' axes, in order,
    the named dims and the sizes of all outputs' axes; a negative result means that the sizes
    contradict each other or a requirement. `work` says about how much there is to do."""
    f = ir.Function(module, ir.FunctionType(I64, [PTR] * 3), "tdsl_bind")
    b = Builder(f.append_basic_block("entry"))
    sizes, dims, shapes = f.args
    axes = iter(range(sum(len(p.shape) for p in fn.params)))
    given = [[b.load(b.item(sizes, next(axes), I64), typ=I64) for _ in p.shape] for p in fn.params]
    env: dict[str, Any] = {}
    holds: ir.Value = ir.Constant(ir.IntType(1), 1)
    for step in binding_steps([p.shape for p in fn.params]):
        size = given[step.position][step.axis]
        match step:
            case Bind():
                left = b.sub(size, _size(b, step.rest, env))
                factor = I64(step.factor)
                holds = b.and_(holds, b.equal(b.srem(left, factor), I64(0)))
                env[step.name] = b.sdiv(left, factor)
                holds = b.and_(holds, b.icmp_signed(">=", env[step.name], I64(0)))
            case Equal():
                holds = b.and_(holds, b.equal(size, _size(b, step.expected, env)))
    for requirement in fn.requirements:
        value = _size(b, requirement.nonnegative, env)
        holds = b.and_(holds, b.icmp_signed(">=", value, I64(0)))
    for k, name in enumerate(fn.dims):
        b.store(env[name], b.item(dims, k, I64))
    results = [_size(b, d, env) for o in fn.outputs for d in o.shape]
    for k, size in enumerate(results):
        b.store(size, b.item(shapes, k, I64))
    b.ret(b.select(holds, _size(b, scalar_operations(fn), env), I64(-1)))


def _size(b: Builder, d: Dim, env: Mapping[str, Any]) -> Any:
    """The value of a size expression."""
    total: Any = I64(0)
    for monomial, coefficient in d.terms:
        term: Any = I64(coefficient)
        for atom in monomial:
            match atom:
                case FloorDiv():
                    divisor = I64(atom.divisor)
                    numerator = _size(b, atom.numerator, env)
                    below = b.icmp_signed("<", b.srem(numerator, divisor), I64(0))
                    factor = b.sub(b.sdiv(numerator, divisor), b.zext(below, I64))
                case _:
                    factor = env[atom]
            term = b.mul(term, factor)
        total = b.add(total, term)
    return total


def scalar_operations(fn: Function) -> Dim:
    """About how many scalar operations a call does, as a size expression: one per index value of
    every comprehension."""
    return sum(
        (product(n.extents) for n in postorder(fn.outputs) if isinstance(n, Comp)), start=dim(0)
    )
