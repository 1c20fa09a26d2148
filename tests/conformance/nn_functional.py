"""The functions of neural networks: softmax, normalisation, convolution, pooling, losses."""

from __future__ import annotations

from .case import blocks, family

_ROWS = {
    name: [
        f"F.{name}(rnd(2, 3, dtype='float32'), 1)",
        f"F.{name}(rnd(2, 3, dtype='float32'), dim=0)",
        f"T.{name}(rnd(2, 3), -1)",
        f"rnd(4).{name}(0)",
        f"T.{name}(f32([1000., 1001., -1000.]), 0)",
        f"T.{name}(f32([-inf, 1., 2.]), 0)",
        f"T.{name}(f32([nan, 1.]), 0)",
        f"T.{name}(f32([]), 0)",
        f"T.{name}(f32(2.), 0)",
        f"T.{name}(rnd(2, 3, dtype='float32').t(), 1)",
        f"T.{name}(rnd(2, 3), 1, dtype=T.float32)",
        f"T.{name}(i64([1, 2]), 0, dtype=T.float64)",
        f"T.{name}(i64([1, 2]), 0)",
        f"T.{name}(ar(3), 1)",
        f"grads(lambda x: T.{name}(x, 1), rnd(2, 3))",
        f"grads(lambda x: T.{name}(x, 0), rnd(2, 3))",
        f"grads(lambda x: T.{name}(x, 0), f64([1000., 999., 0.]))",
        f"F.{name}(leaf([1., 2.]), 0)",
    ]
    for name in ("softmax", "log_softmax")
}

_NORMS = {
    "layer_norm": """
        F.layer_norm(rnd(2, 3, dtype='float32'), (3,))
        F.layer_norm(rnd(2, 3, dtype='float32'), [3], f32([1., 2., 3.]), f32([0., 1., 0.]))
        F.layer_norm(rnd(2, 3), (2, 3))
        F.layer_norm(rnd(2, 3), (3,), eps=0.1)
        F.layer_norm(rnd(2, 3), (3,), weight=f64([1., 2., 3.]))
        F.layer_norm(T.ones(2, 3), (3,))
        F.layer_norm(rnd(2, 3).t(), (2,))
        grads(lambda x, w, b: F.layer_norm(x, (3,), w, b), rnd(2, 3), rnd(3), rnd(3, seed=1))
        grads(lambda x: F.layer_norm(x, (2, 3)), rnd(2, 3))
        F.layer_norm(rnd(2, 3), (2,))
        F.layer_norm(rnd(2, 3), (3,), f64([1., 2.]))
        F.layer_norm(leaf([[1., 2.]]), (2,))
    """,
    "dropout": """
        F.dropout(ar(3), p=0.)
        F.dropout(ar(3), p=1.)
        F.dropout(ar(3), 0.5, training=False)
        F.dropout(ar(3), p=1.5)
        F.dropout(ar(3), p=-0.1)
        y = F.dropout(T.ones(1000), 0.5); sorted(set(y.tolist()))
        y = F.dropout(T.ones(1000), 0.25); abs(y.mean().item() - 1) < 0.2
        x = leaf([1., 2.]); F.dropout(x, 0.).sum().backward(); x.grad
        x = leaf([1.] * 50); y = F.dropout(x, 0.5); y.sum().backward(); T.equal(x.grad, y.detach())
    """,
}

_IMAGE = "rnd(1, 2, 4, 4, dtype='float32')"
_KERNEL = "rnd(3, 2, 2, 2, seed=1, dtype='float32')"

