"""The command line: `tdsl check | run | ir | grad | tune | cache`.

In: arguments. Out: text on stdout, diagnostics on stderr, an exit status: 0 for success, 1 where
the program or its call is wrong or a check failed, 2 for a wrong command line, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..compiler.interrupts import interrupts_noted

if TYPE_CHECKING:
    from .function import Function
    from .module import Module

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

_EXAMPLES = """\
examples:
  tdsl check model.tdsl                        types, then every gradient against differences
  tdsl run model.tdsl loss --arg x=x.npy --arg y=data.npz:labels --arg lr=0.1
  tdsl run model.tdsl loss --arg x=random --dim n=5 --dim d=3 --grad w
  tdsl ir model.tdsl loss --stage simplified --explain
  tdsl grad model.tdsl loss --wrt w,b          the gradient as a program, which compiles
  tdsl tune model.tdsl loss --grad w --dim n=1000 --dim d=50
"""

_RUN_HELP = """\
values:
  x=data.npy          a NumPy file            x=data.npz:key      an array of an archive
  x=data.csv          numbers, comma-separated, with or without a header line
  x=random            standard normal (integers: small); sizes with --dim n=5
  x=0.5   x=[1,2,3]   a number or a nested list
example:
  tdsl run examples/logistic.tdsl loss --arg x=random --arg t=[0,1,1] --arg w=[0.1,0.2] \\
      --arg b=0 --arg decay=0.01 --grad w,b
