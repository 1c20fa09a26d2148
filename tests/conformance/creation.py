"""Making tensors: dtypes and shapes that follow from the arguments, values, shared memory."""

from __future__ import annotations

from .case import blocks, family

_FROM_DATA = {
    "tensor": """
        T.tensor(3)
        T.tensor(2.5)
        T.tensor(True)
        T.tensor([1, 2, 3])
        T.tensor([[1., 2.], [3., 4.]])
        T.tensor([])
        T.tensor([[], []])
        T.tensor((1, 2))
        T.tensor([(1, 2), (3, 4)])
        T.tensor([1, 2.5, True])
        T.tensor([1, 2], dtype=T.float64)
        T.tensor([1.7, -2.7], dtype=T.int64)
        T.tensor([0, 2, -1], dtype=T.bool)
        T.tensor([0.0, 0.5, nan], dtype=T.bool)
        T.tensor([1, 2], dtype=T.uint8)
        T.tensor([1.5, 2.5], dtype=T.float16)
        T.tensor([1.5, 3.14159], dtype=T.bfloat16)
        T.tensor([1.], requires_grad=True)
        T.tensor([1.], device='cpu')
        T.tensor(np.array([1., 2.]))
        T.tensor(np.array([1., 2.], np.float32))
        T.tensor(np.array([[1, 2]], np.int16))
        T.tensor(np.array([True, False]))
        T.tensor(np.float32(2.5))
        T.tensor(np.int64(3))
        T.tensor(range(3))
        T.tensor([T.tensor(1.), T.tensor(2.)])
        T.tensor(ar(2, 3))
        T.tensor([nan, inf, -inf])
        T.tensor([2**40])
        T.tensor(data=[1, 2])
        a = np.zeros(2); t = T.tensor(a); a[0] = 5.; t
    """,
    "as_tensor": """
        T.as_tensor([1, 2])
        x = ar(3); T.as_tensor(x) is x
        x = ar(3); T.as_tensor(x, dtype=T.float64)
        a = np.zeros(3, np.float32); t = T.as_tensor(a); a[1] = 4; t
        a = np.zeros(3, np.float32); t = T.as_tensor(a, dtype=T.float64); a[1] = 4; t
        T.as_tensor(2.5)
        x = leaf([1.]); T.as_tensor(x).requires_grad
    """,
    "from_numpy": """
        T.from_numpy(np.arange(3))
        T.from_numpy(np.arange(6, dtype=np.float32).reshape(2, 3))
        T.from_numpy(np.arange(6.).reshape(2, 3).T)
        T.from_numpy(np.arange(6.)[::2])
        a = np.zeros(3); t = T.from_numpy(a); t[0] = 2.; a
        a = np.zeros(3); t = T.from_numpy(a); a[0] = 2.; t
        T.from_numpy(np.array([True, False]))
        T.from_numpy(np.array([1, 2], np.uint8))
        T.from_numpy(np.array(2.5))
        T.from_numpy(np.zeros((0, 3)))
        T.from_numpy(np.ones(2, np.float16))
        T.from_numpy([1, 2])
        T.from_numpy(np.array(['a']))
    """,
    "clone": """
        x = ar(3); y = x.clone(); y[0] = 9.; x
        ar(2, 3).t().clone()
        T.clone(ar(2))
        leaf([1.]).clone()
        grads(lambda x: x.clone() * x, rnd(3))
        ar(6)[::2].clone()
    """,
}

