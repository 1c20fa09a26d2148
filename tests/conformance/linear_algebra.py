"""Products of matrices and vectors, and einsum."""

from __future__ import annotations

from .case import family

#: Shapes that `matmul` accepts, and some that it does not.
_SHAPES = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)), ((5, 2, 3), (5, 3, 4)), ((5, 1, 2, 3), (4, 3, 2)), ((5, 2, 3), (3,)),
    ((3,), (5, 3, 2)), ((1, 2, 3), (5, 3, 4)), ((2, 0), (0, 3)), ((0, 3), (3, 2)),
]  # fmt: skip
_REFUSED = [((2, 3), (2, 3)), ((3,), (4,)), ((5, 2, 3), (4, 3, 2)), ((2, 3), (4,)), ((), (3,))]


def _two(call: str, a: tuple[int, ...], b: tuple[int, ...]) -> str:
    return f"{call}(rnd(*{a}), rnd(*{b}, seed=1))"


_PRODUCTS = {
    "matmul": [
        *(_two("T.matmul", a, b) for a, b in _SHAPES + _REFUSED),
        "ar(2, 3) @ ar(3, 2)",
        "ar(2, 3).matmul(ar(3))",
        "ar(2, 3) @ ar(2, 3).t()",
        "ar(3, 2).t() @ ar(3, 2)",
        "ar(4, 6)[::2, ::2] @ ar(3, 2)",
        "i64([[1, 2], [3, 4]]) @ i64([[1, 0], [0, 1]])",
        "f32([[1., nan]]) @ f32([[1.], [0.]])",
        "f32([[1.]]) @ f64([[1.]])",
        "i64([[1]]) @ f32([[1.]])",
        "ar(2, 3) @ 2",
        "T.matmul(T.eye(3), ar(3, 3))",
        "grads(T.matmul, rnd(2, 3), rnd(3, 2, seed=1))",
        "grads(T.matmul, rnd(2, 3), rnd(3, seed=1))",
        "grads(T.matmul, rnd(3), rnd(3, 2, seed=1))",
        "grads(T.matmul, rnd(3), rnd(3, seed=1))",
        "grads(T.matmul, rnd(2, 2, 3), rnd(3, 2, seed=1))",
        "grads(T.matmul, rnd(2, 2, 3), rnd(2, 3, 2, seed=1))",
        "grads(lambda x: x @ x.t(), rnd(2, 3))",
        "T.linalg.matmul(ar(2, 2), ar(2, 2))",
    ],
    "mm": [
        "T.mm(ar(2, 3), ar(3, 2))",
        "ar(2, 3).mm(ar(3, 4))",
        "T.mm(ar(2, 3), ar(2, 3).t())",
        "T.mm(rnd(2, 3), rnd(3, 2))",
        "T.mm(T.zeros(2, 0), T.zeros(0, 2))",
        "grads(T.mm, rnd(2, 3), rnd(3, 2, seed=1))",
        "T.mm(ar(2, 3), ar(2, 3))",
        "T.mm(ar(2, 3), ar(3))",
        "T.mm(ar(2, 2, 2), ar(2, 2))",
        "T.mm(ar(2, 2), rnd(2, 2))",
    ],
    "bmm": [
        "T.bmm(ar(2, 2, 3), ar(2, 3, 2))",
        "ar(2, 2, 3).bmm(ar(2, 3, 1))",
        "T.bmm(ar(2, 2, 3), ar(2, 2, 3).transpose(1, 2))",
        "T.bmm(T.zeros(0, 2, 3), T.zeros(0, 3, 2))",
        "grads(T.bmm, rnd(2, 2, 3), rnd(2, 3, 2, seed=1))",
        "T.bmm(ar(2, 2, 3), ar(3, 3, 2))",
        "T.bmm(ar(2, 3), ar(3, 2))",
        "T.bmm(ar(2, 2, 3), ar(2, 2, 3))",
    ],
    "mv": [
        "T.mv(ar(2, 3), ar(3))",
        "ar(2, 3).mv(ar(3))",
        "T.mv(ar(3, 2).t(), ar(3))",
        "grads(T.mv, rnd(2, 3), rnd(3, seed=1))",
        "T.mv(ar(2, 3), ar(2))",
        "T.mv(ar(3), ar(3))",
    ],
    "dot": [
        "T.dot(ar(3), ar(3))",
        "ar(3).dot(ar(3))",
        "T.dot(f32([]), f32([]))",
        "T.dot(i64([1, 2]), i64([3, 4]))",
        "grads(T.dot, rnd(3), rnd(3, seed=1))",
        "T.dot(ar(3), ar(4))",
        "T.dot(ar(2, 2), ar(2, 2))",
        "T.dot(f32([1.]), f64([1.]))",
        "T.inner(ar(3), ar(3))",
    ],
    "outer": [
        "T.outer(ar(2), ar(3))",
        "ar(2).outer(ar(2))",
        "T.outer(f32([]), ar(2))",
        "grads(T.outer, rnd(2), rnd(3, seed=1))",
        "T.outer(ar(2, 2), ar(2))",
    ],
    "others: matmul mm": [
        "T.trace(ar(3, 3))",
        "T.trace(ar(2, 3))",
        "T.addmm(ar(2), ar(2, 3), ar(3, 2))",
        "T.diag(ar(3))",
        "T.diag(ar(2, 2))",
        "grads(T.trace, rnd(2, 2))",
    ],
}

