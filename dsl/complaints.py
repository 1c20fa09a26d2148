"""What to tell the user where the parser met a token that it could not use.

In: the line, which of its tokens failed, and the terminals that would have been accepted there.
Out: one `Diagnostic` in human words. Mistakes that come from other languages are recognised by
their looks and get a hint of their own; everything else is "expected …, but found …".
"""

from __future__ import annotations

from ..compiler.errors import Diagnostic
from ..compiler.span import Span
from .layout import Line, Token

_NOT_YET = {
    "for": "`for` loops",
    "while": "`while` loops",
    "gradient": "custom `gradient` rules",
}
_BINARY = frozenset(("+", "-", "*", "/", "//", "%", "@", "**", "and", "or", "if"))
_BINARY |= frozenset(("<", "<=", ">", ">=", "==", "!="))
_OPENS_EXPRESSION = frozenset(("NAME", "NUMBER", "(", "-"))
_WORDS = {
    "NAME": "a name",
    "NUMBER": "a number",
    "STRING": "a string",
    "LONG_STRING": "a string",
    "NEWLINE": "the end of the line",
    "EOF": "the end of the file",
    "INDENT": "an indented block",
    "DEDENT": "the end of the block",
}


def unexpected(
    line: Line, at: int, expected: set[str], spelling: dict[str, str], in_body: bool
) -> Diagnostic:
    """For the token `line.tokens[at]`. `expected` are names of terminals, `spelling` their text;
    `in_body` tells whether the line stands inside a `def`."""
    wanted = {spelling.get(name, name) for name in expected}
    token = line.tokens[at]
    return (
        _reserved_name(line, at, wanted)
        or _not_yet(line, at)
        or _foreign_statement(line, at, in_body)
        or _foreign_expression(line, at)
        or Diagnostic(
            "E0110",
            f"expected {_choices(wanted)}, but found {describe(token)}",
            token.span,
            _hint(line, at, wanted, in_body),
        )
    )


def missing_body(header: Line) -> Diagnostic:
    """A `def` line that no indented line follows."""
    name = header.tokens[1].text
    first, last = header.tokens[0].span, header.tokens[-2].span
    span = Span(first.path, first.line, first.column, last.end_line, last.end_column)
    hint = "indent the lines of the body, with a `return` at the end"
    return Diagnostic("E0117", f"the function `{name}` has no body", span, hint)


def misplaced_indentation(line: Line, at: Span) -> Diagnostic:
    """A line that is indented deeper than the one above although nothing was opened."""
    if line.tokens[0].text == "gradient":
        return _unsupported("gradient", line.tokens[0].span)
    hint = "only the body of a `def` is indented; a long statement goes on inside brackets"
    return Diagnostic("E0105", "this line is indented, but the line above opens no block", at, hint)


def describe(token: Token) -> str:
    """What the user sees there, in words."""
    shown = token.text if len(token.text) <= 30 else token.text[:30] + "…"
    match token.type:
        case "NEWLINE" | "EOF" | "$END":
            return _WORDS.get(token.type, "the end of the file")
        case "NAME":
            return f"the name `{shown}`"
        case "NUMBER":
            return f"the number `{shown}`"
        case "STRING" | "LONG_STRING":
            return "a string"
        case _ if shown[:1].isalpha():
            return f"the word `{shown}`"
        case _:
            return f"`{shown}`"


def _choices(wanted: set[str]) -> str:
    """`an expression`, `` `)` or `,` ``: at most four things that could have come."""
    wanted = set(wanted)
    words = []
    if wanted >= _OPENS_EXPRESSION:
        words.append("an expression")
        wanted -= _OPENS_EXPRESSION | {"+", "not", "STRING", "LONG_STRING", "None", "..."}
    elif "NAME" in wanted:
        words.append("a name")
    elif "STRING" in wanted:
        words.append("a string")
    if len(wanted & _BINARY) > 6:
        words.append("an operator")
        wanted -= _BINARY | {"[", "("}
    wanted -= {"NAME", "STRING", "LONG_STRING", "INDENT", "DEDENT", "else"} if words else {"INDENT"}
    words += [f"`{w}`" for w in sorted(w for w in wanted if w not in _WORDS)]
    words += [_WORDS[w] for w in ("NEWLINE", "EOF") if w in wanted]
    if len(words) > 5:
        words = [*words[:5], "something else"]
    if not words:
        return "something else"
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


