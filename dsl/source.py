"""A file on disk to its text: `read_source`.

In: a path. Out: the text, or a `TdslError` that says what is wrong with the file. What the text
means is the parser's business.
"""

from __future__ import annotations

import stat
from os import PathLike, fspath
from pathlib import Path

from ..compiler.errors import Diagnostic, TdslError
from ..compiler.span import Span

MAX_BYTES = 4 * 1024 * 1024  # a larger file is not source text
MAX_LINES = 100_000

_BOMS = (
    # UTF-32 first: its little-endian mark begins like that of UTF-16.
    (b"\xff\xfe\x00\x00", "UTF-32 (little-endian)"),
    (b"\x00\x00\xfe\xff", "UTF-32 (big-endian)"),
    (b"\xff\xfe", "UTF-16 (little-endian)"),
    (b"\xfe\xff", "UTF-16 (big-endian)"),
)


def read_source(path: str | PathLike[str], *, shown_as: str | None = None) -> str:
    """The text of the `.tdsl` file at `path`, which must be UTF-8 (a byte order mark is dropped).

    `shown_as` is what messages call the file (default: the path itself). Raises TdslError where
    there is no such file (E0201), it is not a regular file (E0202), not UTF-8 (E0203), holds a NUL
    byte (E0204), cannot be read (E0205) or is larger than 4 MiB or 100,000 lines (E0206).
    """
    shown = fspath(path) if shown_as is None else shown_as
    if not shown:
        raise _failure("<path>", "E0202", "the path is empty")
    try:
        file = Path(path)
        status = file.stat()
        if stat.S_ISDIR(status.st_mode):
            raise _failure(shown, "E0202", f"`{shown}` is a directory, not a file")
        if not stat.S_ISREG(status.st_mode):
            raise _failure(shown, "E0202", f"`{shown}` is not a regular file")
        if status.st_size > MAX_BYTES:
            message = f"`{shown}` has {status.st_size:,} bytes: the limit is {MAX_BYTES:,}"
            raise _failure(shown, "E0206", message, hint="large data is passed as arguments")
        data = file.read_bytes()
    except FileNotFoundError:
        raise _failure(shown, "E0201", f"there is no file `{shown}`") from None
    except NotADirectoryError:
        raise _failure(shown, "E0201", f"there is no file `{shown}`") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path itself
        reason = getattr(error, "strerror", None) or str(error)
        message = f"`{_printable(shown)}` cannot be read: {reason}"
        raise _failure(_printable(shown), "E0205", message) from None
    text = _decode(data, shown)
    check_length(text, shown)
    return text


def check_length(text: str, shown: str) -> None:
    """Raise TdslError (E0206) for a text that is too long to be a program."""
    lines = text.count("\n")
    if len(text) > MAX_BYTES:
        message = f"`{shown}` has {len(text):,} characters: the limit is {MAX_BYTES:,}"
    elif lines > MAX_LINES:
        message = f"`{shown}` has {lines:,} lines: the limit is {MAX_LINES:,}"
    else:
        return
    raise _failure(shown, "E0206", message, hint="large data is passed as arguments")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _decode(data: bytes, shown: str) -> str:
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            message = f"`{shown}` is encoded as {encoding}: expected UTF-8"
            raise _failure(shown, "E0203", message, hint="save it as UTF-8")
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in data:
        line, column = _place(data, data.index(b"\0"))
        message = f"`{shown}` holds a NUL byte (offset {data.index(0)}): it is not a text file"
        raise _failure(shown, "E0204", message, line, column)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line, column = _place(data, error.start)
        message = (
            f"`{shown}` is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start} "
            f"(line {line})"
        )
        raise _failure(shown, "E0203", message, line, column, "save it as UTF-8") from None


def _place(data: bytes, offset: int) -> tuple[int, int]:
    """Line and column of a byte; all before it decodes."""
    line = data.count(b"\n", 0, offset) + 1
    row_start = data.rfind(b"\n", 0, offset) + 1
    return line, len(data[row_start:offset].decode("utf-8", "replace")) + 1


def _failure(
    shown: str, code: str, message: str, line: int = 1, column: int = 1, hint: str | None = None
) -> TdslError:
    span = Span(shown, line, column, line, column + 1)
    return TdslError([Diagnostic(code, message, span, hint)], {})