_FILLED = {
    "arange": """
        T.arange(5)
        T.arange(5.)
        T.arange(2, 8)
        T.arange(2, 8, 3)
        T.arange(0, 1, 0.25)
        T.arange(5, 0, -2)
        T.arange(0)
        T.arange(3, 3)
        T.arange(5, dtype=T.float64)
        T.arange(5, dtype=T.int32)
        T.arange(3., requires_grad=True)
        T.arange(start=1, end=4)
        T.arange(1, 4, step=2)
        T.arange(0.5, 3)
        T.arange(0, 5, -1)
        T.arange(0, 5, 0)
    """,
    "linspace": """
        T.linspace(0, 1, 5)
        T.linspace(0, 1, 1)
        T.linspace(0, 1, 0)
        T.linspace(-2, 2, 4, dtype=T.float64)
        T.linspace(3, 0, 4)
        T.linspace(0, 10, steps=3)
        T.linspace(0, 1, 3, requires_grad=True)
        T.linspace(0, 1, -1)
    """,
    "logspace": """
        T.logspace(0, 2, 3)
        T.logspace(0, 3, 4, base=2)
        T.logspace(-1, 1, 3, dtype=T.float64)
        T.logspace(0, 2, 1)
    """,
    "zeros": """
        T.zeros(3)
        T.zeros(2, 3)
        T.zeros((2, 3))
        T.zeros([2])
        T.zeros(T.Size([1, 2]))
        T.zeros(())
        T.zeros(0)
        T.zeros(2, 0)
        T.zeros(2, dtype=T.int64)
        T.zeros(2, dtype=T.bool)
        T.zeros(2, requires_grad=True)
        T.zeros(size=(2,))
        T.zeros(-1)
        T.zeros(2.5)
    """,
    "ones": """
        T.ones(3)
        T.ones(2, 3)
        T.ones((2,), dtype=T.float64)
        T.ones(2, dtype=T.bool)
        T.ones(())
        T.ones(2, requires_grad=True)
        T.ones(2, -3)
    """,
    "full": """
        T.full((2, 3), 7.)
        T.full((2,), 7)
        T.full((2,), True)
        T.full((), 2.5)
        T.full((2,), 7, dtype=T.float64)
        T.full((2,), inf)
        T.full((2,), 1.5, requires_grad=True)
        T.full(size=(2,), fill_value=3)
        T.full((0, 2), 1.)
        T.full((2,), 1.5, dtype=T.int64)
    """,
    "eye": """
        T.eye(3)
        T.eye(2, 3)
        T.eye(3, 2)
        T.eye(2, dtype=T.int64)
        T.eye(0)
        T.eye(2, requires_grad=True)
        T.eye(-1)
    """,
    "empty": """
        T.empty(2, 3).shape
        T.empty((2, 3)).stride()
        T.empty(2).dtype
        T.empty(2, dtype=T.int32).dtype
        T.empty(()).shape
        T.empty(0)
        T.empty(0, requires_grad=True)
        T.empty(-1)
    """,
    "zeros_like": """
        T.zeros_like(ar(2, 3))
        T.zeros_like(i64([1, 2]))
        T.zeros_like(ar(2), dtype=T.float64)
        T.zeros_like(leaf([1.]))
        T.zeros_like(ar(2), requires_grad=True)
        T.zeros_like(ar(2, 3).t())
    """,
    "ones_like": """
        T.ones_like(ar(2, 3))
        T.ones_like(b8([True, False]))
        T.ones_like(ar(2), dtype=T.int64)
        T.ones_like(f32(2.))
    """,
    "full_like": """
        T.full_like(ar(2, 3), 5.)
        T.full_like(i64([1, 2]), 7)
        T.full_like(ar(2), 5, dtype=T.int64)
        T.full_like(ar(2), nan)
    """,
    "empty_like": """
        T.empty_like(ar(2, 3)).shape
        T.empty_like(i64([1, 2])).dtype
        T.empty_like(ar(2), dtype=T.float64).dtype
        T.empty_like(ar(2, 3).t()).stride()
    """,
}

