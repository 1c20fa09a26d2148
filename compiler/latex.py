"""A function as LaTeX: an `align*` environment, an equation for every node.

In: a `Function`, gradient requests included. Out: text for a document that loads `amsmath`.
Sums carry their index and its range, conditions become cases, divisions fractions; scalar
functions of the user are defined first. What the function means is `text`'s business: LaTeX
leaves dtypes out and is not read back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from . import scalar as sc
from .dims import Dim, FloorDiv, dim
from .graph import Comp, Function, Gradient, Input, Node, postorder
from .primitives import PRIMITIVES
from .scalar import Scalar, ScalarFunction

# How tightly an expression binds; brackets stand where a looser one meets a tighter place.
_CASES, _LOGIC, _COMPARISON, _SUM, _PRODUCT, _POWER, _ATOM = range(7)
_INFIX = {
    "+": ("+", _SUM),
    "-": ("-", _SUM),
    "*": (r"\,", _PRODUCT),
    "%": (r"\bmod ", _PRODUCT),
    "<": ("<", _COMPARISON),
    "<=": (r"\le ", _COMPARISON),
    ">": (">", _COMPARISON),
    ">=": (r"\ge ", _COMPARISON),
    "==": ("=", _COMPARISON),
    "!=": (r"\ne ", _COMPARISON),
    "and": (r"\land ", _LOGIC),
    "or": (r"\lor ", _LOGIC),
}
_LETTERS = "ijklpqrsuvabcdefgh"
_GREEK = re.compile(
    "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|pi|rho|sigma|tau|"
    "phi|chi|psi|omega"
)

_Text = tuple[str, int]


def function_latex(fn: Function) -> str:
    """The equations of `fn`, producers first, its outputs last."""
    with fn.scope.active():
        nodes = [n for n in postorder(fn.outputs) if not isinstance(n, Input)]
        names = _names(fn, nodes)
        rows = [_definition(f) for f in _functions(nodes)]
        rows += [_equation(n, names) for n in nodes]
        results = ", ".join(_symbol(names[o]) for o in fn.outputs)
        arguments = ", ".join(_symbol(p.name) for p in fn.params)
        rows.append(f"{_symbol(fn.name)}({arguments}) &= {results}")
    return "\\begin{align*}\n" + " \\\\\n".join(rows) + "\n\\end{align*}\n"


def _names(fn: Function, nodes: Sequence[Node]) -> dict[Node, str]:
    """A name of its own for every node: the user's where there is one."""
    names: dict[Node, str] = {p: p.name for p in fn.params}
    taken = {*names.values(), *fn.dims}
    for node in nodes:
        base = node.name or "t"
        name, k = (base, 1) if node.name else ("t1", 1)
        while name in taken:
            k += 1
            name = f"{base}{k}"
        taken.add(name)
        names[node] = name
    return names


def _functions(nodes: Sequence[Node]) -> list[ScalarFunction]:
    """The user's scalar functions, callees first."""
    found: dict[ScalarFunction, None] = {}

    def visit(root: Scalar) -> None:
        for x in sc.postorder([root]):
            if isinstance(x, sc.Call) and not x.function.builtin and x.function not in found:
                visit(x.function.body)
                found[x.function] = None

    for node in nodes:
        if isinstance(node, Comp):
            visit(node.body)
    return list(found)


def _definition(f: ScalarFunction) -> str:
    arguments = ", ".join(_symbol(p) for p in f.params)
    body, _ = _scalar(f.body, {}, (), f.params)
    return f"{_symbol(f.name)}({arguments}) &= {body}"


def _equation(node: Node, names: dict[Node, str]) -> str:
    name = _symbol(names[node])
    match node:
        case Gradient():
            of, wrt = _symbol(names[node.of]), _symbol(names[node.wrt])
            return f"{name} &= \\frac{{\\partial {of}}}{{\\partial {wrt}}}"
        case Comp():
            indices = _index_names(node, names)
            body, level = _scalar(node.body, names, indices, ())
            if node.target is not None:
                at = ", ".join(_scalar(t, names, indices, ())[0] for t in node.target)
                return f"{_subscripted(name, at)} &\\mathrel{{+}}= {body}"
            left = _subscripted(name, ", ".join(indices[: node.rank]))
            if node.reducer is None:
                return f"{left} &= {body}"
            return f"{left} &= {_reducer(node, indices)} {_bracketed(body, level, _PRODUCT)}"
        case Input():
            raise ValueError("a parameter has no equation")


def _index_names(node: Comp, names: dict[Node, str]) -> tuple[str, ...]:
    """One name per index: the user's, or letters that no tensor has."""
    out: list[str] = []
    taken = {*names.values(), *(n for e in node.extents for n in e.names)}
    for k in range(len(node.extents)):
        given = node.index_names[k] if k < len(node.index_names) else ""
        free = (c for c in _LETTERS if c not in taken and c not in out)
        out.append(_symbol(given) if given and _symbol(given) not in out else next(free, f"i_{k}"))
    return tuple(out)


def _reducer(node: Comp, indices: Sequence[str]) -> str:
    big = {"sum": r"\sum", "prod": r"\prod"}.get(
        node.reducer or "", rf"\operatorname*{{{node.reducer}}}"
    )
    return " ".join(
        f"{big}_{{{indices[k]}=0}}^{{{_size(node.extents[k] - dim(1))[0]}}}" for k in node.reduced
    )


# --------------------------------------------------------------------------- scalars


def _scalar(
    root: Scalar, names: dict[Node, str], indices: Sequence[str], params: Sequence[str]
) -> _Text:
    """The text of an expression and how tightly it binds."""
    made: dict[Scalar, _Text] = {}
    for x in sc.postorder([root]):
        made[x] = _one(x, made, names, indices, params)
    return made[root]


