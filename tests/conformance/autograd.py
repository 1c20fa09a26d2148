"""Backward passes: leaf rules, accumulation, retained graphs, hooks in their documented order,
gradient modes."""

from __future__ import annotations

from .case import blocks, family

_BACKWARD = {
    "backward": blocks("""
        x = leaf([1., 2., 3.]); (x ** 2).sum().backward(); x.grad

        x = leaf(3.); (x * x).backward(); x.grad

        x = leaf([1., 2.]); y = x * x; y.backward(f64([1., 10.])); x.grad

        x = leaf([1., 2.]); y = x * x; y.backward(gradient=T.ones_like(y)); x.grad

        x = leaf([2.]); (x * x).backward(); x.grad

        x = leaf([1., 2.]); (x * x).backward()

        f64([1.]).sum().backward()

        x = leaf([1., 2.]); y = (x * x).sum(); y.backward(); y.backward()

        x = leaf([1., 2.]); y = (x * x).sum()
        y.backward(retain_graph=True); y.backward(); x.grad

        x = leaf([1., 2.]); y = (x * x).sum(); y.backward(retain_graph=True)
        y.backward(retain_graph=True); y.backward(); (caught(y.backward), x.grad)

        x = leaf([1., 2.]); y = x + 1; y.sum().backward(); y.sum().backward(); x.grad

        x = leaf([1., 2.]); (x ** 3).sum().backward(create_graph=True)
        g = x.grad; x.grad = None; g.sum().backward(); x.grad

        x, w = leaf([1., 2.]), leaf([3., 4.]); (x * w).sum().backward(inputs=[x])
        (x.grad, w.grad)

        x, w = leaf([1., 2.]), leaf([3., 4.]); (x * w).sum().backward(inputs=w)
        (x.grad, w.grad)

        x = leaf([1., 2.]); y = x * 2; (y * y).sum().backward(inputs=[y]); (x.grad, y.grad)

        x = leaf([1., 2.]); (x * x).backward(f64([1., 2., 3.]))

        x = leaf([1., 2.]); y = x * x; (y + y * x).sum().backward(); x.grad

        x = leaf([1., 2.]); y = x.detach() * x; y.sum().backward(); x.grad

        x = leaf([1., 2.], 'float32'); y = x.double() ** 2; y.sum().backward(); x.grad

        x = leaf([1., 2.]); loss = sum((x * k).sum() for k in range(1, 4)); loss.backward(); x.grad

        a = leaf([[1., 2.], [3., 4.]]); b = leaf([[1., 0.], [2., 1.]])
        (a @ b).sum().backward(); (a.grad, b.grad)

        x = leaf([1., 2., 3.]); b = leaf(2.); (x * b).sum().backward(); b.grad

        x = leaf([[1., 2.]]); y = leaf([[1.], [2.]]); (x * y).sum().backward(); (x.grad, y.grad)

        x = leaf([1., 2.]); x.sum().backward(); x.grad

        x = leaf(2.); x.backward(); x.grad

        x = leaf([1., 2.]); y = x * 3; z = y.argmax(); z.requires_grad

        x = leaf([-1., 2.]); m = x > 0; (x[m] * 2).sum().backward(); x.grad

        x = leaf([1., 2.]); y = x
        for _ in range(500):
            y = y + x
        y.sum().backward(); x.grad

        x = leaf([0.5]); y = x
        for _ in range(20):
            y = y.sin()
        y.sum().backward(); x.grad

        x = leaf([1., 2.]); (x * x).sum().backward(retain_graph=True, create_graph=False); x.grad

        i64([1]).sum().backward()

        x = leaf([1., 2.]); ((x * x).sum() * 2).backward(T.tensor(0.5, dtype=T.float64)); x.grad

        x = leaf([1., 2.]); x.grad = f64([1.])

        x = leaf([1., 2.]); x.grad = f32([1., 1.])

        x = leaf([1., 2.]); x.grad = 3.

        x = leaf([1., 2.]); y = x * x; (y.sum() + y.prod()).backward(); (x.grad, y.grad_fn.name())

        x = leaf([1., 2.]); g1 = (x * x).sum(); g1.backward(); a = x.grad
        (x * 3).sum().backward(); (a is x.grad, a)
    """),
    "retain_grad": blocks("""
        x = leaf([1., 2.]); y = x * 2; y.retain_grad(); (y * y).sum().backward(); y.grad

        x = leaf([1., 2.]); x.retain_grad(); x.sum().backward(); x.grad

        f64([1.]).retain_grad()

        x = leaf([1.]); y = x * 2; y.retain_grad(); y.retain_grad(); y.backward(); y.grad

        x = leaf([1., 2.]); y = x * 2; y.retain_grad(); y.register_hook(lambda g: g * 10)
        y.sum().backward(); (y.grad, x.grad)
    """),
    "retains_grad": blocks("""
        x = f64([1.]); x.retains_grad
    """),
}

