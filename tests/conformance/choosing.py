"""Choosing elements: gather and scatter, masks, clamp, sort and topk."""

from __future__ import annotations

from .case import family

_INDEX = "i64([[0, 2], [1, 0]])"

_CHOOSING = {
    "gather": f"""
        T.gather(ar(2, 3), 1, {_INDEX})
        ar(2, 3).gather(1, {_INDEX})
        T.gather(ar(2, 3), 0, i64([[0, 1, 1]]))
        T.gather(ar(4), 0, i64([3, 3, 0]))
        T.gather(ar(2, 3), dim=-1, index={_INDEX})
        T.gather(ar(2, 3).t(), 0, {_INDEX})
        T.gather(ar(4), 0, i64([]))
        T.gather(i64([5, 6]), 0, i64([1]))
        grads(lambda x: T.gather(x, 1, {_INDEX}) ** 2, rnd(2, 3))
        grads(lambda x: T.gather(x, 0, i64([1, 1])) ** 3, rnd(2))
        T.gather(ar(2, 3), 1, i64([[3]]))
        T.gather(ar(2, 3), 1, i64([0, 1]))
        T.gather(ar(2, 3), 2, {_INDEX})
        T.gather(ar(2, 3), 1, f32([[0.]]))
        T.gather(ar(2, 3), 1, i64([[-1]]))
        T.gather(ar(2, 3), 1, T.zeros(3, 1, dtype=T.int64))
        leaf([1., 2.]).gather(0, i64([1]))
    """,
    "scatter_add": """
        T.scatter_add(T.zeros(3), 0, i64([0, 0, 2]), f32([1., 2., 3.]))
        T.zeros(3).scatter_add(0, i64([0, 2]), f32([1., 2.]))
        T.scatter_add(T.ones(2, 3), 1, i64([[0, 2], [1, 1]]), f32([[1., 2.], [3., 4.]]))
        T.scatter_add(T.ones(2, 3), 0, i64([[1, 0, 1]]), f32([[1., 2., 3.]]))
        T.scatter_add(T.zeros(3), 0, i64([]), f32([]))
        T.scatter_add(T.zeros(2), 0, i64([0]), f32([1., 5.]))
        grads(lambda x, s: T.scatter_add(x, 0, i64([1, 1, 0]), s) ** 2, rnd(3), rnd(3, seed=1))
        T.scatter_add(T.zeros(2), 0, i64([2]), f32([1.]))
        T.scatter_add(T.zeros(2), 0, i64([0]), f64([1.]))
        T.scatter_add(T.zeros(2), 0, i64([0, 1]), f32([1.]))
        T.zeros(3).scatter(0, i64([1]), f32([5.]))
        T.zeros(2, 3).scatter(1, i64([[2], [0]]), 7.)
    """,
    "index_select": """
        T.index_select(ar(3, 2), 0, i64([2, 0]))
        ar(2, 3).index_select(1, i64([1, 1]))
        T.index_select(ar(4), 0, i32([3]))
        T.index_select(ar(2, 3), -1, i64([0]))
        T.index_select(ar(4), 0, i64([]))
        T.index_select(ar(2, 3).t(), 0, i64([2]))
        T.index_select(ar(4), 0, i64(1))
        grads(lambda x: T.index_select(x, 1, i64([0, 2, 2])) ** 2, rnd(2, 3))
        T.index_select(ar(3), 0, i64([3]))
        T.index_select(ar(3), 1, i64([0]))
        T.index_select(ar(3), 0, f32([0.]))
        T.index_select(ar(3), 0, i64([[0]]))
    """,
    "take_along_dim": """
        T.take_along_dim(ar(2, 3), i64([[0, 2], [1, 1]]), 1)
        T.take_along_dim(ar(2, 3), i64([[1]]), 0)
        ar(2, 3).take_along_dim(i64([[1], [0]]), dim=1)
        T.take_along_dim(ar(2, 3), i64([5, 0]))
        T.take_along_dim(ar(3), ar(3).argsort(descending=True), 0)
        grads(lambda x: T.take_along_dim(x, i64([[0], [2]]), 1) ** 2, rnd(2, 3))
        T.take_along_dim(ar(2, 3), i64([0]), 1)
        T.take_along_dim(ar(3), f32([0.]), 0)
    """,
    "masked_fill": """
        ar(3).masked_fill(b8([True, False, True]), 9.)
        ar(2, 3).masked_fill(b8([True, False, True]), -inf)
        ar(2, 3).masked_fill(ar(2, 3) > 2, 0)
        T.masked_fill(ar(3), b8([True, False, True]), 9)
        ar(3).masked_fill(b8([True, False, True]), f32(7.))
        i64([1, 2]).masked_fill(b8([True, False]), 5)
        ar(3).masked_fill(b8([[True], [False]]), 1.)
        grads(lambda x: (x ** 2).masked_fill(b8([True, False, True]), 0.), rnd(3))
        ar(3).masked_fill(i64([1, 0, 1]), 0.)
        ar(3).masked_fill(b8([True, False]), 0.)
        ar(3).masked_fill(b8([True, False, True]), ar(3))
        T.masked_select(ar(2, 3), ar(2, 3) > 2)
        grads(lambda x: T.masked_select(x, b8([True, False, True])) ** 2, rnd(3))
    """,
    "clamp": """
        T.clamp(ar(5), 1, 3)
        T.clamp(ar(5), min=2)
        T.clamp(ar(5), max=2.5)
        ar(5).clamp(1.5, 2.5)
        ar(5).clamp(3, 1)
        T.clamp(ar(3), f32([0., 2., 0.]), f32([0., 5., 1.]))
        T.clamp(ar(3), min=f32([1.]))
        T.clip(ar(5), 1, 3)
        T.clamp(i64([1, 5]), 2, 3)
        T.clamp(i64([1, 5]), 2.5)
        T.clamp(f32([nan, inf, -inf]), -1, 1)
        T.clamp(f32([]), 0, 1)
        T.clamp(ar(2, 3).t(), 1, 2)
        grads(lambda x: T.clamp(x, -1, 1) ** 2, rnd(5))
        grads(lambda x: T.clamp(x, -1, 1), f64([-1., 1., 0.5]), order=1)
        grads(lambda x: T.clamp(x, max=0.5) * x, rnd(4))
        T.clamp(ar(3))
        T.clamp_min(ar(3), 1)
        T.clamp_max(ar(3), 1)
    """,
}

