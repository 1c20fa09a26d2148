"""Writing in place: values, results, what other views see, version counters, and what is refused
because a gradient needs it."""

from __future__ import annotations

from .case import blocks, family

_VALUES = {
    "zero_": """
        x = ar(3); x.zero_()
        x = ar(3); x.zero_() is x
        x = ar(2, 3); x[:, 1].zero_(); x
        i64([1, 2]).zero_()
        x = b8([True]); x.zero_()
    """,
    "fill_": """
        ar(3).fill_(2.5)
        i64([1, 2]).fill_(7)
        ar(3).fill_(f32(4.))
        x = ar(2, 3); x.t()[1].fill_(9.); x
        b8([False, True]).fill_(True)
        ar(3).fill_(nan)
        i64([1, 2]).fill_(2.9)
        ar(3).fill_(ar(3))
    """,
    "copy_": """
        x = ar(3); x.copy_(f32([7., 8., 9.])); x
        x = ar(2, 3); x.copy_(f32([1., 2., 3.])); x
        x = ar(3); x.copy_(i64([1, 2, 3])); x
        x = i64([1, 2]); x.copy_(f32([1.9, -1.9])); x
        x = ar(2, 3).t(); x.copy_(ar(3, 2)); x
        x = ar(3); x.copy_(f32(5.)); x
        x = ar(3); x.copy_(ar(3) + 1) is x
        x = ar(3); x.copy_(ar(2))
        x = b8([True, True]); x.copy_(f32([0., 2.])); x
        x = leaf([1., 2.]); y = f64([0., 0.]); y.copy_(x * x); y.sum().backward(); x.grad
    """,
    "add_": """
        ar(3).add_(1)
        ar(3).add_(ar(3))
        ar(2, 3).add_(ar(3))
        ar(3).add_(ar(3), alpha=10)
        x = ar(3); x += 2; x
        x = ar(3); y = x; y += 1; x
        i64([1, 2]).add_(3)
        x = ar(6); x[::2].add_(100.); x
        f32([1.]).add_(f64([2.]))
        i64([1]).add_(0.5)
        ar(3).add_(ar(2, 3))
        ar(3).add_(ar(2))
        f32([1.]).add_(i64([2]))
        b8([True]).add_(1)
    """,
    "sub_": """
        ar(3).sub_(1)
        ar(3).sub_(ar(3), alpha=2)
        x = ar(3); x -= ar(3); x
        i64([3]).sub_(f32([1.]))
    """,
    "mul_": """
        ar(3).mul_(2)
        ar(2, 3).mul_(ar(3))
        x = ar(3); x *= x; x
        i64([2, 3]).mul_(4)
        i64([2, 3]).mul_(1.5)
        ar(2, 3).t().mul_(2)
    """,
    "div_": """
        ar(3).div_(2)
        ar(3).div_(f32([1., 2., 4.]))
        x = ar(3); x /= 4; x
        i64([4]).div_(2)
        f32([7., -7.]).div_(2, rounding_mode='floor')
        f32([7., -7.]).div_(2, rounding_mode='trunc')
    """,
    "pow_": """
        ar(3).pow_(2)
        x = ar(3); x **= 3; x
        ar(3).pow_(f32([1., 2., 0.5]))
    """,
    "neg_": """
        ar(3).neg_()
        i64([1, -2]).neg_()
    """,
    "abs_": """
        f32([-1., 2.]).abs_()
        i64([-3]).abs_()
    """,
    "exp_": """
        ar(3).exp_()
        x = ar(4); x[2:].exp_(); x
        i64([1]).exp_()
    """,
    "sqrt_": """
        f32([4., 9.]).sqrt_()
        i64([4]).sqrt_()
    """,
    "clamp_": """
        ar(5).clamp_(1, 3)
        ar(5).clamp_(min=2)
        ar(5).clamp_(max=2.5)
    """,
    "relu_": """
        f32([-1., 2.]).relu_()
        x = f32([-1., -2., 3.]); x[1:].relu_(); x
    """,
    "masked_fill_": """
        ar(3).masked_fill_(b8([True, False, True]), 9.)
        ar(2, 3).masked_fill_(b8([True, False, True]), -1.)
        i64([1, 2]).masked_fill_(b8([False, True]), 7)
        ar(3).masked_fill_(i64([1, 0, 1]), 9.)
    """,
    "scatter_add_": """
        T.zeros(3).scatter_add_(0, i64([0, 0, 2]), f32([1., 2., 3.]))
        T.zeros(2, 3).scatter_add_(1, i64([[0, 2], [1, 1]]), f32([[1., 2.], [3., 4.]]))
        T.zeros(2).scatter_add_(0, i64([5]), f32([1.]))
    """,
    "others: sub_ mul_": """
        f32([1.5, -1.5]).floor_()
        f32([1.5, -1.5]).ceil_()
        f32([0.5, 1.5, 2.5]).round_()
        f32([1., 2.]).log_()
        f32([1., 2.]).sin_()
        f32([1., 2.]).cos_()
        f32([1., 2.]).tanh_()
        f32([1., 2.]).sigmoid_()
        f32([2., 4.]).reciprocal_()
        f32([-2., 4.]).sign_()
        f32([5., -7.]).remainder_(3)
        f32([5., -7.]).floor_divide_(3)
        f32([4., 16.]).rsqrt_()
        f32([1.7, -1.7]).trunc_()
        f32([1., 2.]).square_()
    """,
    "requires_grad_": """
        f32([1.]).requires_grad_()
        leaf([1.]).requires_grad_(False)
        x = f32([1.]); x.requires_grad_() is x
        i64([1]).requires_grad_()
        (leaf([1.]) * 2).requires_grad_(False)
        (leaf([1.]) * 2).requires_grad_()
    """,
    "detach_": """
        x = leaf([1.]) * 2; x.detach_()
        x = leaf([1.]) * 2; x.detach_() is x
        leaf([1.]).detach_()
        x = leaf([1., 2.]) * 2; x.view(2, 1).detach_()
    """,
    "in-place dtype operators: add_ mul_ div_": """
        x = i64([1, 2]); x += 1; x
        x = i64([1, 2]); x += 1.5; x
        x = i64([1, 2]); x /= 2; x
        x = f32([1, 2]); x *= f64([2, 2]); x
        x = b8([True, False]); x &= b8([True, True]); x
        x = b8([True, False]); x |= b8([False, False]); x
        x = i64([7, 8]); x //= 2; x
        x = i64([7, 8]); x %= 3; x
    """,
}

