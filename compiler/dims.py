"""Shape algebra: sizes as integer polynomials over named dims.

A `Dim` is a canonical sum of integer multiples of monomials; an atom of a monomial is a name or
an exact floor division by a positive constant. Equality of canonical forms is equality of sizes
for every binding of the names, so `(n + 1) - 1 == n` needs no solver. Orderings are proved only
where every size being at least 0 proves them; everything else becomes a check at run time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property

from .records import dataclass


@dataclass(frozen=True)
class FloorDiv:
    """`numerator // divisor`, the divisor a positive constant not dividing every term."""

    numerator: Dim
    divisor: int

    def __str__(self) -> str:
        return f"({self.numerator})//{self.divisor}"


Atom = str | FloorDiv
Monomial = tuple[Atom, ...]


@dataclass(frozen=True)
class Dim:
    """`terms` maps monomials to non-zero coefficients, sorted; the constant's monomial is ()."""

    terms: tuple[tuple[Monomial, int], ...]

    @cached_property
    def _hash(self) -> int:
        return hash(self.terms)

    def __hash__(self) -> int:
        return self._hash  # dims are keys everywhere

    @cached_property
    def const(self) -> int | None:
        """The value, when it does not depend on any name."""
        if not self.terms:
            return 0
        if len(self.terms) == 1 and self.terms[0][0] == ():
            return self.terms[0][1]
        return None

    def __add__(self, other: Dim | int) -> Dim:
        other = dim(other)
        if not other.terms:
            return self
        if not self.terms:
            return other
        out = dict(self.terms)
        for mono, c in other.terms:
            out[mono] = out.get(mono, 0) + c
        return _make(out)

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return Dim(tuple((m, -c) for m, c in self.terms))

    def __sub__(self, other: Dim | int) -> Dim:
        return self + (-dim(other))

    def __rsub__(self, other: int) -> Dim:
        return dim(other) + (-self)

    def __mul__(self, other: Dim | int) -> Dim:
        other = dim(other)
        if other is _ONE:
            return self
        if self is _ONE:
            return other
        out: dict[Monomial, int] = {}
        for ma, ca in self.terms:
            for mb, cb in other.terms:
                mono = tuple(sorted(ma + mb, key=str)) if ma and mb else ma or mb
                out[mono] = out.get(mono, 0) + ca * cb
        return _make(out)

    __rmul__ = __mul__

    def __floordiv__(self, divisor: int) -> Dim:
        if divisor <= 0:
            raise ValueError("a dim can be divided by a positive constant only")
        whole = {m: c // divisor for m, c in self.terms if c % divisor == 0}
        rest = {m: c for m, c in self.terms if c % divisor != 0}
        if set(rest) <= {()}:
            return _make({**whole, (): rest.get((), 0) // divisor + whole.get((), 0)})
        # the constant's multiple of the divisor leaves the bracket too
        if () in rest:
            whole[()] = rest[()] // divisor
            rest[()] = rest[()] % divisor
        atom = FloorDiv(_make(rest), divisor)
        return _make(whole) + Dim((((atom,), 1),))

    @cached_property
    def names(self) -> frozenset[str]:
        out: set[str] = set()
        for mono, _ in self.terms:
            for atom in mono:
                out |= {atom} if isinstance(atom, str) else atom.numerator.names
        return frozenset(out)

    def evaluate(self, env: Mapping[str, int]) -> int:
        """The size under a binding of every name."""
        total = 0
        for mono, c in self.terms:
            for atom in mono:
                c *= (
                    env[atom]
                    if isinstance(atom, str)
                    else atom.numerator.evaluate(env) // atom.divisor
                )
            total += c
        return total

    def substitute(self, env: Mapping[str, Dim]) -> Dim:
        if not self.names & env.keys():
            return self
        total = dim(0)
        for mono, c in self.terms:
            product = dim(c)
            for atom in mono:
                if isinstance(atom, str):
                    product = product * env.get(atom, named(atom))
                else:
                    product = product * (atom.numerator.substitute(env) // atom.divisor)
            total = total + product
        return total

    def __str__(self) -> str:
        """As an expression of the language: `2*n - 1`."""
        if not self.terms:
            return "0"
        parts: list[str] = []
        # names first, the constant last, as people write sizes
        for mono, c in sorted(self.terms, key=lambda t: (t[0] == (), t[1] < 0, str(t[0]))):
            factors = [a if isinstance(a, str) else f"(({a.numerator})//{a.divisor})" for a in mono]
            size = abs(c)
            if size != 1 or not factors:
                factors.insert(0, str(size))
            sign = ("-" if c < 0 else "") if not parts else (" - " if c < 0 else " + ")
            parts.append(sign + "*".join(factors))
        return "".join(parts)


def _make(terms: Mapping[Monomial, int]) -> Dim:
    kept = [(m, c) for m, c in terms.items() if c]
    if len(kept) > 1:
        kept.sort(key=lambda t: tuple(map(str, t[0])))
    elif not kept or kept[0][0] == ():
        return dim(kept[0][1] if kept else 0)
    return Dim(tuple(kept))


def dim(value: Dim | int) -> Dim:
    return value if isinstance(value, Dim) else _constant(value)


@cache
def _constant(value: int) -> Dim:
    return Dim((((), value),)) if value else Dim(())


_ONE = dim(1)


def named(name: str) -> Dim:
    return Dim((((name,), 1),))


def is_one(d: Dim) -> bool:
    return d.const == 1


def provably_nonnegative(d: Dim) -> bool:
    """True if `d >= 0` for every binding of its names to sizes (integers >= 0)."""
    return all(c > 0 and all(_atom_nonnegative(a) for a in mono) for mono, c in d.terms)


def _atom_nonnegative(atom: Atom) -> bool:
    return isinstance(atom, str) or provably_nonnegative(atom.numerator)


def provably_positive(d: Dim) -> bool:
    return provably_nonnegative(d - 1)


def subtracted(d: Dim) -> Iterator[Monomial]:
    """What `d` is less by, inside quotients too."""
    for mono, c in d.terms:
        if c < 0:
            yield mono
        for atom in mono:
            if isinstance(atom, FloorDiv):
                yield from subtracted(atom.numerator)


def is_window(d: Dim, sizes: Iterable[Dim]) -> bool:
    """Whether `d` is what another size is shorter by: most likely it is short."""
    return any(d.terms == ((mono, 1),) for size in sizes for mono in subtracted(size))


def product(dims: tuple[Dim, ...]) -> Dim:
    out = dim(1)
    for d in dims:
        out = out * d
    return out


def strides(shape: Sequence[Dim]) -> tuple[Dim, ...]:
    """Elements between neighbours along each dim of a dense array."""
    return tuple(product(tuple(shape[d + 1 :])) for d in range(len(shape)))


def atoms(d: Dim) -> Iterator[Atom]:
    for mono, _ in d.terms:
        yield from mono


def quotient(x: Dim, d: Dim) -> Dim | None:
    """x / d, where that is a size."""
    if x == d:
        return dim(1)
    if len(d.terms) != 1:
        return None
    ((by, n),) = d.terms
    out: list[tuple[Monomial, int]] = []
    for mono, c in x.terms:
        left = Counter(mono)
        left.subtract(Counter(by))
        if c % n or any(count < 0 for count in left.values()):
            return None
        kept = list(mono)
        for atom in by:
            kept.remove(atom)
        out.append((tuple(kept), c // n))
    total = dim(0)
    for mono, c in out:
        total = total + Dim(((mono, c),))
    return total