#: (equation, shapes)
_EINSUMS: list[tuple[str, list[tuple[int, ...]]]] = [
    ("ij,jk->ik", [(2, 3), (3, 2)]), ("ij,jk", [(2, 3), (3, 2)]), ("ii->i", [(3, 3)]),
    ("ii", [(3, 3)]), ("ij->ji", [(2, 3)]), ("ij->", [(2, 3)]), ("ij->j", [(2, 3)]),
    ("i,i->", [(3,), (3,)]), ("i,j->ij", [(2,), (3,)]), ("bij,bjk->bik", [(2, 2, 3), (2, 3, 2)]),
    ("ij,ij->ij", [(2, 3), (2, 3)]), ("ij,j->i", [(2, 3), (3,)]), ("...ij->...ji", [(2, 2, 3)]),
    ("...ij,jk->...ik", [(2, 2, 3), (3, 2)]), ("ij,jk,kl->il", [(2, 3), (3, 2), (2, 2)]),
    ("ji", [(2, 3)]), ("i->i", [(3,)]), ("i,ij,j->", [(2,), (2, 3), (3,)]),
    ("bn,anm,bm->ba", [(2, 2), (3, 2, 2), (2, 2)]), (" ij , jk -> ik ", [(2, 3), (3, 2)]),
]  # fmt: skip
_REFUSED_EINSUMS: list[tuple[str, list[tuple[int, ...]]]] = [
    ("ij,jk->ik", [(2, 3), (2, 3)]), ("ij->k", [(2, 3)]), ("ij", [(3,)]), ("ij,jk", [(2, 3)]),
    ("i->ii", [(3,)]), ("i$->i", [(3,)]), ("ii->i", [(2, 3)]),
]  # fmt: skip


def _inputs(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(f"rnd(*{shape}, seed={k})" for k, shape in enumerate(shapes))


_EINSUM = {
    "einsum": [
        *(f"T.einsum({e!r}, {_inputs(s)})" for e, s in _EINSUMS + _REFUSED_EINSUMS),
        *(
            f"grads(lambda *xs: T.einsum({e!r}, *xs) ** 2, {_inputs(s)})"
            for e, s in [_EINSUMS[k] for k in (0, 2, 9, 12, 14)]
        ),
        "T.einsum('ij,jk->ik', [ar(2, 2), ar(2, 2)])",
        "T.einsum('ij->ji', leaf([[1., 2.]])).requires_grad",
    ]
}

CASES = family("linear_algebra", _PRODUCTS, _EINSUM)
