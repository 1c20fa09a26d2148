"""Copies side by side: every line once, after what it uses, in turns."""

from __future__ import annotations

import random
import re

import tdsl
from tdsl.compiler.dtypes import F32
from tdsl.compiler.scalar import const
from tdsl.compiler.weave import woven

from .native_functions import Native, at, comp, function, numbers, op, param


def test_lines_of_copies_in_turns() -> None:
    copies = [[f"%.{10 * c + k} = fneg float %.{10 * c + k - 1}" for k in range(5)] for c in (1, 2)]
    assert woven(copies) == [line for pair in zip(*copies, strict=True) for line in pair]


def test_lines_wait_for_what_they_use() -> None:
    """Whatever copies share is made in the first that asks for it."""
    chance = random.Random(5)
    for _ in range(200):
        number, made = 0, list[str]()
        copies = []
        for _ in range(chance.randint(2, 5)):
            copy = []
            for _ in range(chance.randint(1, 12)):
                used = ", ".join(f"float {x}" for x in chance.sample(made, min(2, len(made))))
                if chance.random() < 0.2:
                    copy.append(f"store {used or 'float 0'}, ptr @{len(copies)}_{len(copy)}")
                    continue
                number += 1
                copy.append(f"%.{number} = call float @f({used})")
                made.append(f"%.{number}")
            copies.append(copy)
        out = woven(copies)
        assert sorted(out) == sorted(line for copy in copies for line in copy)
        for copy in copies:  # in the order that it has
            places = [out.index(line) for line in copy]
            assert places == sorted(places)
        seen: set[str] = set()
        for line in out:
            names = re.findall(r"%\.\d+", line)
            own = set(names[:1]) if line.startswith("%") else set()
            assert set(names) - own <= seen
            seen |= own


def test_bits_do_not_depend_on_copies() -> None:
    """What is computed does not change with how many vectors are computed side by side."""
    x = param("x", 0, ["n"])
    body = op("mul", op("erf", at(x, 0)), op("exp", op("neg", op("mul", at(x, 0), at(x, 0)))))
    several = [op("tanh", body), op("log", op("add", const(1.0, F32), op("exp", body))), body]
    values = numbers(500)
    (alone,) = Native(function([x], comp(several[0], ["n"], 1)))(values)
    together = Native(function([x], *(comp(b, ["n"], 1) for b in several)))(values)
    assert (together[0] == alone).all()
    f = tdsl.compile("def f(x: f32[n]):\n    return gelu(x) + log(1 + exp(x))\n").f
    whole = f(values)
    for n in (0, 1, 8, 23, 24, 25, 48, 72, 499):
        assert (f(values[:n]) == whole[:n]).all(), n
