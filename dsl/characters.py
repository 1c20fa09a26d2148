"""Characters and operators of other notations, and what to write instead.

In: the text where no token of the language matches, or an operator that another language spells
with several of our symbols. Out: words for the diagnostic. The layout decides where it stands.
"""

from __future__ import annotations

import unicodedata

# Operators of C, Python, JavaScript and Julia. Longest first: `&&` before `&`.
_FOREIGN = {
    "<<": "there are no bit operations; multiply by a power of 2",
    ">>": "there are no bit operations; divide by a power of 2",
    "===": "to compare write `==`",
    "!==": "to compare write `!=`",
    "<>": "to compare write `!=`",
    "=>": "to compare write `>=`; a scalar function is `fn name(x) = …`",
    "&&": "write `and`",
    "||": "write `or`",
    "**=": "write `a = a ** e`",
    "//=": "write `a = a // e`",
    "-=": "write `a = a - e`",
    "*=": "write `a = a * e`",
    "/=": "write `a = a / e`",
    "@=": "write `a = a @ e`",
    "%=": "write `a = a % e`",
    ":=": "a name is bound by a statement of its own: `a = e`",
    ".*": "`*` works element by element already",
    "./": "`/` works element by element already",
    ".^": "powers are written `**`",
    "^": "powers are written `**`",
    "&": "write `and`",
    "|": "write `or`",
    "!": "write `not`",
    "~": "write `not`",
    ";": "every statement stands on a line of its own",
    "?": "a choice is written `a if c else b`",
    ".": "there are no attributes or methods: write `f(x)` rather than `x.f()`",
    "{": "blocks are indented, as in Python; lists and sets do not exist",
    "}": "blocks are indented, as in Python; lists and sets do not exist",
    "\\": "a statement goes on over several lines inside brackets",
}
_BY_FIRST: dict[str, list[str]] = {}
for _op in sorted(_FOREIGN, key=len, reverse=True):
    _BY_FIRST.setdefault(_op[0], []).append(_op)
_OURS = ("...", "!=")  # begin like a foreign operator, and are ours


def foreign_operator(source: str, at: int) -> tuple[str, str] | None:
    """The operator of another language that stands at `at`, with what to write instead."""
    candidates = _BY_FIRST.get(source[at])
    if candidates is None:
        return None
    for op in candidates:
        if source.startswith(op, at):
            ours = len(op) < 3 and source.startswith(_OURS, at)
            # `x[a:=b]` is nonsense either way, but `x[i]=-1`, `d: f32=-1` and `a<-b` are not.
            return None if ours else (op, _FOREIGN[op])
    return None


_LOOKALIKES = {
    "×": "*", "·": "*", "⋅": "*", "∗": "*", "÷": "/", "∕": "/", "−": "-", "–": "-", "—": "-",
    "≤": "<=", "≥": ">=", "≠": "!=", "∧": "and", "∨": "or", "¬": "not", "²": "**2", "³": "**3",
    "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "′": "'", "`": "'",
    "…": "...", "π": "pi", "∞": "inf", "√": "sqrt(…)", "∑": "sum[k](…)", "∏": "prod[k](…)",
    "∈": "in", "→": "->", "←": "=", "½": "0.5", "∂": "grad(…)", "∇": "grad(…)",
}  # fmt: skip
_INVISIBLE = frozenset("\u200b\u200c\u200d\u2060\ufeff\u00ad")


def unknown_character(char: str) -> tuple[str, str | None]:
    """A sentence that names `char` by its code point, and a hint."""
    name = unicodedata.name(char, "").lower()
    shown = f"`{char}` " if char.isprintable() and not char.isspace() else ""
    described = f"U+{ord(char):04X}" + (f", {name}" if name else "")
    message = f"unexpected character {shown}({described})"
    plain = _LOOKALIKES.get(char) or _full_width(char)
    if plain is not None:
        return message, f"write `{plain}`"
    if char in _INVISIBLE:
        return message, "it is invisible: delete it"
    if char.isspace() and char not in "\r\v\f":
        return message, "use an ordinary space"
    if char == "\r":
        return message, "lines end with LF or CR LF, not with CR alone"
    if char.isalpha():
        return message, "names are made of ASCII letters, digits and `_`"
    return message, None


def _full_width(char: str) -> str | None:
    """`ｘ` and `（` are the full-width forms of ASCII characters, 0xFEE0 further on."""
    return chr(ord(char) - 0xFEE0) if "\uff01" <= char <= "\uff5e" else None
