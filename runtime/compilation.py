"""From a program's function to loaded native code, by way of the disk cache.

In: a `Source`, a function's name, perhaps a transform of it. Out: a `Native`. This is the one
place where the run time calls the compiler's pipeline.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..compiler.entry_table import PRODUCTS
from ..compiler.stages import stage
from . import cache
from .calls import Check, Owner, out_of_range, slow_call
from .loading import LoadedCode, machine_key
from .native import Entry, Native
from .signature import Signature, from_json, signature_of, to_json
from .source import Source
from .stats import counters
from .threads import Pool, usual
from .transforms import Transform, transform

if TYPE_CHECKING:
    from ..compiler.graph import Function

_entry_lock = threading.Lock()
_pools: list[Pool] = []  # one, once the entry is loaded


def graph_of(source: Source, name: str, t: Transform | None) -> Function:
    """The checked function, or its transform with the gradients still requests."""
    fn = source.function(name)
    return fn if t is None else transform(fn, t)


def native_of(source: Source, name: str, t: Transform | None, function: Any) -> Native:
    """The loaded code; `function` is a weak reference to what the slow path calls back."""
    key = ("object", source.digest, name, str(t))
    return native_of_graph(
        key,
        lambda: graph_of(source, name, t),
        lambda signature, checks: Owner(signature, checks, function),
    )


def native_of_graph(
    content: Sequence[str],
    graph: Callable[[], Function],
    owner: Callable[[Signature, list[Check]], Owner],
    *,
    arrays: bool = False,
) -> Native:
    """The loaded code of `graph()`, from the disk cache where `content`, which says all that the
    graph depends on, was compiled before. `arrays`: results without axes are arrays, too."""
    with stage("cache"):
        key = cache.key(*content, machine_key())
        stored = cache.get(key)
    if stored is not None:
        try:
            signature = from_json(stored.header["signature"])
            checks = [Check(*c) for c in stored.header["checks"]]
        except (KeyError, TypeError, ValueError):
            pass  # written by something else: compile anew
        else:
            counters.cache_hits += 1
            return _load(stored.data, owner(signature, checks))
    code, signature, checks = compiled(graph(), arrays)
    header = {
        "signature": to_json(signature),
        "checks": [[c.tensor, c.position] for c in checks],
    }
    cache.put(key, header, code)
    return _load(code, owner(signature, checks))


def compiled(fn: Function, arrays: bool = False) -> tuple[bytes, Signature, list[Check]]:
    """Object code with its entry, and what the call path has to know."""
    with stage("imports"):
        from ..compiler import build, pipeline, target_cpu
        from ..compiler.python_entry import add_entry

    counters.compilations += 1
    ready = pipeline.simplified(fn)
    host = target_cpu.host()
    with ready.scope.active():
        stages = build.Build(ready, host)
        ready = replace(ready, requirements=(*ready.requirements, *build._nonempty(stages.kernels)))
        loops = stages.loops
        with stage("emit"):
            module = target_cpu.module_of(loops, host)
            add_entry(module, ready, arrays)
            text = str(module)
        with stage("LLVM passes"):
            optimized = target_cpu.optimized(text, host)
        with stage("object code"):
            code = target_cpu.object_code(optimized, host)
    checks = [Check(c.tensor, c.position) for c in stages.loops.checks]
    return code, signature_of(ready), checks


def _load(code: bytes, owner: Owner) -> Native:
    names = [p.name for p in owner.signature.params]
    with _entry_lock:
        entry = shared_entry()
        if any(name.encode() in code for name in PRODUCTS):
            microkernels()
    with stage("load"):
        return Native(LoadedCode(code), entry, owner.signature.name, names, owner)


@functools.cache
def shared_entry() -> Entry:
    """The native entry that all functions share, compiled once per machine."""

    def code() -> bytes:
        from ..compiler import target_cpu
        from ..compiler.entry_code import entry_module

        host = target_cpu.host()
        return target_cpu.object_code(target_cpu.optimized(str(entry_module()), host), host)

    with stage("shared entry"):
        loaded = LoadedCode(_once_per_machine("entry", code))
        _pools.append(Pool(loaded, usual()))
        return Entry(loaded, slow_call, out_of_range)


def entry() -> Entry:
    """The shared entry, from any thread."""
    with _entry_lock:
        return shared_entry()


def pool() -> Pool:
    """The threads that compiled functions use."""
    entry()
    return _pools[0]


@functools.cache
def microkernels() -> LoadedCode:
    """The routines of large contractions, which all functions share and find by name."""

    def code() -> bytes:
        from ..compiler import target_cpu

        return target_cpu.microkernel_code(target_cpu.host())

    with stage("microkernels"):
        loaded = LoadedCode(_once_per_machine("microkernels", code))
        loaded.publish(PRODUCTS)
        return loaded


def _once_per_machine(what: str, code: Callable[[], bytes]) -> bytes:
    key = cache.key(what, machine_key())
    stored = cache.get(key)
    if stored is not None:
        return stored.data
    made = code()
    cache.put(key, {}, made)
    return made