_GRADIENTS = {
    "add_": """
        x = leaf([1., 2.]); y = x * 2; y.add_(x); y.sum().backward(); x.grad
        x = leaf([1., 2.]); y = (x * 2).add_(x, alpha=3); y.sum().backward(); x.grad
    """,
    "mul_": """
        x = leaf([1., 2.]); y = x * 2; y.mul_(x); y.sum().backward(); x.grad
        x = leaf([1., 2.]); y = x + 2; y.mul_(3); y.sum().backward(); x.grad
    """,
    "exp_": """
        x = leaf([1., 2.]); y = x + 0; y.exp_(); y.sum().backward(); x.grad
    """,
    "relu_": """
        x = leaf([-1., 2.]); y = x * 1; y.relu_(); y.sum().backward(); x.grad
    """,
    "zero_": """
        x = leaf([1., 2.]); y = x * 2; y.zero_(); y.sum().backward(); x.grad
    """,
    "fill_": """
        x = leaf([1., 2.]); y = x * 2; y[:1].fill_(3.); y.sum().backward(); x.grad
    """,
    "masked_fill_": """
        x = leaf([1., 2.]); y = x * 2; y.masked_fill_(x > 1, 0.); y.sum().backward(); x.grad
    """,
    "div_": """
        x = leaf([1., 2.]); y = x * 6; y.div_(4); y.sum().backward(); x.grad
    """,
    "sub_": """
        x = leaf([1., 2.]); y = x * 6; y.sub_(x * x); y.sum().backward(); x.grad
    """,
    "clamp_": """
        x = leaf([1., 5.]); y = x * 1; y.clamp_(0, 3); y.sum().backward(); x.grad
    """,
    "copy_": """
        x = leaf([1., 2.]); y = x * 1; y.copy_(f64([3., 4.])); y.sum().backward(); x.grad
    """,
}

