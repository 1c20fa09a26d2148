"""A module in two: what is worth LLVM's best, and the rest.

In: a module (`ir`). Out: two texts for LLVM to read. Left to others: their translation
(`object_code`).
"""

from __future__ import annotations

import re

from . import ir


def split_text(module: ir.Module) -> tuple[str, str]:
    """The same as two modules that find each other's symbols. The second has the functions that are
    not worth LLVM's best (`optnone`): it may be translated at a level of its own, which LLVM has
    for modules alone. It is empty if there are none."""
    everything = module.globals.items()
    pieces = {name: str(x) for name, x in everything}
    functions = {n for n, x in everything if isinstance(x, ir.Function) and x.blocks}
    cold = {n for n in functions if "optnone" in module.globals[n].attributes}
    if not cold:
        return module.text([*pieces.values()]), ""
    named = {name: set(_NAME.findall(piece)) for name, piece in pieces.items()}
    uses = [set[str]().union(*(named[n] for n in half)) for half in (functions - cold, cold)]
    variables = {n for n, x in everything if getattr(x, "initializer", None) is not None}
    for name in variables - uses[0]:
        cold.add(name)
        uses[1] |= named[name]
    halves: tuple[list[str], list[str]] = ([], [])
    for name, x in everything:
        here, there = (1, 0) if name in cold else (0, 1)
        if name not in functions | variables:  # declared only
            for k in (here, there):
                halves[k].append(pieces[name])
        elif name not in uses[there]:
            halves[here].append(pieces[name])
        else:
            halves[here].append(pieces[name].replace(" internal ", " ", 1))
            halves[there].append(x.declaration)
    return module.text(halves[0]), module.text(halves[1])


_NAME = re.compile('@"([^"]*)"')
