"""`autograd`: grad, backward, the functional transforms, Function, gradcheck, anomalies."""

from __future__ import annotations

from .case import blocks, family

_GRAD = {
    "autograd.grad": blocks("""
        x = leaf([1., 2.]); T.autograd.grad((x * x).sum(), x)

        x, w = leaf([1., 2.]), leaf([3., 4.]); T.autograd.grad((x * w).sum(), [x, w])

        x = leaf([1., 2.]); y = x * x; T.autograd.grad(y, x, grad_outputs=f64([1., 10.]))

        x = leaf([1., 2.]); y = x * x; T.autograd.grad([y.sum(), (y * 2).sum()], [x])

        x = leaf([1., 2.]); g, = T.autograd.grad((x ** 3).sum(), x, create_graph=True)
        T.autograd.grad(g.sum(), x)

        x = leaf([1., 2.]); g, = T.autograd.grad((x ** 4).sum(), x, create_graph=True)
        h, = T.autograd.grad(g.sum(), x, create_graph=True); T.autograd.grad(h.sum(), x)

        x = leaf([1., 2.]); T.autograd.grad((x * x).sum(), x); x.grad

        x, w = leaf([1.]), leaf([2.]); T.autograd.grad((x * x).sum(), [x, w])

        x, w = leaf([1.]), leaf([2.]); T.autograd.grad((x * x).sum(), [x, w], allow_unused=True)

        x, w = leaf([1.]), leaf([2.])
        T.autograd.grad((x * x).sum(), [x, w], allow_unused=True, materialize_grads=True)

        x = leaf([1., 2.]); y = (x * x).sum(); T.autograd.grad(y, x); T.autograd.grad(y, x)

        x = leaf([1., 2.]); y = (x * x).sum()
        T.autograd.grad(y, x, retain_graph=True); T.autograd.grad(y, x)

        x = leaf([1., 2.]); y = x * 2; T.autograd.grad((y * y).sum(), y)

        x = leaf([1., 2.]); T.autograd.grad(x * x, x)

        x = leaf([1., 2.]); T.autograd.grad((x * x).sum(), f64([1.]))

        T.autograd.grad(f64([1.]).sum(), f64([1.]))

        x = leaf([1., 2.]); T.autograd.grad((x * x).sum(), x, create_graph=True)

        x = leaf([1., 2.]); T.autograd.grad(x * x, x, f64([1.]))

        x = leaf([1., 2.]); T.autograd.grad(x.sum(), x)

        x = leaf([1., 2.]); T.autograd.grad(x, x, T.ones_like(x))
    """),
    "autograd.backward": blocks("""
        x = leaf([1., 2.]); T.autograd.backward((x * x).sum()); x.grad

        x = leaf([1., 2.]); T.autograd.backward([(x * x).sum(), x.sum()]); x.grad

        x = leaf([1., 2.]); T.autograd.backward(x * x, f64([1., 10.])); x.grad

        x = leaf([1., 2.]); T.autograd.backward([x * x], [f64([1., 10.])]); x.grad

        x, w = leaf([1.]), leaf([2.]); T.autograd.backward((x * w).sum(), inputs=[x])
        (x.grad, w.grad)

        x = leaf([1., 2.]); T.autograd.backward(x * x)
    """),
}

_FUNCTIONAL = {
    "functional.jacobian": blocks("""
        T.autograd.functional.jacobian(lambda x: x ** 2, f64([1., 2.]))

        T.autograd.functional.jacobian(lambda x: (x ** 2).sum(), f64([1., 2.]))

        T.autograd.functional.jacobian(lambda x, y: x * y, (f64([1., 2.]), f64([3., 4.])))

        T.autograd.functional.jacobian(lambda x: (x * 2, x.sum()), f64([1., 2.]))

        T.autograd.functional.jacobian(lambda x: x.exp(), rnd(2, 2))

        T.autograd.functional.jacobian(lambda x: x ** 2, f64([1.]), create_graph=True)

        T.autograd.functional.jacobian(lambda x: f64([1.]), f64([1., 2.]))

        T.autograd.functional.jacobian(lambda x: f64([1.]), f64([1., 2.]), strict=True)

        T.autograd.functional.jacobian(lambda x: 3, f64([1.]))
    """),
    "functional.hessian": blocks("""
        T.autograd.functional.hessian(lambda x: (x ** 3).sum(), f64([1., 2.]))

        T.autograd.functional.hessian(lambda x: x.prod(), f64([1., 2., 3.]))

        T.autograd.functional.hessian(lambda x, y: (x * y).sum(), (f64([1., 2.]), f64([3., 4.])))

        T.autograd.functional.hessian(lambda x: x.sum(), f64([1., 2.]))

        T.autograd.functional.hessian(lambda x: x * 2, f64([1., 2.]))
    """),
    "functional.vjp": blocks("""
        T.autograd.functional.vjp(lambda x: x ** 2, f64([1., 2.]), f64([1., 10.]))

        T.autograd.functional.vjp(lambda x: (x ** 2).sum(), f64([1., 2.]))

        T.autograd.functional.vjp(lambda x, y: x * y, (f64([1.]), f64([3.])), f64([2.]))

        T.autograd.functional.vjp(lambda x: x ** 2, f64([1., 2.]))

        T.autograd.functional.vjp(lambda x: x ** 2, f64([1., 2.]), f64([1.]))
    """),
    "functional.jvp": blocks("""
        T.autograd.functional.jvp(lambda x: x ** 2, f64([1., 2.]), f64([1., 10.]))

        T.autograd.functional.jvp(lambda x: x.sum(), f64([1., 2.]), f64([1., 10.]))

        T.autograd.functional.jvp(
            lambda x, y: x * y, (f64([1.]), f64([3.])), (f64([2.]), f64([1.])))

        T.autograd.functional.jvp(lambda x: x.sin(), f64(0.5))

        T.autograd.functional.jvp(lambda x: x ** 2, f64([1., 2.]))
    """),
    "functional.hvp": blocks("""
        T.autograd.functional.hvp(lambda x: (x ** 3).sum(), f64([1., 2.]), f64([1., 10.]))

        T.autograd.functional.hvp(lambda x: x.prod(), f64([1., 2., 3.]), f64([1., 0., 0.]))

        T.autograd.functional.hvp(lambda x: (x ** 3).sum(), f64([1., 2.]))
    """),
}