_CONVOLUTION = {
    "conv1d": """
        F.conv1d(rnd(1, 2, 5, dtype='float32'), rnd(3, 2, 2, seed=1, dtype='float32'))
        F.conv1d(rnd(2, 2, 5), rnd(3, 2, 3, seed=1), f64([1., 2., 3.]))
        F.conv1d(rnd(1, 2, 5), rnd(3, 2, 2, seed=1), stride=2)
        F.conv1d(rnd(1, 2, 5), rnd(3, 2, 2, seed=1), padding=1)
        F.conv1d(rnd(1, 2, 5), rnd(3, 2, 2, seed=1), padding='same')
        F.conv1d(rnd(1, 2, 5), rnd(3, 2, 2, seed=1), padding='valid')
        F.conv1d(rnd(1, 2, 6), rnd(3, 2, 2, seed=1), dilation=2)
        F.conv1d(rnd(1, 2, 5), rnd(2, 1, 2, seed=1), groups=2)
        F.conv1d(rnd(2, 5), rnd(3, 2, 2, seed=1))
        grads(F.conv1d, rnd(1, 2, 4), rnd(2, 2, 2, seed=1), rnd(2, seed=2))
        F.conv1d(rnd(1, 2, 5), rnd(3, 1, 2))
        F.conv1d(rnd(1, 2, 1), rnd(3, 2, 2))
        F.conv1d(rnd(5), rnd(3, 2, 2))
        F.conv1d(rnd(1, 2, 5), rnd(3, 2, 2), stride=0)
    """,
    "conv2d": f"""
        F.conv2d({_IMAGE}, {_KERNEL})
        F.conv2d({_IMAGE}, {_KERNEL}, f32([1., 2., 3.]))
        F.conv2d({_IMAGE}, {_KERNEL}, stride=2)
        F.conv2d({_IMAGE}, {_KERNEL}, stride=(1, 2))
        F.conv2d({_IMAGE}, {_KERNEL}, padding=1)
        F.conv2d({_IMAGE}, {_KERNEL}, padding=(0, 1))
        F.conv2d({_IMAGE}, {_KERNEL}, padding='same')
        F.conv2d({_IMAGE}, {_KERNEL}, dilation=2)
        F.conv2d({_IMAGE}, rnd(2, 1, 2, 2, dtype='float32'), groups=2)
        F.conv2d(rnd(2, 4, 4, dtype='float32'), {_KERNEL})
        F.conv2d(rnd(1, 2, 4, 4), rnd(1, 2, 2, 2, seed=1))
        F.conv2d(rnd(1, 2, 4, 4).transpose(2, 3), rnd(1, 2, 2, 2, seed=1))
        grads(F.conv2d, rnd(1, 1, 3, 3), rnd(1, 1, 2, 2, seed=1), rnd(1, seed=2))
        grads(lambda x, w: F.conv2d(x, w, stride=2, padding=1), rnd(1, 1, 3, 3), rnd(1, 1, 2, 2))
        F.conv2d({_IMAGE}, rnd(3, 1, 2, 2, dtype='float32'))
        F.conv2d({_IMAGE}, rnd(3, 2, 5, 5, dtype='float32'))
        F.conv2d({_IMAGE}, {_KERNEL}, f32([1.]))
        F.conv2d({_IMAGE}, rnd(3, 2, 2, dtype='float32'))
        F.conv2d({_IMAGE}, {_KERNEL}, padding=-1)
        F.conv2d({_IMAGE}, {_KERNEL}, leaf([1., 2., 3.], 'float32')).requires_grad
    """,
}

_POOLING = {
    "max_pool2d": f"""
        F.max_pool2d({_IMAGE}, 2)
        F.max_pool2d({_IMAGE}, (2, 1))
        F.max_pool2d({_IMAGE}, 2, stride=1)
        F.max_pool2d({_IMAGE}, 3, stride=1, padding=1)
        F.max_pool2d({_IMAGE}, 3)
        F.max_pool2d({_IMAGE}, 3, ceil_mode=True)
        F.max_pool2d({_IMAGE}, 2, dilation=2)
        F.max_pool2d(rnd(2, 4, 4), 2)
        F.max_pool2d({_IMAGE}, 2, return_indices=True)
        F.max_pool2d(f32([[[[1., nan], [2., 3.]]]]), 2)
        grads(lambda x: F.max_pool2d(x, 2) ** 2, rnd(1, 1, 4, 4))
        F.max_pool2d({_IMAGE}, 5)
        F.max_pool2d({_IMAGE}, 2, padding=2)
        F.max_pool2d(rnd(4, 4), 2)
        F.max_pool2d({_IMAGE}, 0)
    """,
    "avg_pool2d": f"""
        F.avg_pool2d({_IMAGE}, 2)
        F.avg_pool2d({_IMAGE}, (2, 1))
        F.avg_pool2d({_IMAGE}, 2, stride=1)
        F.avg_pool2d({_IMAGE}, 3, stride=1, padding=1)
        F.avg_pool2d({_IMAGE}, 3, stride=1, padding=1, count_include_pad=False)
        F.avg_pool2d({_IMAGE}, 3, ceil_mode=True)
        F.avg_pool2d({_IMAGE}, 2, divisor_override=3)
        F.avg_pool2d(rnd(2, 4, 4), 2)
        grads(lambda x: F.avg_pool2d(x, 2) ** 2, rnd(1, 1, 4, 4))
        F.avg_pool2d({_IMAGE}, 5)
        F.avg_pool2d({_IMAGE}, 2, padding=2)
    """,
}

