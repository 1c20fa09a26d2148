"""From a program's function to loaded native code, by way of the disk cache.

In: a `Source`, a function's name, perhaps a transform of it. Out: a `Native`. This is the one
place where the run time calls the compiler's pipeline.
"""

from __future__ import annotations

import functools
import io
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..compiler.entry_table import CALLED, ROUTINES
from ..compiler.interrupts import interrupts_held_back
from ..compiler.stages import stage
from ..compiler.tuning import STATIC, Tuning
from . import cache, collector, turns
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
    from ..compiler.object_code import Jobs

_entry_lock = threading.Lock()
_pools: list[Pool] = []  # one, once the entry is loaded
_started: dict[str, Jobs] = {}
_starting = threading.Lock()


def graph_of(source: Source, name: str, t: Transform | None) -> Function:
    """The checked function, or its transform with the gradients still requests."""
    fn = source.function(name)
    return fn if t is None else transform(fn, t)


def native_of(
    source: Source, name: str, t: Transform | None, function: Any, tuning: Tuning
) -> Native:
    """The loaded code; `function` is a weak reference to what the slow path calls back."""
    key = ("object", source.digest, name, str(t), repr(tuning))
    return native_of_graph(
        key,
        lambda: graph_of(source, name, t),
        lambda signature, checks: Owner(signature, checks, function),
        tuning=tuning,
    )


def native_of_graph(
    content: Sequence[str],
    graph: Callable[[], Function],
    owner: Callable[[Signature, list[Check]], Owner],
    *,
    arrays: bool = False,
    tuning: Tuning = STATIC,
) -> Native:
    """The loaded code of `graph()`, from the disk cache where `content`, which says all that the
    code depends on, was compiled before. `arrays`: results without axes are arrays, too."""
    with stage("cache"):
        key = cache.key(*content, machine_key())
        stored = cache.get(key)
    if stored is not None:
        try:
            signature = from_json(stored.header["signature"])
            checks = [Check(*c) for c in stored.header["checks"]]
            code = _objects(stored)
        except (KeyError, TypeError, ValueError):
            pass  # written by something else: compile anew
        else:
            counters.cache_hits += 1
            return _load(code, owner(signature, checks))
    _start("entry")
    with collector.paused(), turns.short():
        code, signature, checks = compiled(graph(), arrays, tuning)
    header = {
        "objects": [len(x) for x in code],
        "signature": to_json(signature),
        "checks": [[c.tensor, c.position] for c in checks],
    }
    cache.put(key, header, b"".join(code))
    return _load(code, owner(signature, checks))


def compiled(
    fn: Function, arrays: bool = False, tuning: Tuning = STATIC
) -> tuple[list[bytes], Signature, list[Check]]:
    """Object code with its entry, and what the call path has to know."""
    with stage("imports"), interrupts_held_back():
        from ..compiler import build, pipeline, target_cpu
        from ..compiler.band_nests import BandNest
        from ..compiler.forecast import likely_routines
        from ..compiler.later import cores
        from ..compiler.machine import host
        from ..compiler.module_text import split_text
        from ..compiler.object_code import Jobs
        from ..compiler.packed import Contraction
        from ..compiler.python_entry import add_entry

    counters.compilations += 1
    for what in likely_routines(fn):
        _start(what)
    ready = pipeline.simplified(fn)
    with ready.scope.active():
        stages = build.Build(ready, host(), tuning)
        ready = replace(ready, requirements=(*ready.requirements, *build._nonempty(stages.kernels)))
        loops = stages.loops
        for nest in loops.nests:
            for part in nest.stages if isinstance(nest, BandNest) else [nest]:
                if isinstance(part, Contraction):
                    for what in sorted(part.routines):
                        _start(what)
        jobs = Jobs(host())
        most = target_cpu.PART if cores() > 1 else None
        modules = target_cpu.modules_of(loops, host(), most)
        while True:
            with stage("emit"):
                module = next(modules, None)
                if module is None:
                    break
                if "tdsl_run" in module.globals:
                    add_entry(module, ready, arrays)
                halves = split_text(module)
            jobs.start(halves)
        code = jobs.results()
    checks = [Check(c.tensor, c.position) for c in stages.loops.checks]
    return code, signature_of(ready), checks


def _objects(stored: cache.Entry) -> list[bytes]:
    data = io.BytesIO(stored.data)
    return [data.read(size) for size in stored.header["objects"]]


def _load(code: Sequence[bytes], owner: Owner) -> Native:
    names = [p.name for p in owner.signature.params]
    with _entry_lock:
        entry = shared_entry()
        for what, routines in ROUTINES.items():
            if any(name.encode() in x for x in code for name in routines):
                shared_routines(what)
    with stage("load"):
        return Native(LoadedCode(*code), entry, owner.signature.name, names, owner)


# --------------------------------------------------------------------------- what all share


@functools.cache
def shared_entry() -> Entry:
    """The native entry that all functions share."""
    code = _code("entry")
    with stage("load"):
        loaded = LoadedCode(*code)
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
def shared_routines(what: str) -> LoadedCode:
    """Some of the routines of large contractions, which all functions share and find by name."""
    for other in CALLED.get(what, ()):
        shared_routines(other)
    code = _code(what)
    with stage("load"):
        loaded = LoadedCode(*code)
        loaded.publish(ROUTINES[what])
        return loaded


def _start(what: str) -> None:
    """Have the code brought, so that it is there when it is wanted: by a thread, if it has to be
    translated first."""
    with _starting:
        if what not in _started and _stored(what) is None:
            _started[what] = _translated(what)


def _code(what: str) -> list[bytes]:
    """The code of `entry`, or of some of `ROUTINES`: from the disk cache, where it was compiled
    before."""
    with _starting:
        stored = None if what in _started else _stored(what)
        if stored is not None:
            return stored
        if what not in _started:
            _started[what] = _translated(what)
        started = _started[what]
    try:
        code = started.results()
    except BaseException:
        _started.pop(what, None)  # to be tried again
        raise
    # not by the thread: it may be lost in the middle of a file
    cache.put(cache.key(what, machine_key()), {"objects": [len(x) for x in code]}, b"".join(code))
    return code


def _stored(what: str) -> list[bytes] | None:
    stored = cache.get(cache.key(what, machine_key()))
    return _objects(stored) if stored is not None and "objects" in stored.header else None


def _translated(what: str) -> Jobs:
    with stage("imports"), interrupts_held_back():
        from ..compiler import target_cpu
        from ..compiler.machine import host
    with stage("shared entry" if what == "entry" else "shared routines"):
        return target_cpu.shared_code(what, host())