_HOOKS = {
    "register_hook": blocks("""
        x = leaf([1., 2.]); seen = []
        x.register_hook(lambda g: seen.append(g.tolist())); (x * x).sum().backward(); seen

        x = leaf([1., 2.]); x.register_hook(lambda g: g * 10); (x * x).sum().backward(); x.grad

        x = leaf([1., 2.]); x.register_hook(lambda g: g + 1); x.register_hook(lambda g: g * 2)
        (x * x).sum().backward(); x.grad

        x = leaf([1., 2.]); h = x.register_hook(lambda g: g * 10); h.remove()
        (x * x).sum().backward(); x.grad

        x = leaf([1., 2.]); y = x * 3; y.register_hook(lambda g: g * 2)
        y.sum().backward(); x.grad

        x = leaf([1., 2.]); y = x * 3; order = []
        x.register_hook(lambda g: order.append('x')); y.register_hook(lambda g: order.append('y'))
        y.sum().backward(); order

        x = leaf([1., 2.]); order = []
        for k in range(3):
            x.register_hook(lambda g, k=k: order.append(k))
        x.sum().backward(); order

        x = leaf([1., 2.]); n = []; x.register_hook(lambda g: n.append(1))
        (x * x + x * 3).sum().backward(); (len(n), x.grad)

        f64([1.]).register_hook(lambda g: g)

        x = leaf([1., 2.]); y = x * 2; y.register_hook(lambda g: None); y.sum().backward(); x.grad

        x = leaf([1., 2.]); x.register_hook(lambda g: g * 5)
        T.autograd.grad((x * x).sum(), x)

        x = leaf([1., 2.]); x.register_hook(lambda g: 3); x.sum().backward()

        x = leaf([1., 2.]); y = x * 1; seen = []
        y.register_hook(lambda g: seen.append(('first', g.tolist())))
        y.mul_(2); y.register_hook(lambda g: seen.append(('second', g.tolist())))
        y.sum().backward(); seen

        x = leaf([1., 2.])
        def hook(g):
            raise ValueError('stop')
        x.register_hook(hook); x.sum().backward()

        x = leaf([1., 2.]); x.register_hook(lambda g: g.new_zeros(2) if False else T.zeros_like(g))
        (x * x).sum().backward(); x.grad
    """),
    "register_post_accumulate_grad_hook": blocks("""
        x = leaf([1., 2.]); seen = []
        x.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.tolist()))
        (x * x).sum().backward(); seen

        x = leaf([1., 2.])
        def step(p):
            p.grad = None
        x.register_post_accumulate_grad_hook(step); x.sum().backward(); x.grad

        x = leaf([1., 2.]); order = []
        x.register_post_accumulate_grad_hook(lambda p: order.append('after'))
        x.register_hook(lambda g: order.append('before')); x.sum().backward(); order

        x = leaf([1., 2.]); n = []
        h = x.register_post_accumulate_grad_hook(lambda p: n.append(1)); h.remove()
        x.sum().backward(); n

        (leaf([1.]) * 2).register_post_accumulate_grad_hook(lambda p: None)

        x = leaf([1., 2.]); n = []
        x.register_post_accumulate_grad_hook(lambda p: n.append(1))
        T.autograd.grad(x.sum(), x); n
    """),
    "hooks of both kinds: register_hook grad_fn.register_hook grad_fn.register_prehook": blocks("""
        x = leaf([1.]); y = x * 2; order = []
        y.register_hook(lambda g: order.append('tensor'))
        y.grad_fn.register_prehook(lambda g: order.append('pre'))
        y.grad_fn.register_hook(lambda gi, go: order.append('post'))
        x.register_hook(lambda g: order.append('leaf')); y.backward(); order

        x = leaf([1.]); y = x * 2; seen = []; y.register_hook(lambda g: g * 3)
        y.grad_fn.register_prehook(lambda g: seen.append(g[0].item())); y.backward(); seen
    """),
}

