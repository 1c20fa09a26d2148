"""Random tensors: their properties, never their values, which are not PyTorch's."""

from __future__ import annotations

from .case import blocks, family

_MAKERS = {
    "rand": """
        T.rand(2, 3).shape
        T.rand((2, 3)).dtype
        T.rand(2, dtype=T.float64).dtype
        T.rand(2, requires_grad=True).requires_grad
        x = T.rand(1000); bool((x >= 0).all() & (x < 1).all())
        x = T.rand(10000); abs(x.mean().item() - 0.5) < 0.02
        T.rand(()).shape
        T.rand(0).shape
        T.rand(2, dtype=T.int64)
        len(set(T.rand(100).tolist())) > 90
    """,
    "randn": """
        T.randn(2, 3).shape
        T.randn(2, dtype=T.float64).dtype
        x = T.randn(10000); (abs(x.mean().item()) < 0.05, abs(x.std().item() - 1) < 0.05)
        T.randn(2, requires_grad=True).is_leaf
        T.randn(2, dtype=T.int64)
    """,
    "randint": """
        T.randint(10, (2, 3)).shape
        T.randint(10, (2,)).dtype
        x = T.randint(3, 7, (1000,)); sorted(set(x.tolist()))
        T.randint(0, 2, (4,), dtype=T.int32).dtype
        T.randint(0, 5, (2,), dtype=T.float32).dtype
        T.randint(5, 5, (2,))
        T.randint(5, 3, (2,))
    """,
    "randperm": """
        T.randperm(5).dtype
        sorted(T.randperm(10).tolist())
        T.randperm(0)
        T.randperm(4, dtype=T.int32).dtype
        T.randperm(-1)
    """,
    "normal": """
        T.normal(0., 1., (2, 3)).shape
        T.normal(ar(3), T.ones(3)).shape
        x = T.normal(5., 0.1, (1000,)); abs(x.mean().item() - 5) < 0.05
        T.normal(T.zeros(3), 0.)
        T.normal(0., -1., (2,))
    """,
    "rand_like": """
        T.rand_like(ar(2, 3)).shape
        T.rand_like(f64([1.])).dtype
        T.rand_like(leaf([1.])).requires_grad
        T.rand_like(i64([1]))
    """,
    "randn_like": """
        T.randn_like(ar(2, 3)).shape
        T.randn_like(ar(2), dtype=T.float64).dtype
    """,
    "randint_like": """
        T.randint_like(ar(2, 3), 5).shape
        T.randint_like(ar(2, 3), 5).dtype
        x = T.randint_like(T.zeros(500), 2, 4); sorted(set(x.tolist()))
    """,
    "manual_seed": blocks("""
        T.manual_seed(3); a = T.rand(5); T.manual_seed(3); T.equal(a, T.rand(5))

        T.manual_seed(3); a = T.randn(5); T.manual_seed(4); T.equal(a, T.randn(5))

        T.manual_seed(3); a = T.rand(5); T.equal(a, T.rand(5))

        T.manual_seed(3); a = T.randperm(9); T.manual_seed(3); T.equal(a, T.randperm(9))

        T.manual_seed(3); T.initial_seed()

        T.manual_seed(3); a = F.dropout(T.ones(50)); T.manual_seed(3)
        T.equal(a, F.dropout(T.ones(50)))
    """),
    "Generator": blocks("""
        g = T.Generator(); g.manual_seed(3); a = T.rand(5, generator=g)
        g.manual_seed(3); T.equal(a, T.rand(5, generator=g))

        g = T.Generator(); g.manual_seed(7) is g

        g = T.Generator(); g.manual_seed(7); g.initial_seed()

        g = T.Generator(); g.device

        T.manual_seed(1); a = T.rand(3); T.manual_seed(1)
        g = T.Generator().manual_seed(9); T.rand(3, generator=g); T.equal(a, T.rand(3))

        g = T.Generator().manual_seed(9); a = T.randn(4, generator=g)
        g.manual_seed(9); T.equal(a, T.randn(4, generator=g))

        g = T.Generator().manual_seed(9); sorted(T.randperm(4, generator=g).tolist())
    """),
    "in place: zero_ fill_": """
        x = T.zeros(1000).uniform_(2, 3); bool((x >= 2).all() & (x <= 3).all())
        x = T.zeros(1000).normal_(5, 0.1); abs(x.mean().item() - 5) < 0.05
        leaf([1.]).uniform_()
    """,
}

CASES = family("random", _MAKERS)
