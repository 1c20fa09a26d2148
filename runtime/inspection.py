"""The text of every stage of a function, for people.

In: a source, a function's name, perhaps a transform, a stage's name. Out: text. The stages print
themselves; this file only knows where each is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..compiler.tuning import STATIC, Tuning
from ..dsl.suggest import did_you_mean
from .source import Source
from .transforms import Transform

if TYPE_CHECKING:
    from ..compiler.graph import Function

STAGES = (
    "ast",
    "graph",
    "grad",
    "simplified",
    "kernels",
    "plan",
    "loops",
    "llvm",
    "llvm-opt",
    "asm",
    "ptx",
)


def stage_text(
    source: Source,
    name: str,
    transform: Transform | None,
    stage: str,
    explain: bool = False,
    tuning: Tuning = STATIC,
) -> str:
    """See `Function.ir`. Raises ValueError for an unknown stage, and for a function that has none
    (PTX lacks an instruction that it needs)."""
    from ..compiler import pipeline
    from .compilation import graph_of

    if stage not in STAGES:
        near = did_you_mean(str(stage), STAGES)
        hint = f"; did you mean {near!r}?" if near else ""
        raise ValueError(f"there is no stage {stage!r}{hint} (stages: {', '.join(STAGES)})")
    if stage == "ast":
        return _syntax_text(source, name)
    fn = graph_of(source, name, transform)
    if stage in pipeline.GRAPH_STAGES:
        return pipeline.graph_text(fn, stage, explain=explain)
    ready = pipeline.simplified(fn)
    if stage == "ptx":
        return _ptx(ready)
    from ..compiler.build import Build
    from ..compiler.machine import host

    with ready.scope.active():
        return Build(ready, host(), tuning).text(stage)


def _ptx(fn: Function) -> str:
    from ..compiler.target_cuda import UnsupportedOnCudaError, ptx

    try:
        return ptx(fn).text
    except UnsupportedOnCudaError as reason:
        raise ValueError(f"{fn.name} has no PTX: {reason}") from None


def _syntax_text(source: Source, name: str) -> str:
    """The syntax tree of one `def`, a node a line; its text form is the language."""
    from ..dsl.syntax import DefDecl

    for declaration in source.program.root.declarations:
        if isinstance(declaration, DefDecl) and declaration.name.id == name:
            return tree_text(declaration)
    raise ValueError(f"{source.shown} declares no {name}")


def tree_text(node: object, label: str = "", depth: int = 0) -> str:
    """A tree of dataclasses, a node a line, with line:column; fields that are absent are left
    out."""
    from dataclasses import fields, is_dataclass

    from ..compiler.span import Span

    indent = "  " * depth + label
    if not is_dataclass(node):
        return f"{indent}{node!r}\n"
    span = getattr(node, "span", None)
    leaves, branches = [], []
    for f in fields(node):
        value = getattr(node, f.name)
        if isinstance(value, Span) or value is None or value == ():
            continue
        if is_dataclass(value):
            branches.append(tree_text(value, f"{f.name}: ", depth + 1))
        elif isinstance(value, tuple):
            branches += [tree_text(v, f"{f.name}: ", depth + 1) for v in value]
        else:
            leaves.append(f"{f.name}={value!r}")
    place = f"  @{span.line}:{span.column}" if isinstance(span, Span) else ""
    return f"{indent}{type(node).__name__}({', '.join(leaves)}){place}\n" + "".join(branches)
