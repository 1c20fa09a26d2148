"""Optimizers: a few steps from given weights, groups, states, and refused settings."""

from __future__ import annotations

from .case import blocks, family

_STEPS = """
w = nn.Parameter(f64([1., -2., 3.])); b = nn.Parameter(f64(0.5))
o = T.optim.{optimizer}([w, b], {arguments}); losses = []
for _ in range(5):
    o.zero_grad(); loss = ((w * f64([1., 2., 0.5]) + b) ** 2).sum(); loss.backward(); o.step()
    losses.append(loss.item())
(w, b, losses)
""".strip()

_SETTINGS = {
    "SGD": [
        "lr=0.1", "lr=0.05, momentum=0.9", "lr=0.05, momentum=0.9, nesterov=True",
        "lr=0.05, weight_decay=0.1", "lr=0.05, momentum=0.9, dampening=0.5",
        "lr=0.01, maximize=True",
    ],
    "Adam": [
        "", "lr=0.1", "lr=0.1, betas=(0.5, 0.9)", "lr=0.1, eps=0.1", "lr=0.1, weight_decay=0.1",
        "lr=0.1, amsgrad=True",
    ],
}  # fmt: skip

_MADE = {
    f"optim.{name}": [
        *(_STEPS.format(optimizer=name, arguments=arguments) for arguments in settings),
        f"T.optim.{name}([], lr=0.1)",
        f"T.optim.{name}([f32([1.])], lr=-0.1)",
        f"T.optim.{name}(f32([1.]), lr=0.1)",
        f"T.optim.{name}([3], lr=0.1)",
        f"T.optim.{name}([leaf([1.]) * 2], lr=0.1)",
        f"T.optim.{name}([leaf([1.])], lr=0.1).param_groups[0]['lr']",
        *blocks(f"""
            w = leaf([1., 2.]); o = T.optim.{name}([w], lr=0.1); (w * w).sum().backward()
            o.zero_grad(); w.grad

            w = leaf([1., 2.]); o = T.optim.{name}([w], lr=0.1); o.step(); w

            w = leaf([1., 2.]); o = T.optim.{name}([w], lr=0.1); (w * w).sum().backward()
            o.zero_grad(set_to_none=False); w.grad

            a, b = leaf([1.]), leaf([1.])
            o = T.optim.{name}([{{'params': [a]}}, {{'params': [b], 'lr': 0.5}}], lr=0.1)
            (a * a + b * b).sum().backward(); o.step(); (a, b)

            w = leaf([1.]); o = T.optim.{name}([w], lr=0.1)
            o.param_groups[0]['lr'] = 0.5; (w * w).sum().backward(); o.step(); w

            w = leaf([1.]); o = T.optim.{name}([w], lr=0.1)
            def closure():
                o.zero_grad(); loss = (w * w).sum(); loss.backward(); return loss
            (o.step(closure), w)

            m = nn.Linear(2, 1); o = T.optim.{name}(m.parameters(), lr=0.1)
            len(o.param_groups[0]['params'])

            w = leaf([1., 2.]); o = T.optim.{name}([w], lr=0.1); (w * w).sum().backward()
            o.step(); (w.requires_grad, w.is_leaf)

            w = leaf([1.]); o = T.optim.{name}([w], lr=0.1); (w * w).sum().backward(); o.step()
            sorted(o.state_dict())
        """),
    ]
    for name, settings in _SETTINGS.items()
}

_TRAINING = {
    "training: optim.SGD optim.Adam nn.Linear cross_entropy": blocks("""
        m = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)).double()
        with T.no_grad():
            for k, p in enumerate(m.parameters()):
                p.copy_(rnd(*p.shape, seed=k))
        x, y = rnd(4, 2, seed=9), i64([0, 1, 1, 0]); o = T.optim.SGD(m.parameters(), lr=0.5)
        for _ in range(10):
            o.zero_grad(); loss = F.cross_entropy(m(x), y); loss.backward(); o.step()
        loss.item()

        m = nn.Linear(3, 1).double()
        with T.no_grad():
            m.weight.copy_(f64([[1., 0., -1.]])); m.bias.zero_()
        x = rnd(5, 3); y = x @ f64([[2.], [1.], [0.]]); o = T.optim.Adam(m.parameters(), lr=0.1)
        for _ in range(10):
            o.zero_grad(); loss = F.mse_loss(m(x), y); loss.backward(); o.step()
        (m.weight, m.bias)
    """),
}

CASES = family("optim", _MADE, _TRAINING)