"""

_TUNE_HELP = """\
values are those of `tdsl run`
example:
  tdsl tune examples/logistic.tdsl loss --dim n=20000 --dim d=100 --grad w,b --threads 1
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    try:
        return _run(argv)
    except KeyboardInterrupt:
        with interrupts_noted():  # who presses Ctrl-C twice is told once
            print("tdsl: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has left: nothing more to say, at exit neither
        _discard_output()
        return OK


def _discard_output() -> None:
    """Nothing more reaches a broken stdout, at exit neither."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(argv: Sequence[str] | None) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not every terminal has every character
            stream.reconfigure(errors="backslashreplace")
    parser = _parser()
    try:
        options = parser.parse_args(argv)
    except SystemExit as stop:  # argparse has printed what it had to say
        return stop.code if isinstance(stop.code, int) else USAGE
    from ..compiler.errors import TdslError, render
    from .arguments import CallError
    from .cli_values import UsageError
    from .module import TdslWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", TdslWarning)
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            status: int = options.command(options)
        if getattr(options, "time", False):
            _show_times()
        if sys.stdout is not None:  # it is None where the shell has closed it
            sys.stdout.flush()
        return status
    except UsageError as error:
        return _complain(str(error), USAGE)
    except TdslError as error:
        color = _color(sys.stderr)
        print(render(error.diagnostics, error.sources, color=color), file=sys.stderr)
        count = sum(not d.is_warning for d in error.diagnostics)
        print(_counted(count), file=sys.stderr)
        return FAILED
    except CallError as error:
        return _complain(str(error), FAILED)
    except MemoryError as error:
        return _complain(str(error) or "out of memory", FAILED)
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is not None:
            return _complain(str(error), FAILED)
        _discard_output()
        return _complain(f"the output cannot be written: {error.strerror or error}", FAILED)


def _counted(errors: int) -> str:
    return f"{errors} error{'s' if errors != 1 else ''}"


def _complain(message: str, status: int) -> int:
    print(f"tdsl: {message}", file=sys.stderr)
    return status


def _show_warning(message: Warning | str, category: type[Warning], *where: Any) -> None:
    print(str(message).strip(), file=sys.stderr)


def _show_times() -> None:
    """Milliseconds by stage; what was found in the disk cache has few stages."""
    from .stats import stats

    seconds = stats().seconds
    for name, t in (*seconds.items(), ("total", sum(seconds.values()))):
        print(f"{name:12} {1e3 * t:8.1f} ms", file=sys.stderr)


def _color(stream: Any) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


# --------------------------------------------------------------------------- the options


def _parser() -> argparse.ArgumentParser:
    from .inspection import STAGES
    from .version import VERSION

    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="tdsl",
        description="Compile, run and read tensor programs.",
        epilog=_EXAMPLES,
        formatter_class=raw,
    )
    parser.add_argument("--version", action="version", version=f"tdsl {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="command")

    check = commands.add_parser(
        "check",
        help="check types, then gradients",
        description="Check types and warn; then compare the gradients of every function with "
        "central differences at random inputs.",
    )
    check.add_argument("files", nargs="+", metavar="FILE")
    check.set_defaults(command=_check)

    run = commands.add_parser(
        "run",
        help="call a function",
        description="Call a function and print what it returns.",
        epilog=_RUN_HELP,
        formatter_class=raw,
    )
    _add_function(run)
    _add_values(run)
    run.add_argument("--grad", metavar="W[,V]", help="print the gradients, too")
    run.add_argument("--out", metavar="FILE.npz", help="save the results: value (value0, …), dW")
    _add_time(run)
    run.set_defaults(command=_call)

    ir = commands.add_parser(
        "ir",
        help="print a stage of the compiler",
        description="Print a function at one stage of the compiler.",
        epilog="example:\n  tdsl ir examples/digits.tdsl loss --stage kernels --wrt w1\n",
        formatter_class=raw,
    )
    _add_function(ir)
    ir.add_argument("--stage", choices=STAGES, default="simplified")
    ir.add_argument("--explain", action="store_true", help="say which rules fired where")
    ir.add_argument("--wrt", metavar="W[,V]", help="of the value and these gradients")
    _add_time(ir)
    ir.set_defaults(command=_ir)

    grad = commands.add_parser(
        "grad",
        help="print a gradient as a program",
        description="Print the gradient of a function as a program that compiles.",
        epilog="example:\n  tdsl grad examples/digits.tdsl loss --wrt w1 > loss_dw1.tdsl\n",
        formatter_class=raw,
    )
    _add_function(grad)
    grad.add_argument("--wrt", required=True, metavar="W[,V]")
    grad.add_argument("--latex", action="store_true", help="as LaTeX")
    grad.set_defaults(command=_grad)

    tune = commands.add_parser(
        "tune",
        help="time variants of a function and keep the fastest",
        description="Time a function compiled in a handful of ways, at random arguments unless "
        "--arg states others. The fastest is used from then on, at all sizes, if it gains more "
        "than the noise.",
        epilog=_TUNE_HELP,
        formatter_class=raw,
    )
    _add_function(tune)
    _add_values(tune)
    tune.add_argument("--grad", metavar="W[,V]", help="of the value with these gradients")
    tune.add_argument("--threads", type=_threads, metavar="N", help="as many as it is to use")
    tune.add_argument("--forget", action="store_true", help="return to the static choice")
    tune.set_defaults(command=_tune)

    cache = commands.add_parser(
        "cache",
        help="show or clear the compiled code",
        description="Show where compiled code is kept (TDSL_CACHE_DIR) and how much there is.",
    )
    cache.add_argument("--clear", action="store_true", help="delete it")
    cache.set_defaults(command=_cache)
    return parser


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0, not {text!r}")
    return int(text)


def _threads(text: str) -> int:
    from .threads import MOST

    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MOST):
        raise argparse.ArgumentTypeError(f"threads are a whole number from 1 to {MOST}")
    return int(text)


def _add_function(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("function", metavar="FUNC")


def _add_values(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--dim", action="append", default=[], metavar="NAME=SIZE")
    parser.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="of random values (default 0)"
    )


def _add_time(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--time", action="store_true", help="say how long each stage took")


# --------------------------------------------------------------------------- the commands


def _check(options: argparse.Namespace) -> int:
    from ..compiler.errors import TdslError, render
    from .gradient_check import check_gradients
    from .module import load

    status, errors = OK, 0
    tint = {"passed": "\033[32m", "failed": "\033[31m", "skipped": "\033[33m"}
    for file in options.files:
        try:
            module = load(file)
        except TdslError as error:
            color = _color(sys.stderr)
            print(render(error.diagnostics, error.sources, color=color), file=sys.stderr)
            errors += sum(not d.is_warning for d in error.diagnostics)
            status = FAILED
            continue
        width = max((len(n) for n in module), default=0)
        if not width:
            print(f"{file}: no functions")
        for name in module:
            outcome = check_gradients(module[name])
            start, end = (tint[outcome.status], "\033[0m") if _color(sys.stdout) else ("", "")
            print(
                f"{file}: {name:{width}}  {start}{outcome.status}{end}  {outcome.detail}",
                flush=True,
            )
            if outcome.status == "failed":
                status = FAILED
    if errors:
        print(_counted(errors), file=sys.stderr)
    return status


def _function(options: argparse.Namespace) -> Function:
    from ..dsl.suggest import did_you_mean
    from .cli_values import UsageError
    from .module import load

    module: Module = load(options.file)
    if options.function not in module:
        near = did_you_mean(options.function, module)
        known = ", ".join(module) or "none"
        hint = f"did you mean {near}?" if near else f"functions: {known}"
        raise UsageError(f"{options.file} has no function {options.function}; {hint}")
    return module[options.function]


def _derived(f: Function, kind: str, names: str) -> Function:
    """A gradient of `f`; names are separated by commas."""
    from .cli_values import UsageError

    wrt = [n.strip() for n in names.split(",") if n.strip()]
    if not wrt:
        raise UsageError(f"no parameter is named: {f.signature}")
    try:
        derived: Function = getattr(f, kind)(*wrt)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from None
    return derived


def _call(options: argparse.Namespace) -> int:
    import numpy as np

    from .cli_values import UsageError, arguments, assignments, sizes

    f = _function(options)
    texts = assignments(options.arg, "--arg")
    given = arguments(f.description, texts, sizes(options.dim), options.seed)
    runner, labels = f, [f"value{k}" for k in range(len(f.description.outputs))]
    if len(labels) == 1:
        labels = ["value"]
    if options.grad is not None:
        runner = _derived(f, "value_and_grad", options.grad)
        assert runner._transform is not None
        labels += [f"d{w}" for w in runner._transform.wrt]
    result = runner(**given)
    values = result if isinstance(result, tuple) else (result,)
    named = dict(zip(labels, values, strict=True))
    for label, value in named.items():
        text = np.array2string(value, separator=", ") if isinstance(value, np.ndarray) else value
        print(f"{label} = {text}")
    if options.out:
        try:
            np.savez(options.out, **named)
        except OSError as error:
            raise UsageError(f"--out {options.out}: {error.strerror}") from None
    return OK


def _ir(options: argparse.Namespace) -> int:
    f = _function(options)
    if options.wrt is not None and options.stage != "ast":
        f = _derived(f, "value_and_grad", options.wrt)
    try:
        text = f.ir(options.stage, explain=options.explain)
    except ValueError as error:
        return _complain(str(error), FAILED)
    print(text.rstrip("\n"))
    return OK


def _grad(options: argparse.Namespace) -> int:
    gradient = _derived(_function(options), "grad", options.wrt)
    if options.latex:
        from ..compiler import latex, pipeline

        print(latex.function_latex(pipeline.simplified(gradient.graph())).rstrip("\n"))
    else:
        print(gradient.ir("simplified").rstrip("\n"))
    return OK


def _tune(options: argparse.Namespace) -> int:
    from . import cli_tune
    from .cli_values import arguments, assignments, sizes

    f = _function(options)
    tuned = f if options.grad is None else _derived(f, "value_and_grad", options.grad)
    if options.forget:
        print(cli_tune.forgotten(tuned))
        return OK
    texts = dict.fromkeys((p.name for p in f.description.params), "random")
    texts |= assignments(options.arg, "--arg")
    given = arguments(f.description, texts, sizes(options.dim), options.seed)
    if options.threads is not None:
        from .threads import set_num_threads

        set_num_threads(options.threads)
    print(cli_tune.table(tuned, given))
    return OK


def _cache(options: argparse.Namespace) -> int:
    from . import cache

    if options.clear:
        print(f"{cache.clear()} entries deleted from {cache.directory()}")
    else:
        entries, size = cache.usage()
        print(f"{cache.directory()}: {entries} entries, {size / 1e6:.1f} MB")
    return OK
