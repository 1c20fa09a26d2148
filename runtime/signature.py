"""What a caller has to know of a compiled function, as plain data.

In: a checked function. Out: a `Signature` that the call path reads and the disk cache stores as
JSON, so that a warm start needs no parser.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..compiler.binding import Step, binding_steps
from ..compiler.dims import Dim, FloorDiv
from ..compiler.dtypes import BY_NAME, DType
from ..compiler.records import dataclass

if TYPE_CHECKING:
    from ..compiler.graph import Function, Node


@dataclass(frozen=True)
class Value:
    """A parameter or an output. `name` is empty for an output."""

    name: str
    dtype: DType
    shape: tuple[Dim, ...]

    @property
    def type_text(self) -> str:
        """As the language writes it: `f32[b, 2*n]`."""
        return type_text(self.dtype, self.shape)


@dataclass(frozen=True)
class Signature:
    """`requirements` are sizes that must be at least 0, with the reason in the user's terms."""

    name: str
    params: tuple[Value, ...]
    outputs: tuple[Value, ...]
    returns_tuple: bool
    requirements: tuple[tuple[Dim, str], ...]
    doc: str | None
    position: str  # where the function stands in its file
    donated: tuple[tuple[int, int], ...] = ()  # parameters, each with the output in its place

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        return binding_steps([p.shape for p in self.params])

    @property
    def differentiable(self) -> tuple[str, ...]:
        """The names of the floating-point parameters."""
        return tuple(p.name for p in self.params if p.dtype.is_float)

    def __str__(self) -> str:
        """As the language writes it: `def loss(x: f32[b, i], w: f32[i]) -> f32`."""
        params = ", ".join(f"{p.name}: {p.type_text}" for p in self.params)
        results = ", ".join(o.type_text for o in self.outputs)
        return f"def {self.name}({params}) -> {f'({results})' if self.returns_tuple else results}"


def step_name(name: str) -> str:
    """What autograd's step is called after a function, less `Backward`: `MeanLoss`."""
    return "".join(w[:1].upper() + w[1:] for w in name.split("_"))


def type_text(dtype: DType, shape: Iterable[Dim]) -> str:
    dims = ", ".join(str(d) for d in shape)
    return f"{dtype}[{dims}]" if dims else str(dtype)


def signature_of(fn: Function) -> Signature:
    def value(name: str, node: Node) -> Value:
        return Value(name, node.dtype, node.shape)

    return Signature(
        fn.name,
        tuple(value(p.name, p) for p in fn.params),
        tuple(value("", o) for o in fn.outputs),
        fn.returns_tuple,
        tuple((r.nonnegative, r.message) for r in fn.requirements),
        fn.doc,
        str(fn.span),
        fn.donated,
    )


# --------------------------------------------------------------------------- JSON


def to_json(s: Signature) -> dict[str, Any]:
    return {
        "name": s.name,
        "params": [_value_to_json(p) for p in s.params],
        "outputs": [_value_to_json(o) for o in s.outputs],
        "returns_tuple": s.returns_tuple,
        "requirements": [[dim_to_json(d), m] for d, m in s.requirements],
        "doc": s.doc,
        "position": s.position,
        "donated": s.donated,
    }


def from_json(data: dict[str, Any]) -> Signature:
    """The inverse of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
    return Signature(
        data["name"],
        tuple(_value_from_json(p) for p in data["params"]),
        tuple(_value_from_json(o) for o in data["outputs"]),
        data["returns_tuple"],
        tuple((dim_from_json(d), m) for d, m in data["requirements"]),
        data["doc"],
        data["position"],
        tuple((int(p), int(o)) for p, o in data["donated"]),
    )


def _value_to_json(v: Value) -> list[Any]:
    return [v.name, v.dtype.name, [dim_to_json(d) for d in v.shape]]


def _value_from_json(data: list[Any]) -> Value:
    name, dtype, shape = data
    return Value(name, BY_NAME[dtype], tuple(dim_from_json(d) for d in shape))


def dim_to_json(d: Dim) -> list[Any]:
    """[[monomial, coefficient], …]; an atom is a name or [numerator, divisor]."""
    return [
        [[a if isinstance(a, str) else [dim_to_json(a.numerator), a.divisor] for a in mono], c]
        for mono, c in d.terms
    ]


def dim_from_json(data: list[Any]) -> Dim:
    return Dim(
        tuple(
            (
                tuple(
                    a if isinstance(a, str) else FloorDiv(dim_from_json(a[0]), int(a[1]))
                    for a in mono
                ),
                int(c),
            )
            for mono, c in data
        )
    )