_CUBE = """
class Cube(T.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x ** 3
    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return g * 3 * x ** 2
""".strip()
_SCALE = """
class Scale(T.autograd.Function):
    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x * factor
    @staticmethod
    def backward(ctx, g):
        return g * ctx.factor, None
""".strip()
_BOTH = """
class Both(T.autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x + y, x * y
    @staticmethod
    def backward(ctx, g, h):
        x, y = ctx.saved_tensors
        return g + h * y, g + h * x
""".strip()

_FUNCTION = {
    "Function": [
        f"{_CUBE}\nx = leaf([1., 2.]); Cube.apply(x).sum().backward(); x.grad",
        f"{_CUBE}\nCube.apply(leaf([1., 2.]))",
        f"{_CUBE}\nCube.apply(f64([1., 2.])).requires_grad",
        f"{_CUBE}\nCube.apply(leaf([1.])).grad_fn.name()",
        f"{_CUBE}\ngrads(Cube.apply, rnd(3))",
        f"{_CUBE}\nwith T.no_grad():\n    y = Cube.apply(leaf([1.]))\ny.requires_grad",
        f"{_SCALE}\nx = leaf([1., 2.]); Scale.apply(x, 5.).sum().backward(); x.grad",
        f"{_SCALE}\nScale.apply(leaf([1.]), leaf([2.])).sum().backward()",
        f"{_BOTH}\nx, y = leaf([1., 2.]), leaf([3., 4.]); a, b = Both.apply(x, y)\n"
        "(a.sum() * 2 + b.sum()).backward(); (x.grad, y.grad)",
        f"{_BOTH}\nx, y = leaf([1.]), leaf([3.]); a, b = Both.apply(x, y)\n"
        "b.backward(); (x.grad, y.grad)",
        f"{_BOTH}\ngrads(Both.apply, rnd(2), rnd(2, seed=1))",
        f"{_CUBE.replace('g * 3 * x ** 2', '(g, g)')}\nCube.apply(leaf([1.])).backward()",
        f"{_CUBE.replace('g * 3 * x ** 2', 'f64([1., 2.])')}\nCube.apply(leaf([1.])).backward()",
    ],
    "save_for_backward": [
        f"{_CUBE}\nx = leaf([1., 2.]); y = Cube.apply(x); y.sum().backward(); y.sum().backward()",
        f"{_CUBE}\nx = leaf([1., 2.]); w = x * 1; y = Cube.apply(w); w.add_(1); y.sum().backward()",
        f"{_CUBE}\nx = leaf([1., 2.]); y = Cube.apply(x).sum(); y.backward(retain_graph=True)\n"
        "y.backward(); x.grad",
        _CUBE.replace("ctx.save_for_backward(x)", "ctx.needs = ctx.needs_input_grad").replace(
            "x, = ctx.saved_tensors\n        return g * 3 * x ** 2",
            "return g * (2. if ctx.needs[0] else 1.)",
        )
        + "\nx = leaf([1.]); Cube.apply(x).backward(); x.grad",
    ],
    "gradcheck": [
        *blocks("""
        T.autograd.gradcheck(lambda x: x ** 3, leaf([1., 2.]))

        T.autograd.gradcheck(T.matmul, (leaf([[1., 2.]]), leaf([[3.], [4.]])))

        T.autograd.gradgradcheck(lambda x: x ** 3, leaf([1., 2.]))

        T.autograd.gradcheck(lambda x: x.detach() * x, leaf([1., 2.]))

        T.autograd.gradcheck(lambda x: x.detach() * x, leaf([1., 2.]), raise_exception=False)

        T.autograd.gradcheck(lambda x: x * 2, f64([1., 2.]))
    """),
        f"{_CUBE.replace('* 3', '* 4')}\nT.autograd.gradcheck(Cube.apply, leaf([1., 2.]))",
    ],
    "detect_anomaly": blocks("""
        x = leaf([-1.])
        with T.autograd.detect_anomaly():
            x.sqrt().sum().backward()

        x = leaf([4.])
        with T.autograd.detect_anomaly():
            x.sqrt().sum().backward()
        x.grad

        with T.autograd.set_detect_anomaly(False):
            x = leaf([-1.]); x.sqrt().sum().backward()
        x.grad

        x = leaf([0., 1.])
        with T.autograd.detect_anomaly():
            (x * 0 / x).sum().backward()
    """),
}

CASES = family("autograd_functions", _GRAD, _FUNCTIONAL, _FUNCTION)