_LOSSES = {
    "cross_entropy": """
        F.cross_entropy(rnd(3, 4, dtype='float32'), i64([0, 3, 1]))
        F.cross_entropy(rnd(3, 4), i64([0, 3, 1]), reduction='none')
        F.cross_entropy(rnd(3, 4), i64([0, 3, 1]), reduction='sum')
        F.cross_entropy(rnd(3, 4), i64([0, 3, 1]), weight=f64([1., 2., 0.5, 1.]))
        F.cross_entropy(rnd(3, 4), i64([0, -100, 1]))
        F.cross_entropy(rnd(3, 4), i64([0, 2, 1]), ignore_index=2)
        F.cross_entropy(rnd(3, 4), i64([0, 3, 1]), label_smoothing=0.1)
        F.cross_entropy(rnd(3, 4), rnd(3, 4, seed=1, low=0.).softmax(1))
        F.cross_entropy(rnd(4), i64(2))
        F.cross_entropy(rnd(2, 3, 2), i64([[0, 1], [2, 0]]))
        F.cross_entropy(f64([[1000., 0.]]), i64([1]))
        grads(lambda x: F.cross_entropy(x, i64([0, 2])), rnd(2, 3))
        grads(lambda x: F.cross_entropy(x, i64([0, 2]), reduction='none'), rnd(2, 3))
        grads(lambda x: F.cross_entropy(x, f64([[0.2, 0.8], [1., 0.]])), rnd(2, 2))
        F.cross_entropy(rnd(3, 4), i64([0, 4, 1]))
        F.cross_entropy(rnd(3, 4), i64([0, 1]))
        F.cross_entropy(rnd(3, 4), i64([0, 1, 2]), reduction='other')
        F.cross_entropy(leaf([[1., 2.]]), i64([0]))
    """,
    "nll_loss": """
        F.nll_loss(rnd(3, 4, dtype='float32'), i64([0, 3, 1]))
        F.nll_loss(rnd(3, 4), i64([0, 3, 1]), reduction='none')
        F.nll_loss(rnd(3, 4), i64([0, 3, 1]), reduction='sum')
        F.nll_loss(rnd(3, 4), i64([0, 3, 1]), weight=f64([1., 2., 0.5, 1.]))
        F.nll_loss(rnd(3, 4), i64([0, -100, 1]))
        F.nll_loss(rnd(3, 4), i64([0, 2, 1]), ignore_index=2, reduction='none')
        F.nll_loss(rnd(4), i64(2))
        F.nll_loss(rnd(2, 3, 2), i64([[0, 1], [2, 0]]))
        grads(lambda x: F.nll_loss(x * x, i64([0, 2])), rnd(2, 3))
        F.nll_loss(rnd(3, 4), i64([0, 4, 1]))
        F.nll_loss(rnd(3, 4), i64([0, 1]))
        F.nll_loss(rnd(3, 4), f64([0., 1., 2.]))
    """,
    "mse_loss": """
        F.mse_loss(rnd(3, dtype='float32'), rnd(3, seed=1, dtype='float32'))
        F.mse_loss(rnd(3), rnd(3, seed=1), reduction='none')
        F.mse_loss(rnd(3), rnd(3, seed=1), reduction='sum')
        F.mse_loss(rnd(2, 3), rnd(3))
        F.mse_loss(f32([]), f32([]))
        grads(F.mse_loss, rnd(3), rnd(3, seed=1))
        grads(lambda x, y: F.mse_loss(x, y, reduction='none'), rnd(3), rnd(3, seed=1))
        F.mse_loss(rnd(3), rnd(4))
        F.mse_loss(rnd(3), rnd(3), reduction='other')
    """,
    "binary_cross_entropy_with_logits": [
        f"F.binary_cross_entropy_with_logits({arguments})"
        for arguments in (
            "f32([0.5, -2.]), f32([1., 0.])",
            "f64([0.5, -2.]), f64([1., 0.]), reduction='none'",
            "f64([0.5, -2.]), f64([0.3, 0.7]), reduction='sum'",
            "f64([1000., -1000.]), f64([0., 1.])",
            "f64([0.5, -2.]), f64([1., 0.]), weight=f64([1., 3.])",
            "f64([0.5, -2.]), f64([1., 0.]), pos_weight=f64([2., 3.])",
            "f64([0.5, -2.]), f64([1., 0., 1.])",
            "leaf([0.5]), f64([1.])",
        )
    ]
    + [
        "grads(lambda x: F.binary_cross_entropy_with_logits(x, f64([1., 0., 0.5])), rnd(3))",
        "grads(F.binary_cross_entropy_with_logits, rnd(3), f64([1., 0., 0.5]))",
        "grads(lambda x: F.binary_cross_entropy_with_logits(x, f64([1.])), f64([-80.]))",
    ],
}

_OTHERS = {
    "others: softmax": """
        F.linear(ar(2, 3), ar(4, 3), ar(4))
        F.linear(ar(2, 3), ar(4, 3))
        F.one_hot(i64([0, 2]), 3)
        F.one_hot(i64([0, 2]))
        F.embedding(i64([[0, 2]]), ar(3, 2))
        F.normalize(f64([[3., 4.], [6., 8.]]))
        F.pad(ar(2, 2), (1, 1))
        F.pad(ar(2, 2), (1, 0, 0, 1), value=5.)
        F.l1_loss(rnd(3), rnd(3, seed=1))
        F.hardtanh(f64([-2., 0.5, 2.]))
        F.relu6(f64([-2., 0.5, 8.]))
        F.selu(f64([-1., 1.]))
        F.mish(f64([-1., 1.]))
        F.logsigmoid(f64([-1., 1.]))
        F.softsign(f64([-1., 1.]))
    """,
    "grad_fn names: grad_fn": blocks("""
        F.relu(leaf([1.])).grad_fn.name()

        F.softplus(leaf([1.])).grad_fn.name()

        F.gelu(leaf([1.])).grad_fn.name()

        F.mse_loss(leaf([1.]), f64([2.])).grad_fn.name()
    """),
}

CASES = family("nn_functional", _ROWS, _NORMS, _CONVOLUTION, _POOLING, _LOSSES, _OTHERS)