_MODES = {
    "no_grad": blocks("""
        x = leaf([1.])
        with T.no_grad():
            y = x * 2
        (y.requires_grad, y.is_leaf, y.grad_fn)

        with T.no_grad():
            x = T.tensor([1.], requires_grad=True)
        x.requires_grad

        @T.no_grad()
        def f(x):
            return x * 2
        f(leaf([1.]))

        x = leaf([1.])
        with T.no_grad():
            pass
        (x * 2).requires_grad

        x = leaf([1., 2.])
        with T.no_grad():
            y = x[1:]
        y.requires_grad

        x = leaf([1.]); y = x * x
        with T.no_grad():
            y.backward()
        x.grad

        def f():
            with T.no_grad():
                raise ValueError
        (caught(f), T.is_grad_enabled())

        with T.no_grad():
            with T.no_grad():
                pass
            inner = T.is_grad_enabled()
        (inner, T.is_grad_enabled())

        @T.no_grad
        def f(x):
            return x * 2
        f(leaf([1.])).requires_grad
    """),
    "enable_grad": blocks("""
        x = leaf([1.])
        with T.no_grad():
            with T.enable_grad():
                y = x * 2
        y.requires_grad

        @T.enable_grad()
        def f(x):
            return x * 2
        with T.no_grad():
            y = f(leaf([1.]))
        y.requires_grad
    """),
    "set_grad_enabled": blocks("""
        x = leaf([1.])
        with T.set_grad_enabled(False):
            y = x * 2
        (y.requires_grad, T.is_grad_enabled())

        T.set_grad_enabled(False); a = T.is_grad_enabled(); T.set_grad_enabled(True)
        (a, T.is_grad_enabled())

        x = leaf([1.])
        with T.set_grad_enabled(True):
            y = x * 2
        y.requires_grad
    """),
    "inference_mode": blocks("""
        x = leaf([1.])
        with T.inference_mode():
            y = x * 2
        (y.requires_grad, y.is_leaf)

        @T.inference_mode()
        def f(x):
            return x * 2
        f(leaf([1.])).requires_grad

        with T.inference_mode():
            e = T.is_grad_enabled()
        e

        with T.inference_mode():
            y = f64([1.])
        y.is_inference()

        with T.inference_mode():
            y = f64([1.])
        leaf([1.]) * y

        with T.inference_mode(False):
            y = leaf([1.]) * 2
        y.requires_grad
    """),
    "is_grad_enabled": blocks("""
        T.is_grad_enabled()

        with T.no_grad():
            e = T.is_grad_enabled()
        e
    """),
    "detach": """
        leaf([1.]).detach()
        (leaf([1.]) * 2).detach()
        x = leaf([1., 2.]); x.detach().data_ptr() == x.data_ptr()
        x = leaf([1., 2.]); y = x.detach(); y.add_(1); x
        x = leaf([1., 2.]); x.detach().requires_grad_()
    """,
}

CASES = family("autograd", _BACKWARD, _HOOKS, _MODES)
