"""What is refused, and with which class of error; that nothing is changed by a refused call."""

from __future__ import annotations

from .case import blocks, family

_REFUSED = {
    "ragged: tensor": """
        T.tensor([[1, 2], [3]])
        T.tensor([[1], 2])
        T.tensor([1, [2]])
        T.tensor([[[1], [2]], [[3]]])
        T.tensor([[1, 2], [3, 4, 5]], dtype=T.float64)
    """,
    "not numbers: tensor": """
        T.tensor('abc')
        T.tensor(['a'])
        T.tensor(None)
        T.tensor([None])
        T.tensor({'a': 1})
        T.tensor([{}])
        T.tensor(object())
        T.tensor([1, 'b'])
        T.tensor(lambda: 1)
        T.tensor({1, 2})
        T.tensor()
        T.tensor([1], [2])
        T.tensor([1], dtype='float32')
        T.tensor([1], dtype=float)
        T.tensor([1], dtype=3)
    """,
    "overflow: tensor full": """
        T.tensor([2**63])
        T.tensor([2**70])
        T.tensor([300], dtype=T.uint8)
        T.tensor([40000], dtype=T.int16)
        T.tensor([2**31], dtype=T.int32)
        T.tensor([inf], dtype=T.int64)
        T.tensor([nan], dtype=T.int64)
        T.full((2,), 300, dtype=T.uint8)
        T.tensor([1e400])
        T.tensor([1e39])
        T.tensor([70000.], dtype=T.float16)
        u8([1]).fill_(300)
        T.full((1,), 2**63)
    """,
    "sizes: zeros empty view": """
        T.zeros(-1)
        T.zeros(2, -1)
        T.zeros((2, -1))
        T.full((-1,), 1.)
        T.empty(-2, 3)
        T.rand(-1)
        T.randn(2, -2)
        T.zeros('a')
        T.zeros([2.5])
        T.zeros(None)
        T.zeros(2, 'a')
        T.zeros(2**62)
        T.zeros(2**40, 2**40)
        T.empty(2**62, 4)
        ar(4).view(2**40, 2**40)
        ar(4).view('a')
        ar(4).view(2.)
        ar(4).reshape(0)
        ar(4).reshape()
        ar(3).repeat(-1)
        ar(3).expand(-2, 3)
        T.linspace(0, 1, 2**62)
        T.eye(2**40)
    """,
    "dims: sum transpose unsqueeze": """
        ar(2, 3).sum(2)
        ar(2, 3).sum(-3)
        ar(2, 3).sum('a')
        ar(2, 3).sum(0.5)
        ar(2, 3).sum((0, 2))
        f32(1.).sum(1)
        f32(1.).sum(0)
        ar(2, 3).transpose(0, 3)
        ar(2, 3).transpose(0)
        ar(2, 3).size(2)
        ar(2, 3).stride(5)
        ar(2, 3).softmax(2)
        ar(2, 3).unbind(2)
        ar(2, 3).flatten(0, 2)
        ar(2, 3).select(2, 0)
        ar(2, 3).permute(0, 1, 2)
        ar(2, 3).squeeze(-3)
        ar(2, 3).cumsum(2)
        ar(2, 3).argmax(2)
        ar(2, 3).max(2)
        ar(2, 3, 4).t()
        ar(2, 3).sum(2**40)
    """,
    "shapes: add matmul": """
        ar(3) + ar(4)
        ar(2, 3) * ar(2)
        ar(2, 3) - ar(3, 2)
        ar(3) < ar(2)
        ar(2, 3) @ ar(2, 3)
        T.maximum(ar(2), ar(3))
        T.where(b8([True]), ar(2), ar(3))
        T.cat([ar(2), ar(2, 2)])
        T.stack([ar(2), ar(3)])
        T.dot(ar(2), ar(3))
        T.lerp(ar(2), ar(3), 0.5)
        f32([]) + ar(2)
    """,
    "dtypes: matmul cat": """
        f32([1.]) @ i64([1])
        f32([[1.]]) @ f64([[1.]])
        i64([1]).mean()
        i64([1]).requires_grad_()
        T.tensor([1], requires_grad=True)
        T.zeros(1, dtype=T.int64, requires_grad=True)
        T.zeros(1, dtype=T.bool, requires_grad=True)
        x = b8([True]); x.requires_grad = True
        x = i64([1]); x.requires_grad = True
        T.where(i64([1, 0]), ar(2), ar(2))
        T.where(f32([1.]), 1., 2.)
        ar(3)[f32([1.])]
        b8([True]) - b8([True])
        -b8([True])
        f32([1.]) & f32([1.])
        f32([1.]) | True
        ~f32([1.])
        f32([1.]) << 1
    """,
    "operands: add lt": """
        ar(2) + 'a'
        ar(2) + None
        ar(2) + [1, 2]
        'a' + ar(2)
        None * ar(2)
        ar(2) < 'a'
        ar(2) / {}
        T.add(ar(2), 'a')
        T.add(ar(2))
        T.add()
        T.sum('a')
        T.sum()
        T.exp(2.)
        T.exp([1., 2.])
        T.matmul(ar(2), 2)
        T.maximum(ar(2), 2)
        T.cat(ar(2))
        T.cat([1, 2])
        T.cat([ar(2), 3])
        T.stack(3)
        ar(2).sum(bad=3)
        T.zeros(2, bad=3)
        ar(2).add(ar(2), ar(2), ar(2))
        ar(2).view()
        T.where(b8([True]), 'a', 'b')
        T.einsum(3, ar(2))
        T.softmax(ar(2))
        ar(2) == 'a'
        ar(2) != None
    """,
    "many elements: item __bool__ __float__": """
        ar(2).item()
        bool(ar(2))
        float(ar(2))
        int(ar(2))
        f32([]).item()
        bool(f32([]))
        float(f32([]))
        'a' if ar(2) else 'b'
        ar(2) and ar(2)
        1. if (ar(2) > 0) else 0.
        len(f32(1.))
        [x for x in f32(1.)]
        [1, 2, 3][i64([0, 1])]
    """,
    "indices: indexing assignment": """
        ar(3)[3]
        ar(3)[-4]
        ar(2, 3)[0, 3]
        ar(2, 3)[:, :, 0]
        ar(3)[i64([3])]
        ar(3)[i64([-4])]
        ar(3)[1.5]
        ar(3)[b8([True, False])]
        ar(3)[::0]
        ar(3)[::-1]
        f32(1.)[0]
        f32(1.)[:]
        x = ar(3); x[3] = 1.
        x = ar(3); x[i64([3])] = 1.
        x = ar(3); x[0] = ar(2)
        x = ar(3); x[:2] = ar(3)
        x = ar(3); x[b8([True])] = 1.
        ar(3)[0][0]
        ar(0, 3)[0]
        ar(3)[{}]
    """,
    "devices: device to": """
        T.device('nowhere')
        T.device('cpu:x')
        T.device(None)
        T.device('')
        T.zeros(2, device='nowhere')
        T.zeros(2, device=3.5)
        ar(2).to('cuda:-1')
        T.device('cuda', -1)
        T.device('cuda:')
    """,
    "attributes: data dtype shape is_leaf grad_fn": """
        x = ar(2); caught(lambda: setattr(x, 'shape', (1, 2)))
        x = ar(2); caught(lambda: setattr(x, 'dtype', T.int64))
        x = ar(2); caught(lambda: setattr(x, 'is_leaf', False))
        x = ar(2); caught(lambda: setattr(x, 'grad_fn', None))
        x = ar(2); caught(lambda: setattr(x, 'device', T.device('cpu')))
        x = ar(2); caught(lambda: setattr(x, 'data', 3))
        x = ar(2); caught(lambda: x.no_such_attribute)
        x = ar(2); caught(lambda: T.no_such_function)
        x = leaf([1.]); x.data = i64([1])
        x = ar(2); caught(lambda: hash(x))
    """,
    "requires_grad: requires_grad": """
        y = leaf([1.]) * 2; y.requires_grad = False
        y = leaf([1.]) * 2; y.requires_grad = True; y.requires_grad
        x = ar(2); x.requires_grad_('a')
    """,
    "backward: backward autograd.grad": """
        leaf([1., 2.]).backward()
        (leaf([1., 2.]) * 2).backward()
        ar(1).backward()
        x = leaf([1.]); y = (x * x).sum(); y.backward(); y.backward()
        x = leaf([1., 2.]); (x * x).backward(f64([1.]))
        x = leaf([1., 2.]); (x * x).backward(3.)
        x = leaf([1., 2.]); (x * x).sum().backward(inputs=[])
        x = leaf([1.]); T.autograd.grad(x * 2, leaf([1.]))
        x = leaf([1.]); T.autograd.grad(x * 2, [])
        x = leaf([1.]); T.autograd.grad(3, x)
    """,
}

_UNCHANGED = {
    "unchanged: add_ copy_ assignment _version": blocks("""
        x = ar(3); caught(lambda: x.add_(ar(4))); (x, x._version)

        x = ar(3); caught(lambda: x.copy_(ar(2))); (x, x._version)

        x = i64([1, 2]); caught(lambda: x.mul_(1.5)); (x, x._version)

        x = leaf([1.]); caught(lambda: x.zero_()); (x, x._version)

        x = ar(3); caught(lambda: x.__setitem__(5, 1.)); (x, x._version)

        x = leaf([1., 2.]); y = x * x; caught(lambda: y.backward()); y.sum().backward(); x.grad

        x = ar(6); caught(lambda: x.view(4, 2)); x
    """),
}

CASES = family("errors", _REFUSED, _UNCHANGED)
