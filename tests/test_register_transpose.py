"""Transposing in registers: the lanes that every step chooses, without a machine."""

from __future__ import annotations

from typing import Any

import pytest
from tdsl.compiler import ir, register_transpose
from tdsl.compiler.register_transpose import transposed


class Vector:
    """A value that knows what its lanes hold."""

    def __init__(self, type_: Any, lanes: list[tuple[int, int]]) -> None:
        self.type, self.lanes = type_, lanes


class Shuffles:
    """A builder of nothing else."""

    def shuffle_vector(self, x: Vector, y: Vector, which: tuple[int, ...]) -> Vector:
        assert len(which) == len(x.lanes) == len(y.lanes)
        both = x.lanes + y.lanes
        return Vector(x.type, [both[k] for k in which])


@pytest.mark.parametrize("register", [16, 32, 64])
@pytest.mark.parametrize(
    ("element", "size"),
    [(ir.FloatType(), 4), (ir.DoubleType(), 8), (ir.HalfType(), 2), (ir.IntType(32), 4)],
)
def test_columns_come_first(
    element: Any, size: int, register: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(register_transpose, "lanes_from", lambda which: which)
    lanes = register // size
    count = max(16 // size, register // 16)
    while count <= lanes:
        type_ = ir.VectorType(element, lanes)
        rows: Any = [Vector(type_, [(k, row) for k in range(lanes)]) for row in range(count)]
        builder: Any = Shuffles()
        found = [x for vector in transposed(builder, rows) for x in vector.lanes]
        assert found == [(k, row) for k in range(lanes) for row in range(count)]
        count *= 2