_COMBINED = {
    "tril": """
        T.tril(ar(3, 3))
        T.tril(ar(2, 3), 1)
        T.tril(ar(3, 2), diagonal=-1)
        ar(2, 2, 2).tril()
        grads(lambda x: T.tril(x) * x, rnd(3, 3))
        T.tril(ar(3))
    """,
    "triu": """
        T.triu(ar(3, 3))
        T.triu(ar(2, 3), 1)
        T.triu(ar(3, 2), diagonal=-1)
        ar(2, 2, 2).triu()
        grads(lambda x: T.triu(x) * x, rnd(3, 3))
        T.triu(i64([[1, 2], [3, 4]]))
    """,
    "meshgrid": """
        T.meshgrid(ar(2), ar(3), indexing='ij')
        T.meshgrid(ar(2), ar(3), indexing='xy')
        T.meshgrid(ar(2), indexing='ij')
        [g.tolist() for g in T.meshgrid([ar(2), ar(3)], indexing='ij')]
        grads(lambda x, y: [g ** 2 for g in T.meshgrid(x, y, indexing='ij')], rnd(2), rnd(3))
    """,
    "cat": """
        T.cat([ar(2), ar(3)])
        T.cat((ar(2, 3), ar(1, 3)))
        T.cat([ar(2, 3), ar(2, 1)], dim=1)
        T.cat([ar(2, 3), ar(2, 1)], -1)
        T.cat([ar(2), i64([5])])
        T.cat([f32([]), ar(2)])
        T.cat([ar(2)])
        T.cat([T.zeros(0, 3), ar(2, 3)])
        T.cat([ar(2, 3).t(), ar(3, 2)])
        grads(lambda x, y: T.cat([x, y, x]) ** 2, rnd(2), rnd(3, seed=1))
        T.cat([ar(2, 3), ar(2, 2)])
        T.cat([ar(2), ar(2, 2)])
        T.cat([])
        T.cat([f32(1.), f32(2.)])
        T.cat([ar(2), ar(2)], dim=1)
        T.concat([ar(2), ar(3)])
    """,
    "stack": """
        T.stack([ar(2), ar(2)])
        T.stack([ar(2), ar(2)], dim=1)
        T.stack([ar(2), ar(2)], dim=-1)
        T.stack([f32(1.), f32(2.)])
        T.stack((ar(2, 2), ar(2, 2)), 1)
        T.stack([ar(2), i64([1, 2])])
        grads(lambda x, y: T.stack([x, y], 1) ** 3, rnd(2), rnd(2, seed=1))
        T.stack([ar(2), ar(3)])
        T.stack([])
        T.stack([ar(2)], dim=2)
    """,
    "where": """
        T.where(b8([True, False]), f32([1., 2.]), f32([3., 4.]))
        T.where(b8([True, False]), 1., 2.)
        T.where(b8([True, False]), f32([1., 2.]), 0.)
        T.where(b8([True, False]), 1, 2)
        T.where(b8([[True], [False]]), ar(3), ar(2, 3) + 10)
        T.where(b8([True, False]), i64([1, 2]), f32([3., 4.]))
        T.where(b8([False, True, True]))
        T.where(b8([[False, True], [True, False]]))
        ar(3).where(b8([True, False, True]), -ar(3))
        T.where(f32([1., nan]) > 0, f32([1., 2.]), f32([nan, 4.]))
        grads(lambda x, y: T.where(x > y, x * x, y * x), rnd(4), rnd(4, seed=1))
        grads(lambda x: T.where(x > 0, x.sqrt(), 0.), f64([1., -1., 4.]), order=1)
        T.where(b8(True), f32([1., 2.]), f64([3., 4.]))
        T.where(b8([True, False]), ar(3), ar(3))
    """,
}

_SERIES = {
    "arange": blocks("""
        [T.arange(a, b, s).tolist() for a, b, s in [(0, 7, 2), (-3, 3, 1), (10, 0, -3), (1, 2, 5)]]

        x = T.arange(6).reshape(2, 3); x
    """),
}

CASES = (
    *family("creation", _FROM_DATA, _FILLED, _SERIES, strides=True),
    *family("creation", _COMBINED),
)
