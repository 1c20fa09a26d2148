"""`grad_fn`: the class name of every node, its edges, its hooks."""

from __future__ import annotations

from .case import blocks, family

_GRAD_FN = {
    "grad_fn": """
        leaf([1.]).grad_fn
        f32([1.]).grad_fn
        leaf([1.]) + 1
        leaf([1.]) - 1
        leaf([1.]) * 2
        leaf([1.]) / 2
        leaf([1.]) ** 2
        leaf([1.]) ** leaf([2.])
        -leaf([1.])
        leaf([1.]).exp()
        leaf([1.]).log()
        leaf([1.]).sqrt()
        leaf([1.]).tanh()
        leaf([1.]).sigmoid()
        leaf([1.]).relu()
        leaf([1.]).sin()
        leaf([1.]).abs()
        leaf([1.]).sum()
        leaf([[1.]]).sum(0)
        leaf([1.]).mean()
        leaf([[1.]]).mean(1)
        leaf([[1.]]) @ leaf([[2.]])
        leaf([[1.]]) @ leaf([2.])
        leaf([1.]) @ leaf([2.])
        leaf([[[1.]]]).bmm(leaf([[[2.]]]))
        leaf([1.]).view(1, 1)
        leaf([[1., 2.]]).t()
        leaf([[1., 2.]]).T
        leaf([[1., 2.]]).transpose(0, 1)
        leaf([[1., 2.]]).permute(1, 0)
        leaf([1.]).unsqueeze(0)
        leaf([[1.]]).squeeze(0)
        leaf([1.]).expand(3, 1)
        leaf([1., 2.])[0]
        leaf([1., 2.])[1:]
        leaf([1., 2.])[i64([0])]
        leaf([1.]).clone()
        leaf([1.]).float()
        T.cat([leaf([1.]), leaf([2.])])
        T.stack([leaf([1.]), leaf([2.])])
        T.where(b8([True]), leaf([1.]), leaf([2.]))
        leaf([1., 2.]).softmax(0)
        leaf([1., 2.]).log_softmax(0)
        leaf([1., 2.]).amax()
        leaf([1., 2.]).max()
        leaf([1., 2.]).clamp(0, 1)
        leaf([1., 2.]).cumsum(0)
        leaf([1., 2.]).prod()
        leaf([1., 2.]).var()
        leaf([1., 2.]).std()
        T.maximum(leaf([1.]), leaf([2.]))
        type((leaf([1.]) * 2).grad_fn).__name__
        repr((leaf([1.]) * 2).grad_fn)
        x = leaf([1.]) * 2; x.add_(1.); x
    """,
    "grad_fn.name": """
        (leaf([1.]) * 2).grad_fn.name()
        leaf([1.]).sum().grad_fn.name()
        (leaf([[1.]]) @ leaf([[2.]])).grad_fn.name()
        leaf([1.]).view(1, 1).grad_fn.name()
    """,
    "grad_fn.next_functions": """
        len((leaf([1.]) * leaf([2.])).grad_fn.next_functions)
        [f[0].name() for f in (leaf([1.]) * leaf([2.])).grad_fn.next_functions]
        [f[1] for f in (leaf([1.]) * leaf([2.])).grad_fn.next_functions]
        (leaf([1.]) * 2).exp().grad_fn.next_functions[0][0].name()
        (leaf([1.]) * f64([2.])).grad_fn.next_functions[1]
        x = leaf([1.]); (x * 2).grad_fn.next_functions[0][0].variable is x
    """,
    "grad_fn.metadata": """
        (leaf([1.]) * 2).grad_fn.metadata
        f = (leaf([1.]) * 2).grad_fn; f.metadata['key'] = 3; f.metadata
    """,
    "grad_fn.register_hook": blocks("""
        x = leaf([1., 2.]); y = x * 2; seen = []
        y.grad_fn.register_hook(lambda gi, go: seen.append((gi[0], go[0])))
        y.sum().backward(); seen

        x = leaf([1., 2.]); y = x * 2
        y.grad_fn.register_hook(lambda gi, go: (gi[0] * 10,) + gi[1:])
        y.sum().backward(); x.grad

        x = leaf([1., 2.]); y = x * 2
        handle = y.grad_fn.register_hook(lambda gi, go: (gi[0] * 10,) + gi[1:])
        handle.remove(); y.sum().backward(); x.grad
    """),
    "grad_fn.register_prehook": blocks("""
        x = leaf([1., 2.]); y = x * 2; seen = []
        y.grad_fn.register_prehook(lambda go: seen.append(go[0]))
        y.sum().backward(); seen

        x = leaf([1., 2.]); y = x * 2
        y.grad_fn.register_prehook(lambda go: (go[0] * 5,))
        y.sum().backward(); x.grad

        x = leaf([1., 2.]); y = x * 2; order = []
        y.grad_fn.register_hook(lambda gi, go: order.append('hook'))
        y.grad_fn.register_prehook(lambda go: order.append('prehook'))
        y.sum().backward(); order
    """),
}

CASES = family("grad_fn", _GRAD_FN, nodes=True)
