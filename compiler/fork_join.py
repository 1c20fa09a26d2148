"""The fork-join pool, as LLVM IR: how the parts of one kernel run on several threads.

In: nothing. Out: functions of the routines that all compiled code shares:

    i64  tdsl_threads        how many threads a call may use, its own one included
    void tdsl_parallel(ptr part, ptr context, i64 parts, i64 bytes, ptr scratch)
    i64  tdsl_share(ptr part, ptr, ptr, ptr, ptr, i64 extent, i64 step, i64 work)
    void tdsl_worker()       the life of a worker; the run time calls it from a thread of its own
    void tdsl_stop()         lets all workers leave

`part(context, number, scratch)` is called once for each number below `parts`, by whichever thread
claims it; which one makes no difference to the result. The caller claims parts, too, and waits only
for parts that a worker has claimed, so that a worker that sleeps, or was lost in a fork, costs
nothing. `scratch` is the caller's own memory; a worker brings `bytes` of its own. One call at a
time has the pool: a second one (nested, or of another thread) runs its parts itself.

`tdsl_share` runs `part(ptr, ptr, ptr, ptr, low, high)` over a range that ends at `extent`: as one
where its `work` (operations, about) is little, else in parts of a multiple of `step` that several
threads share. It gives back what the one part returns; parts that may fail are not for it.

A claim adds 1 to TICKET, whose upper half is the number of the job. LIMIT holds the same number
and the count of parts: a claim is good if the halves agree and the count is not reached. A worker
reads what the job is only after a good claim, and the caller does not leave before every good
claim is done, so that a late worker never acts on a job that has ended.

A worker without work spins for a while, then sleeps in a futex (Linux; elsewhere there are no
workers).
"""

from __future__ import annotations

import platform
from collections.abc import Callable

from . import ir
from .entry_builder import Callee, not_hot
from .entry_table import FUTEX, POOL_STOP, POOL_WORDS, workers_can_sleep
from .instructions import I32, I64
from .llvm_vector import constant

POINTER = ir.PointerType()
VOID = ir.VoidType()
PART = ir.FunctionType(VOID, [POINTER, I64, POINTER])
PARALLEL = ir.FunctionType(VOID, [POINTER, POINTER, I64, I64, POINTER])
SHARE = ir.FunctionType(I64, [POINTER] * 5 + [I64] * 3)
_RANGE = ir.FunctionType(I64, [POINTER] * 4 + [I64] * 2)

WORTH_A_FORK = 1 << 20
"""Operations, about, from which several threads pay: some tens of microseconds."""

PARTS_A_THREAD = 4  # so that a thread that is held up does not hold up all

# words of `tdsl_pool`; those that many threads write stand on cache lines of their own
BUSY, EPOCH, FUNCTION, CONTEXT, BYTES, LIMIT = range(6)
STOP = POOL_STOP
SLEEPERS, TICKET, DONE = 8, 16, 24

_SPINS = 4000  # about 100 µs
_WAIT, _WAKE = 128, 129  # private to the process


def threads(module: ir.Module) -> ir.GlobalVariable:
    """The count, as an external symbol of a module that asks for it."""
    found = module.globals.get("tdsl_threads")
    if found is None:
        found = ir.GlobalVariable(module, I64, "tdsl_threads")
    return found


def parallel(module: ir.Module) -> ir.Function:
    """The routine, as an external symbol."""
    found = module.globals.get("tdsl_parallel")
    return ir.Function(module, PARALLEL, "tdsl_parallel") if found is None else found


def share(module: ir.Module) -> ir.Function:
    """The routine, as an external symbol."""
    found = module.globals.get("tdsl_share")
    return ir.Function(module, SHARE, "tdsl_share") if found is None else found