# ------------------------------------------------------------------- mistakes known by looks


def _unsupported(word: str, span: Span) -> Diagnostic:
    return Diagnostic("E0114", f"{_NOT_YET[word]} are not supported yet", span)


def _reserved_name(line: Line, at: int, wanted: set[str]) -> Diagnostic | None:
    """A keyword where only a name makes sense: before `=`, or after `def`, `const`, `(`, …"""
    token = line.tokens[at]
    if not token.text.isalpha() or token.type in ("NAME", "NEWLINE") or "NAME" not in wanted:
        return None
    after = line.tokens[at + 1].text
    before = line.tokens[at - 1].text if at else ""
    is_declared = before in ("def", "fn", "const", "import", "as")
    is_parameter = (
        line.tokens[0].text in ("def", "fn") and before in ("(", ",") and "NUMBER" not in wanted
    )
    is_target = after in ("=", "+=") and (at == 0 or before in ("(", ","))
    if not (is_declared or is_parameter or is_target):
        return None
    return Diagnostic(
        "E0111",
        f"`{token.text}` is a reserved word and cannot be used as a name",
        token.span,
        f"for instance `{token.text}_`",
    )


def _not_yet(line: Line, at: int) -> Diagnostic | None:
    first, second = line.tokens[0], line.tokens[1]
    if at == 0 and first.text in ("for", "while"):
        return _unsupported(first.text, first.span)
    if first.text == "gradient" and second.type == "NAME" and at == 1:
        return _unsupported("gradient", first.span)
    return None


def _foreign_statement(line: Line, at: int, in_body: bool) -> Diagnostic | None:
    """Statements of other languages, and ours in the wrong place."""
    token, first = line.tokens[at], line.tokens[0]
    second = line.tokens[1] if len(line.tokens) > 1 else first
    message = hint = None
    if at == 0 and first.text in ("if", "elif", "else"):
        message = f"there is no `{first.text}` statement"
        hint = "a choice is an expression: `y = a if c else b`, for every element"
    elif at == 0 and first.text == "import":
        message = "there is no `import` statement of this form"
        hint = 'write `from "file.tdsl" import name`'
    elif at == 0 and in_body and first.text in ("def", "fn", "const", "from"):
        message = f"`{first.text}` cannot stand inside a function"
        hint = "declarations stand at the top level of the file, without indentation"
    elif at == 0 and not in_body and first.text == "return":
        message = "`return` stands outside a function"
        hint = "indent it like the lines of the function's body"
    elif at == 0 and first.type == "RESERVED" and first.text != "lambda":
        message = f"there is no `{first.text}` statement"
    elif at == 1 and first.text in ("let", "var", "val") and second.type == "NAME":
        message = f"a variable is not declared with `{first.text}`"
        hint = f"write `{second.text} = …`" if in_body else f"write `const {second.text} = …`"
    elif not in_body and at == 0:
        message = "expected a declaration (`from`, `const`, `fn` or `def`), but found "
        message += describe(first)
        if second.text == "=":
            hint = f"a constant is written `const {first.text} = …`"
        elif first.text in ("function", "func", "fun", "define"):
            hint = "functions are declared with `def` or `fn`"
    elif in_body and at == 1 and first.type == "NAME" and token.text == "+=":
        message = f"`+=` adds into elements of a tensor, and `{first.text}` has no index here"
        hint = f"write `{first.text} = {first.text} + …`"
    elif in_body and _is_bare_expression(line, at):
        message = "an expression alone does nothing"
        hint = "give its value a name, `y = …`, or return it with `return …`"
    elif first.text == "def" and token.text == "=" and line.tokens[at - 1].text in (")", "]"):
        message = "a `def` has no one-line form"
        hint = "end the line with `:` and put `return …` on the next, or use `fn` for scalars"
        if _depth(line, at):
            message, hint = "parameters have no default values", None
    elif first.text == "def" and at and line.tokens[at - 1].text == ":" and not _depth(line, at):
        message = "the body of a `def` stands on lines of its own"
        hint = "indent it below this line"
    elif first.text == "fn" and token.text in (":", "->") and not _depth(line, at):
        message = f"expected `=`, but found `{token.text}`: an `fn` is one expression"
        hint = "write `fn name(x) = …`, or use `def` for tensors and several lines"
    elif first.text in ("def", "fn") and token.text == "=" and _depth(line, at):
        message = "parameters have no default values"
    elif first.text == "from" and at == 1 and token.type == "NAME":
        message = f"expected the file's name in quotes, but found {describe(token)}"
        hint = f'write `from "{token.text}.tdsl" import …`'
    if message is None:
        return None
    return Diagnostic("E0113", message, token.span, hint)