_NEEDED = {
    "leaf: add_ mul_ zero_ fill_ copy_": """
        leaf([1.]).add_(1)
        leaf([1.]).mul_(2)
        leaf([1.]).zero_()
        leaf([1.]).fill_(2.)
        leaf([1.]).copy_(f64([2.]))
        leaf([1.]).exp_()
        x = leaf([1., 2.]); x[0].add_(1)
        x = leaf([1., 2.]); x.view(2).zero_()
        x = leaf([1., 2.]); x += 1
        x = leaf([1., 2.]); x.detach().add_(1); x
        x = leaf([1.]); caught(lambda: x.add_(1)), x
    """,
    "needed: backward _version": blocks("""
        x = leaf([1., 2.]); y = x.exp(); y.add_(1); y.sum().backward()

        x = leaf([1., 2.]); y = x * 2; z = y * y; y.add_(1); z.sum().backward()

        x = leaf([1., 2.]); y = x * 2; z = y + 1; y.add_(1); z.sum().backward(); x.grad

        x = leaf([1., 2.]); w = f64([3., 4.]); z = x * w; w.add_(1); z.sum().backward()

        x = leaf([1., 2.]); w = f64([3., 4.]); z = x + w; w.add_(1); z.sum().backward(); x.grad

        x = leaf([1., 2.]); y = x.sin(); y.mul_(2); y.sum().backward(); x.grad

        x = leaf([1., 2.]); y = x.tanh(); y.mul_(2); y.sum().backward()

        x = leaf([1., 2.]); y = x.sqrt(); y[0] = 5.; y.sum().backward()

        x = leaf([1., 2.]); y = x * 1; v = y[1:]; z = y * y; v.zero_(); z.sum().backward()

        a = leaf([[1., 2.], [3., 4.]]); b = f64([[1., 0.], [0., 1.]]); c = a @ b
        b.zero_(); c.sum().backward()

        x = leaf([1., 2.]); w = f64([3., 4.]); z = x * w; w.detach().add_(1); z.sum().backward()

        x = leaf([1., 2.]); y = x.relu(); y.mul_(2.); y.sum().backward()

        x = leaf([1., 2.]); y = x.softmax(0); y.add_(1.); y.sum().backward()

        x = leaf([1., 2.]); y = x ** 2; y.add_(1.); y.sum().backward(); x.grad
    """),
    "views of one: unbind split": blocks("""
        x = leaf([1., 2.]); a, b = (x * 1).unbind(); a.add_(1)

        x = leaf([1., 2.]); a, b = (x * 1).split(1); a.add_(1)

        with T.no_grad():
            x = leaf([1., 2.]); a, b = x.unbind(); a.add_(1)
        x

        x = f64([1., 2.]); a, b = x.unbind(); a.add_(1); x
    """),
    "expanded: add_ copy_": """
        ar(3).expand(2, 3).add_(1)
        ar(1).expand(3).zero_()
        ar(3).expand(2, 3).copy_(ar(2, 3))
        x = ar(3); x.add_(x.expand(3)); x
    """,
    "no_grad: add_ mul_": blocks("""
        x = leaf([1., 2.])
        with T.no_grad():
            x.add_(1); x.mul_(2)
        x

        x = leaf([1., 2.])
        with T.no_grad():
            x -= 0.5
        (x, x._version)

        x = leaf([1., 2.]); y = x * x
        with T.no_grad():
            x.add_(1)
        y.sum().backward()
    """),
}

CASES = family("in_place", _VALUES, _GRADIENTS, _NEEDED)
