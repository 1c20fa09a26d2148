"""Modules and optimizers: parameters, states, modes, and a few steps from given weights."""

from __future__ import annotations

from .case import blocks, family

_NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(2, 3)
        self.two = nn.Linear(3, 1)
    def forward(self, x):
        return self.two(T.tanh(self.one(x)))
net = Net()
with T.no_grad():
    for k, p in enumerate(net.parameters()):
        p.copy_(rnd(*p.shape, seed=k, dtype='float32'))
""".strip()

_LINEAR = """
m = nn.Linear(3, 2)
with T.no_grad():
    m.weight.copy_(rnd(2, 3, dtype='float32'))
    m.bias.copy_(f32([1., -1.]))
""".strip()

_BASES = {
    "nn.Parameter": """
        nn.Parameter(f32([1., 2.]))
        nn.Parameter(f32([1.]), requires_grad=False).requires_grad
        isinstance(nn.Parameter(f32([1.])), T.Tensor)
        (nn.Parameter(f32([1.])) * 2).requires_grad
        repr(nn.Parameter(f32([1., 2.])))
        p = nn.Parameter(f32([1., 2.])); (p * p).sum().backward(); p.grad
        nn.Parameter(i64([1]))
        type(nn.Parameter(f32([1.])) * 2).__name__
        type(nn.Parameter(f32([1.])).data).__name__
        x = ar(3); nn.Parameter(x).data_ptr() == x.data_ptr()
    """,
    "nn.Module": [
        f"{_NET}\nnet(f32([[1., 2.]]))",
        f"{_NET}\nrepr(net)",
        f"{_NET}\n[n for n, _ in net.named_parameters()]",
        f"{_NET}\n[n for n, _ in net.named_modules()]",
        f"{_NET}\n[n for n, _ in net.named_children()]",
        f"{_NET}\nnet(f32([[1., 2.]])).sum().backward(); [p.grad for p in net.parameters()]",
        f"{_NET}\nnet(f32([[1., 2.]])).sum().backward(); net.zero_grad()\n"
        "[p.grad for p in net.parameters()]",
        f"{_NET}\nnet.requires_grad_(False); [p.requires_grad for p in net.parameters()]",
        f"{_NET}\nnet.one.weight is dict(net.named_parameters())['one.weight']",
        f"{_NET}\nnet(f32([[1., 2., 3.]]))",
        *blocks("""
            nn.Module()(f32([1.]))

            m = nn.Module(); m.w = nn.Parameter(f32([1.])); len(list(m.parameters()))

            m = nn.Module(); m.w = nn.Parameter(f32([1.])); m.w = f32([2.])

            m = nn.Module(); m.register_buffer('b', f32([1.])); list(m.state_dict())

            m = nn.Module(); m.register_parameter('w', nn.Parameter(f32([1.]))); m.w

            m = nn.Module(); m.w = f32([1.]); list(m.parameters())

            m = nn.Module(); m.a = nn.Linear(1, 1); del m.a; list(m.parameters())

            m = nn.Module(); caught(lambda: m.missing)

            class M(nn.Module):
                def __init__(self):
                    self.w = nn.Parameter(f32([1.]))
            caught(M)

            m = nn.Linear(1, 1); m.apply(lambda k: None) is m
        """),
    ],
    "Module.parameters": [
        f"{_NET}\n[p.shape for p in net.parameters()]",
        f"{_NET}\nsum(p.numel() for p in net.parameters())",
        "[p.requires_grad for p in nn.Linear(2, 2).parameters()]",
        "list(nn.ReLU().parameters())",
        "m = nn.Linear(2, 2); s = nn.Sequential(m, m); len(list(s.parameters()))",
    ],
    "Module.state_dict": [
        f"{_NET}\nlist(net.state_dict())",
        f"{_NET}\nnet.state_dict()['two.bias']",
        f"{_NET}\nother = Net(); other.load_state_dict(net.state_dict())\n"
        "T.equal(other(f32([[1., 2.]])), net(f32([[1., 2.]])))",
        f"{_NET}\nstr(Net().load_state_dict(net.state_dict()))",
        f"{_NET}\nstate = net.state_dict(); del state['two.bias']; Net().load_state_dict(state)",
        f"{_NET}\nstate = dict(net.state_dict()); state['three'] = ar(1)\n"
        "Net().load_state_dict(state)",
        f"{_NET}\nstate = dict(net.state_dict()); state['two.bias'] = ar(2)\n"
        "Net().load_state_dict(state)",
        f"{_NET}\nstate = net.state_dict(); state['two.bias'].requires_grad",
        f"{_NET}\nstate = net.state_dict(); state['two.bias'].zero_(); net.two.bias.item()",
        f"{_NET}\nstate = net.state_dict(); del state['two.bias']\n"
        "Net().load_state_dict(state, strict=False).missing_keys",
    ],
    "Module.train": """
        nn.Linear(1, 1).training
        m = nn.Sequential(nn.Dropout(0.5)); m.eval(); m.train(); m[0].training
        m = nn.Linear(1, 1); m.train() is m
        m = nn.Linear(1, 1); m.train(False).training
    """,
    "Module.eval": """
        nn.Linear(1, 1).eval().training
        nn.Dropout(0.5).eval()(ar(4))
        m = nn.Sequential(nn.Sequential(nn.Dropout(0.5))); m.eval(); m[0][0].training
        m = nn.Linear(1, 1); m.eval() is m
    """,
    "Module.to": """
        nn.Linear(1, 1).to(T.float64).weight.dtype
        m = nn.Linear(1, 1); m.to(T.float64) is m
        m = nn.Linear(1, 1); w = m.weight; m.to(T.float64); m.weight is w
        nn.Linear(1, 1).to('cpu').weight.device
        nn.Linear(1, 1).double().bias.dtype
        nn.Linear(1, 1).to(T.int64)
        nn.Linear(1, 1).to(T.float64).weight.requires_grad
    """,
}

_LAYERS = {
    "nn.Linear": [
        f"{_LINEAR}\nm(ar(2, 3))",
        f"{_LINEAR}\nm(ar(3))",
        f"{_LINEAR}\nm(ar(2, 2, 3))",
        f"{_LINEAR}\nm(ar(2, 3)).sum().backward(); (m.weight.grad, m.bias.grad)",
        f"{_LINEAR}\nm(ar(2, 2))",
        f"{_LINEAR}\nm(rnd(2, 3))",
        "nn.Linear(3, 2).weight.shape",
        "nn.Linear(3, 2).bias.shape",
        "nn.Linear(3, 2, bias=False).bias",
        "repr(nn.Linear(3, 2))",
        "nn.Linear(3, 2, dtype=T.float64).weight.dtype",
        "m = nn.Linear(4, 500); bool((m.weight.abs() <= 0.5).all() & (m.bias.abs() <= 0.5).all())",
        "m = nn.Linear(4, 500); m.weight.abs().max().item() > 0.4",
        "(nn.Linear(3, 2).in_features, nn.Linear(3, 2).out_features)",
        "m = nn.Linear(3, 2); (m.weight.is_leaf, m.weight.requires_grad, m.bias.requires_grad)",
    ],
    "nn.Sequential": """
        nn.Sequential(nn.ReLU(), nn.Tanh())(f32([-1., 1.]))
        len(nn.Sequential(nn.ReLU(), nn.Tanh()))
        repr(nn.Sequential(nn.ReLU(), nn.Linear(1, 2)))
        type(nn.Sequential(nn.ReLU(), nn.Tanh())[1]).__name__
        [type(m).__name__ for m in nn.Sequential(nn.ReLU(), nn.Tanh())]
        list(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)).state_dict())
        nn.Sequential()(ar(2))
        nn.Sequential(nn.ReLU())[1]
        repr(nn.Sequential())
    """,
    **{
        f"nn.{name}": [
            f"nn.{name}({arguments})(f32([[-2., -0.5, 0., 0.5, 2.]]))",
            f"repr(nn.{name}({arguments}))",
            f"grads(nn.{name}({arguments}), f64([[-2., -0.5, 0.5, 2.]]))",
        ]
        for name, arguments in [
            ("ReLU", ""),
            ("GELU", ""),
            ("SiLU", ""),
            ("Sigmoid", ""),
            ("Tanh", ""),
            ("Softplus", ""),
            ("LeakyReLU", "0.2"),
            ("ELU", ""),
            ("Softmax", "dim=1"),
            ("LogSoftmax", "dim=1"),
        ]
    },
    "nn.Conv2d": blocks("""
        nn.Conv2d(2, 3, 2).weight.shape

        nn.Conv2d(2, 3, (1, 2)).weight.shape

        nn.Conv2d(2, 3, 2, bias=False).bias

        m = nn.Conv2d(1, 1, 2); m.load_state_dict({'weight': T.ones(1, 1, 2, 2), 'bias': f32([1.])})
        m(ar(1, 1, 3, 3))

        m = nn.Conv2d(1, 1, 2, stride=2, padding=1, bias=False); m.weight.data.fill_(1.)
        m(ar(1, 1, 2, 2))

        repr(nn.Conv2d(2, 3, 2, stride=2, padding=1))

        repr(nn.Conv2d(2, 3, 2))

        m = nn.Conv2d(1, 1, 2); m(ar(1, 1, 3, 3)).sum().backward(); m.weight.grad

        nn.Conv2d(2, 3, 2)(ar(1, 1, 3, 3))

        nn.Conv2d(2, 4, 2, groups=2).weight.shape
    """),
    "nn.LayerNorm": blocks("""
        nn.LayerNorm(3)(f32([[1., 2., 4.]]))

        nn.LayerNorm((2, 3))(ar(1, 2, 3))

        nn.LayerNorm(3).weight

        nn.LayerNorm(3).bias

        nn.LayerNorm(3, elementwise_affine=False).weight

        repr(nn.LayerNorm(3))

        m = nn.LayerNorm(2); (m(f32([[1., 3.]])) * f32([1., 2.])).sum().backward()
        (m.weight.grad, m.bias.grad)

        nn.LayerNorm(3)(ar(2, 2))

        nn.LayerNorm(3, eps=0.1)(f32([[1., 2., 4.]]))
    """),
    "nn.Embedding": blocks("""
        nn.Embedding(4, 2).weight.shape

        m = nn.Embedding(3, 2); m.weight.data.copy_(ar(3, 2)); m(i64([2, 0, 2]))

        m = nn.Embedding(3, 2); m(i64([2, 0, 2])).sum().backward(); m.weight.grad

        m = nn.Embedding(3, 2); m(i64([[0], [1]])).shape

        nn.Embedding(3, 2)(i64([3]))

        nn.Embedding(3, 2)(f32([1.]))

        repr(nn.Embedding(3, 2))

        m = nn.Embedding(3, 2, padding_idx=0); m.weight[0]
    """),
    "others: nn.Module": """
        repr(nn.Dropout(0.5))
        nn.Dropout(0.)(ar(3))
        nn.Flatten()(ar(2, 2, 2))
        nn.Identity()(ar(2))
        nn.MSELoss()(f32([1., 2.]), f32([0., 0.]))
        nn.CrossEntropyLoss()(f32([[1., 2.]]), i64([1]))
        nn.BCEWithLogitsLoss()(f32([1.]), f32([1.]))
        nn.NLLLoss()(f32([[-1., -2.]]), i64([1]))
        nn.MaxPool2d(2)(ar(1, 1, 2, 2))
        nn.AvgPool2d(2)(ar(1, 1, 2, 2))
        len(nn.ModuleList([nn.ReLU(), nn.ReLU()]))
    """,
}

CASES = family("nn", _BASES, _LAYERS)