class _Code:
    """One function over the words of the pool."""

    def __init__(self, module: ir.Module, t: ir.FunctionType, name: str) -> None:
        self.function = ir.Function(module, t, name)
        self.function.attributes.add("nounwind")
        self.b = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.module = module

    def at(self, word: int) -> ir.Value:
        pool = self.module.globals["tdsl_pool"]
        return self.b.gep(pool, [constant(I64, word)], source_etype=I64)

    def load(self, word: int) -> ir.Value:
        return self.b.load_atomic(self.at(word), "seq_cst", 8, typ=I64)

    def store(self, word: int, value: ir.Value) -> None:
        self.b.store_atomic(value, self.at(word), "seq_cst", 8)

    def add(self, word: int, by: int) -> ir.Value:
        return self.b.atomic_rmw("add", self.at(word), constant(I64, by), "seq_cst")

    def block(self, name: str) -> ir.Block:
        return self.function.append_basic_block(name)

    def go(self, block: ir.Block) -> None:
        """Branch to a block, and go on there."""
        self.b.branch(block)
        self.b.position_at_end(block)

    def pause(self) -> None:
        """Tell the core that this thread only waits."""
        match platform.machine().lower():
            case "x86_64" | "amd64":
                self.external("llvm.x86.sse2.pause", VOID)
            case "aarch64" | "arm64":
                self.external("llvm.aarch64.hint", VOID, constant(I32, 1))

    def external(self, name: str, result: ir.Type, *args: ir.Value) -> ir.Value:
        found = self.module.globals.get(name)
        if found is None:
            t = ir.FunctionType(result, [x.type for x in args])
            found = ir.Function(self.module, t, name)
        return self.b.call(found, list(args))

    def futex(self, operation: int, value: ir.Value) -> None:
        """On the lower half of EPOCH."""
        if not workers_can_sleep():
            return
        number = constant(I64, FUTEX[platform.machine().lower()])
        none = constant(I64, 0)
        at = self.b.ptrtoint(self.at(EPOCH), I64)
        self.external("syscall", I64, number, at, constant(I64, operation), value, none, none, none)


def add_pool(module: ir.Module) -> None:
    for name, t, value in (
        ("tdsl_threads", I64, ir.Constant(I64, 1)),
        ("tdsl_pool", ir.ArrayType(I64, POOL_WORDS), None),
    ):
        variable = ir.GlobalVariable(module, t, name)
        variable.initializer = ir.Constant(t, None) if value is None else value
        variable.align = 64
    _parallel(module)
    _share(module)
    _worker(module)
    stop = _Code(module, ir.FunctionType(VOID, []), "tdsl_stop")
    not_hot(stop.function)
    stop.store(STOP, constant(I64, 1))
    stop.add(EPOCH, 1)
    stop.futex(_WAKE, constant(I64, 1 << 30))
    stop.b.ret_void()


def _parallel(module: ir.Module) -> None:
    c = _Code(module, PARALLEL, "tdsl_parallel")
    b = c.b
    function, context, parts, size, scratch = c.function.args
    alone, shared, done = c.block("alone"), c.block("shared"), c.block("done")
    count = b.load(module.globals["tdsl_threads"], typ=I64)
    several = b.and_(
        b.icmp_signed(">", count, constant(I64, 1)), b.icmp_signed(">", parts, constant(I64, 1))
    )
    attempt = c.block("attempt")
    b.cbranch(several, attempt, alone)
    b.position_at_end(attempt)
    taken = b.cmpxchg(c.at(BUSY), constant(I64, 0), constant(I64, 1), "seq_cst", "seq_cst")
    b.cbranch(b.extract_value(taken, 1), shared, alone)

    b.position_at_end(alone)

    def one(k: ir.Value) -> None:
        b.call(Callee(function, PART), [context, k, scratch])

    _loop(c, parts, one)
    b.ret_void()

    b.position_at_end(shared)
    b.store(b.ptrtoint(function, I64), c.at(FUNCTION))
    b.store(b.ptrtoint(context, I64), c.at(CONTEXT))
    b.store(size, c.at(BYTES))
    c.store(DONE, constant(I64, 0))
    epoch = b.add(c.load(EPOCH), constant(I64, 1))
    job = b.shl(epoch, constant(I64, 32))
    c.store(LIMIT, b.or_(job, parts))
    c.store(TICKET, job)
    c.store(EPOCH, epoch)
    asleep = b.icmp_signed(">", c.load(SLEEPERS), constant(I64, 0))
    with b.if_then(asleep, likely=False):
        c.futex(_WAKE, constant(I64, 1 << 30))
    claim, work, wait = c.block("claim"), c.block("work"), c.block("wait")
    c.go(claim)
    k = b.and_(c.add(TICKET, 1), constant(I64, 0xFFFFFFFF))
    b.cbranch(b.icmp_signed("<", k, parts), work, wait)
    b.position_at_end(work)
    one(k)
    c.add(DONE, 1)
    b.branch(claim)
    b.position_at_end(wait)
    turns = b.phi(I64)
    turns.add_incoming(constant(I64, 0), claim)
    spin = c.block("spin")
    b.cbranch(b.icmp_signed("==", c.load(DONE), parts), done, spin)
    b.position_at_end(spin)
    c.pause()
    more = b.add(turns, constant(I64, 1))
    crowded = b.icmp_signed("==", b.and_(more, constant(I64, 255)), constant(I64, 0))
    with b.if_then(crowded, likely=False):  # more threads than cores: let the worker go on
        if workers_can_sleep():
            c.external("sched_yield", I32)
    turns.add_incoming(more, b.block)
    b.branch(wait)
    b.position_at_end(done)
    c.store(BUSY, constant(I64, 0))
    b.ret_void()


