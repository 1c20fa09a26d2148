"""The pipeline, stage by stage.

    Function ─expand─▶ Function ─simplify─▶ Function ─▶ kernels ─▶ plan ─▶ loops ─▶ llvm ─▶ asm

In: a checked `Function`. Out: the graph's stages, as objects or text. Each arrow is one function
of one module; the stages from kernels on, which know a machine, are `build.Build`.
"""

from __future__ import annotations

from .gradient import expand
from .graph import Function
from .simplify import Log, simplify, stabilize
from .stages import stage
from .verify import verify

GRAPH_STAGES = ("graph", "grad", "simplified")


def differentiated(fn: Function, log: Log | None = None) -> Function:
    """Gradient requests replaced by comprehensions; what is differentiated is the stable form."""
    with stage("stabilize"):
        stable = stabilize(fn, log)
    with stage("gradient"):
        out = expand(stable)
        verify(out)
    return out


def simplified(fn: Function, log: Log | None = None) -> Function:
    """Ready for the backend."""
    gradients = differentiated(fn, log)
    with stage("simplify"):
        out = simplify(gradients, log)
        verify(out)
    return out


def graph_text(fn: Function, name: str, *, explain: bool = False) -> str:
    """The program at one of GRAPH_STAGES; with `explain`, the rules that fired, as comments."""
    from .text import function_text  # 10 ms: only to be read

    log: Log = []
    match name:
        case "graph":
            shown = fn
        case "grad":
            shown = differentiated(fn, log)
        case "simplified":
            shown = simplified(fn, log)
        case _:
            raise ValueError(f"no graph stage {name}")
    text = function_text(shown, lines=True)
    if explain:
        text += "".join(f"# {entry.equation}    at {entry.span}\n" for entry in log)
    return text