_ORDER = {
    "sort": """
        T.sort(f32([3., 1., 2.]))
        f32([3., 1., 2.]).sort()
        T.sort(f32([3., 1., 2.]), descending=True)
        T.sort(f32([[3., 1.], [0., 2.]]), 0)
        T.sort(f32([[3., 1.], [0., 2.]]), dim=1)
        T.sort(f32([[3., 1.], [0., 2.]]), -1, True)
        T.sort(i64([5, -1, 3]))
        T.sort(f32([2., nan, 1., inf, -inf]))
        T.sort(f32([2., nan, 1.]), descending=True)[0]
        T.sort(f32([2., 1., 2., 1.]), stable=True)
        T.sort(f32([]))
        T.sort(f32(3.))
        T.sort(b8([True, False]))[0]
        r = T.sort(f32([2., 1.])); (r.values, r.indices)
        T.sort(f32([[3., 1.], [0., 2.]]).t())
        grads(lambda x: T.sort(x)[0] ** 2, rnd(4))
        grads(lambda x: x.sort(0, descending=True).values ** 3, rnd(3, 2))
        leaf([2., 1.]).sort().values
        T.sort(ar(3), 1)
        T.argsort(f32([3., 1., 2.]))
        f32([3., 1., 2.]).argsort(descending=True)
        T.argsort(f32([[3., 1.], [0., 2.]]), dim=0)
    """,
    "topk": """
        T.topk(f32([3., 1., 4., 1.5]), 2)
        f32([3., 1., 4., 1.5]).topk(3)
        T.topk(f32([3., 1., 4.]), 2, largest=False)
        T.topk(f32([[3., 1., 4.], [9., 8., 7.]]), 2)
        T.topk(f32([[3., 1., 4.], [9., 8., 7.]]), 1, dim=0)
        T.topk(i64([3, 1, 4]), 1)
        T.topk(f32([3., 1.]), 0)
        T.topk(f32([2., nan, 1.]), 1)
        r = T.topk(f32([3., 1., 4.]), 2); (r.values, r.indices)
        grads(lambda x: T.topk(x, 2)[0] ** 2, rnd(4))
        grads(lambda x: x.topk(2, 1).values ** 2, rnd(2, 3))
        leaf([2., 1.]).topk(1).values
        T.topk(f32([1., 2.]), 3)
        T.topk(f32([1., 2.]), -1)
        T.topk(f32([1., 2.]), 1, dim=1)
    """,
}

CASES = family("choosing", _CHOOSING, _ORDER)