def _foreign_expression(line: Line, at: int) -> Diagnostic | None:
    token = line.tokens[at]
    before = line.tokens[at - 1].text if at else ""
    message = hint = None
    if token.text == "lambda":
        message = "there is no `lambda`"
        hint = "declare a scalar function: `fn name(x) = …`"
    elif token.text == "is":
        message, hint = "there is no `is`", "to compare write `==`"
    elif token.text == "None":
        message = "`None` stands only inside a subscript, where it makes a new axis"
    elif token.text == "in":
        message = "there is no `in` test"
    elif (
        token.text == "["
        and line.tokens[max(at - 1, 0)].type != "NAME"
        and before in "=(,+-*/return"
    ):
        message = "there are no lists"
        hint = "several values are a tuple: `(a, b)`"
    elif token.text == "(" and before == ")":
        message = "only a name can be called"
        hint = "to multiply write `*`"
    elif token.text == "(" and before == "]":
        message = "only a reducer's name stands before `[…](…)`, as in `sum[k](a[k])`"
        hint = "to multiply write `*`"
    elif token.text == "(" and line.tokens[at - 1].type == "NUMBER":
        message, hint = "a number cannot be called", "to multiply write `*`"
    elif line.tokens[at - 1].type == "NUMBER" and token.type in ("NAME", "NUMBER") and at:
        message = f"expected an operator, but found {describe(token)}"
        hint = f"to multiply, write `{before[:30]} * {token.text[:30]}`"
    if message is None:
        return None
    code = "E0116" if "called" in message or "reducer" in message else "E0113"
    return Diagnostic(code, message, token.span, hint)


def _hint(line: Line, at: int, wanted: set[str], in_body: bool) -> str | None:
    token = line.tokens[at]
    seen = [t.text for t in line.tokens[:at]]
    if token.text == "=" and (_depth(line, at) or "=" in seen or "return" in seen):
        return "to compare write `==`"
    if token.type == "NEWLINE" and seen[0] == "def" and ":" in wanted:
        return "the first line of a `def` ends with `:`"
    if token.type == "NEWLINE" and "if" in seen and wanted & {"else"}:
        return "a choice needs both values: `a if c else b`"
    if token.text == ")" and at and line.tokens[at - 1].text == "if":
        return "a choice is written `a if c else b`"
    if ":" in wanted and "in" in seen:
        return "a range is written `for i in lo:hi`"
    if in_body and token.type == "NEWLINE" and seen[1:2] == [":"]:
        return f"give it a value: `{seen[0]}: … = 0`"
    if seen and seen[0] == "def" and token.text == ":" and "->" in seen:
        return "a return type looks like `f32[n]` or `(f32, f32[n])`"
    if token.type == "NEWLINE" and seen == ["return"]:
        return "a function always returns a value"
    if seen and in_body and "=" in wanted and token.type == "NEWLINE":
        return "a statement gives a value to a name: `y = …`"
    return None


def _depth(line: Line, at: int) -> int:
    """How many brackets are open before token `at`."""
    texts = [t.text for t in line.tokens[:at] if t.type not in ("STRING", "LONG_STRING")]
    return sum(t in ("(", "[") for t in texts) - sum(t in (")", "]") for t in texts)


def _is_bare_expression(line: Line, at: int) -> bool:
    """No `=` outside brackets anywhere: `f(x)`, `x + 1`, `"text"`, `a == b`."""
    first = line.tokens[0]
    if first.type not in ("NAME", "NUMBER", "STRING", "LONG_STRING") and first.text not in "-(":
        return False
    depth = 0
    for t in line.tokens:
        if t.type in ("STRING", "LONG_STRING"):
            continue
        depth += (t.text in ("(", "[")) - (t.text in (")", "]"))
        if depth == 0 and t.text in ("=", "+=", ":"):
            return False
    return not (first.type == "NAME" and len(line.tokens) > 1 and line.tokens[1].type == "NAME")