def _share(module: ir.Module) -> None:
    c = _Code(module, SHARE, "tdsl_share")
    b = c.b
    part, *pointers, extent, step, work = c.function.args
    threads = b.load(module.globals["tdsl_threads"], typ=I64)
    several = b.and_(
        b.icmp_signed(">=", work, constant(I64, WORTH_A_FORK)), b.icmp_signed(">", extent, step)
    )
    several = b.and_(several, b.icmp_signed(">", threads, constant(I64, 1)))
    with b.if_then(b.not_(several)):
        b.ret(b.call(Callee(part, _RANGE), [*pointers, constant(I64, 0), extent]))
    parts = b.mul(threads, constant(I64, PARTS_A_THREAD))
    each = b.mul(up(b, up(b, extent, parts), step), step)
    words = [b.ptrtoint(x, I64) for x in (part, *pointers)] + [each, extent]
    context = b.alloca(ir.ArrayType(I64, len(words)))
    for k, x in enumerate(words):
        b.store(x, b.gep(context, [constant(I64, k)], source_etype=I64))
    one = _range(module)
    none = ir.Constant(POINTER, None)
    shared = module.globals["tdsl_parallel"]
    b.call(shared, [one, context, up(b, extent, each), constant(I64, 0), none])
    b.ret(constant(I64, 0))


def _range(module: ir.Module) -> ir.Function:
    """One part of what is shared: `words` are those of `_share`."""
    c = _Code(module, PART, "tdsl_range")
    c.function.linkage = "internal"
    b = c.b
    context, number, _ = c.function.args
    words = [
        b.load(b.gep(context, [constant(I64, k)], source_etype=I64), typ=t)
        for k, t in enumerate([POINTER] * 5 + [I64] * 2)
    ]
    part, *pointers, each, extent = words
    low = b.mul(number, each)
    further = b.add(low, each)
    high = b.select(b.icmp_signed("<", further, extent), further, extent)
    b.call(Callee(part, _RANGE), [*pointers, low, high])
    b.ret_void()
    return c.function