def _one(
    x: Scalar,
    made: dict[Scalar, _Text],
    names: dict[Node, str],
    indices: Sequence[str],
    params: Sequence[str],
) -> _Text:
    match x:
        case sc.Const():
            return _number(x.value)
        case sc.Affine():
            return _affine(x, indices)
        case sc.Param():
            return _symbol(params[x.position]), _ATOM
        case sc.Read():
            at = ", ".join(made[i][0] for i in x.indices)
            return _subscripted(_symbol(names[x.tensor]), at), _ATOM
        case sc.Call():
            inner = ", ".join(made[a][0] for a in x.args)
            return f"{_symbol(x.function.name)}\\left({inner}\\right)", _ATOM
        case sc.Op():
            return _operation(x.name, [made[a] for a in x.args])


def _operation(name: str, args: Sequence[_Text]) -> _Text:
    first = args[0]
    infix = PRIMITIVES[name].infix
    match name:
        case "cast" | "stop_gradient":
            return first
        case "sqrt":
            return f"\\sqrt{{{first[0]}}}", _ATOM
        case "abs":
            return f"\\left|{first[0]}\\right|", _ATOM
        case "neg":
            return f"-{_bracketed(*first, _PRODUCT)}", _SUM
        case "where":
            then, other = args[1][0], args[2][0]
            rows = f"{then} & \\text{{if }} {first[0]} \\\\ {other} & \\text{{otherwise}}"
            return f"\\begin{{cases}} {rows} \\end{{cases}}", _CASES
    match infix:
        case "/":
            return f"\\frac{{{first[0]}}}{{{args[1][0]}}}", _POWER
        case "//":
            return f"\\left\\lfloor\\frac{{{first[0]}}}{{{args[1][0]}}}\\right\\rfloor", _ATOM
        case "**":
            return f"{{{_bracketed(*first, _ATOM)}}}^{{{args[1][0]}}}", _POWER
        case None:
            inner = ", ".join(a for a, _ in args)
            return f"\\operatorname{{{_escaped(name)}}}\\left({inner}\\right)", _ATOM
    sign, level = _INFIX[infix]
    right = level + (infix in "-%")  # a - (b - c) keeps its brackets
    left_text = _bracketed(*first, level)
    right_text = _bracketed(*args[1], right)
    if infix == "*" and right_text[0].isdigit():
        sign = r" \cdot "
    return f"{left_text}{sign}{right_text}", level


def _affine(x: sc.Affine, indices: Sequence[str]) -> _Text:
    parts: list[str] = []
    for k, coefficient in x.terms:
        c = coefficient.const
        if c in (1, -1):
            parts.append(indices[k] if c == 1 else f"-{indices[k]}")
        else:
            parts.append(f"{_bracketed(*_size(coefficient), _PRODUCT)} {indices[k]}")
    if x.const.terms or not parts:
        text = _size(x.const)
        if not parts:
            return text
        parts.append(text[0])
    total = parts[0] + "".join(p if p.startswith("-") else f"+{p}" for p in parts[1:])
    return total, _ATOM if len(parts) == 1 and not total.startswith("-") else _SUM


def _size(d: Dim) -> _Text:
    if not d.terms:
        return "0", _ATOM
    parts: list[str] = []
    for mono, c in sorted(d.terms, key=lambda t: (t[0] == (), t[1] < 0)):
        factors = [
            rf"\left\lfloor\frac{{{_size(a.numerator)[0]}}}{{{a.divisor}}}\right\rfloor"
            if isinstance(a, FloorDiv)
            else _symbol(a)
            for a in mono
        ]
        if abs(c) != 1 or not factors:
            factors.insert(0, str(abs(c)))
        sign = "-" if c < 0 else "+" if parts else ""
        parts.append(sign + r" ".join(factors))
    text = "".join(parts)
    return text, _SUM if len(parts) > 1 or text.startswith("-") else _PRODUCT


def _number(value: float | bool) -> _Text:
    if isinstance(value, bool):
        return rf"\text{{{str(value).lower()}}}", _ATOM
    if isinstance(value, float) and not math.isfinite(value):
        text = r"\text{nan}" if math.isnan(value) else r"\infty" if value > 0 else r"-\infty"
        return text, _ATOM if value > 0 else _SUM
    text = repr(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:.6g}"
    mantissa, e, exponent = text.partition("e")
    if e:
        return rf"{mantissa} \cdot 10^{{{int(exponent)}}}", _PRODUCT
    return text, _SUM if text.startswith("-") else _ATOM


# --------------------------------------------------------------------------- symbols


def _bracketed(text: str, level: int, place: int) -> str:
    return text if level >= place else rf"\left({text}\right)"


def _subscripted(name: str, at: str) -> str:
    if not at:
        return name
    return f"{{{name}}}_{{{at}}}" if "_" in name else f"{name}_{{{at}}}"


def _symbol(name: str) -> str:
    """`w` stays, `w1` becomes w with an index, `rho` a Greek letter, a longer name upright."""
    found = re.fullmatch(r"([A-Za-z]+?)_?([0-9]*)", name)
    if found is None:
        return rf"\mathrm{{{_escaped(name)}}}"
    base, number = found.groups()
    if _GREEK.fullmatch(base):
        base = f"\\{base}"
    elif len(base) > 1:
        base = rf"\mathrm{{{base}}}"
    return f"{base}_{{{number}}}" if number else base


def _escaped(name: str) -> str:
    return name.replace("_", r"\_")
