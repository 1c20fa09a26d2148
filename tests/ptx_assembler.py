"""`ptxas`, where it is installed: several modules in one run.

In: PTX texts by label. Out: registers and spilled bytes of every kernel, or the assembler's error.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOUND = shutil.which("ptxas")


@dataclass(frozen=True)
class Usage:
    label: str
    registers: int
    spilled: int
    stack: int


def assemble(texts: Mapping[str, str], arch: str, folder: Path) -> list[Usage]:
    """Raises AssertionError with what `ptxas` says, if it refuses."""
    assert FOUND is not None
    source, labels = _merged(texts)
    path = folder / "kernels.ptx"
    path.write_text(source)
    command = [FOUND, "-v", f"-arch={arch}", str(path), "-o", str(folder / "kernels.cubin")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    log = run.stdout + run.stderr
    assert run.returncode == 0, log[-4000:]
    found = re.findall(
        r"Compiling entry function '([\w$]+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
        r"(\d+) bytes spill loads.*?Used (\d+) registers",
        log,
        re.S,
    )
    usages = [
        Usage(labels[name], int(registers), int(stores) + int(loads), int(stack))
        for name, stack, stores, loads, registers in found
    ]
    assert len(usages) == len(labels)
    return usages


def _merged(texts: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """One text of all modules, their symbols made different; labels of modules by kernel."""
    head, bodies, labels = "", [], {}
    for k, (label, text) in enumerate(texts.items()):
        head, mark, body = re.sub(r"//[^\n]*", "", text).partition(".address_size 64")
        head += mark
        kernels = re.findall(r"\.entry ([\w$]+)", body)
        arrays = re.findall(r"^\.global [^;\n]*? ([A-Za-z_][\w$]*)\[", body, re.M)
        for name in sorted({*kernels, *arrays}, key=len, reverse=True):
            body = re.sub(rf"(?<![\w$]){re.escape(name)}(?=_param|(?![\w$]))", f"m{k}_{name}", body)
        labels |= {f"m{k}_{name}": label for name in kernels}
        bodies.append(body)
    return head + "\n".join(bodies), labels