def up(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """x / y, rounded up."""
    return b.sdiv(b.sub(b.add(x, y), constant(I64, 1)), y)


def _worker(module: ir.Module) -> None:
    c = _Code(module, ir.FunctionType(VOID, []), "tdsl_worker")
    not_hot(c.function)
    b = c.b
    kept, room = b.alloca(POINTER), b.alloca(I64)
    b.store(constant(I64, 0), kept)
    b.store(constant(I64, 0), room)
    names = (
        "look",
        "try",
        "claim",
        "work",
        "grow",
        "run",
        "idle",
        "spin",
        "sleep",
        "doze",
        "leave",
    )
    block = {name: c.block(name) for name in names}
    half, low = constant(I64, 32), constant(I64, 0xFFFFFFFF)

    def good(ticket: ir.Value, limit: ir.Value) -> ir.Value:
        same = b.icmp_unsigned("==", b.lshr(ticket, half), b.lshr(limit, half))
        return b.and_(same, b.icmp_unsigned("<", b.and_(ticket, low), b.and_(limit, low)))

    c.go(block["look"])
    seen = c.load(EPOCH)
    b.cbranch(b.icmp_signed("!=", c.load(STOP), constant(I64, 0)), block["leave"], block["try"])
    b.position_at_end(block["try"])
    b.cbranch(good(c.load(TICKET), c.load(LIMIT)), block["claim"], block["idle"])
    b.position_at_end(block["claim"])
    ticket = c.add(TICKET, 1)
    b.cbranch(good(ticket, c.load(LIMIT)), block["work"], block["idle"])

    b.position_at_end(block["work"])
    needed = b.load(c.at(BYTES), typ=I64)
    enough = b.icmp_signed("<=", needed, b.load(room, typ=I64))
    b.cbranch(enough, block["run"], block["grow"])
    b.position_at_end(block["grow"])
    c.external("free", VOID, b.load(kept, typ=POINTER))
    b.store(constant(I64, 0), kept)
    fresh = c.external("malloc", POINTER, b.add(needed, constant(I64, 64)))
    b.store(fresh, kept)
    b.store(needed, room)
    got = b.icmp_unsigned("!=", b.ptrtoint(fresh, I64), constant(I64, 0))
    again = c.block("again")
    b.cbranch(got, block["run"], again)
    b.position_at_end(again)  # out of memory for now, and the part has to be done
    b.store(constant(I64, 0), room)
    c.pause()
    b.branch(block["work"])

    b.position_at_end(block["run"])
    raw = b.ptrtoint(b.load(kept, typ=POINTER), I64)
    aligned = b.and_(b.add(raw, constant(I64, 63)), constant(I64, -64))
    function, context = (
        b.inttoptr(b.load(c.at(word), typ=I64), POINTER) for word in (FUNCTION, CONTEXT)
    )
    b.call(Callee(function, PART), [context, b.and_(ticket, low), b.inttoptr(aligned, POINTER)])
    c.add(DONE, 1)
    b.branch(block["try"])

    b.position_at_end(block["idle"])
    turns = b.phi(I64)
    turns.add_incoming(constant(I64, 0), block["try"])
    turns.add_incoming(constant(I64, 0), block["claim"])
    same = b.icmp_signed("==", c.load(EPOCH), seen)
    b.cbranch(same, block["spin"], block["look"])
    b.position_at_end(block["spin"])
    c.pause()
    more = b.add(turns, constant(I64, 1))
    turns.add_incoming(more, block["spin"])
    b.cbranch(b.icmp_signed("<", more, constant(I64, _SPINS)), block["idle"], block["sleep"])
    b.position_at_end(block["sleep"])
    c.add(SLEEPERS, 1)
    b.cbranch(b.icmp_signed("==", c.load(EPOCH), seen), block["doze"], awake := c.block("awake"))
    b.position_at_end(block["doze"])
    c.futex(_WAIT, b.and_(seen, low))
    b.branch(awake)
    b.position_at_end(awake)
    c.add(SLEEPERS, -1)
    b.branch(block["look"])
    b.position_at_end(block["leave"])
    c.external("free", VOID, b.load(kept, typ=POINTER))
    b.ret_void()


def _loop(c: _Code, stop: ir.Value, body: Callable[[ir.Value], None]) -> None:
    b = c.b
    before, inside, after = b.block, c.block("each"), c.block("all")
    b.cbranch(b.icmp_signed("<", constant(I64, 0), stop), inside, after)
    b.position_at_end(inside)
    k = b.phi(I64)
    k.add_incoming(constant(I64, 0), before)
    body(k)
    further = b.add(k, constant(I64, 1))
    k.add_incoming(further, b.block)
    b.cbranch(b.icmp_signed("<", further, stop), inside, after)
    b.position_at_end(after)
