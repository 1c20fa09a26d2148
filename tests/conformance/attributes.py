"""The attributes: what they are on leaves, results and views, and what may be set."""

from __future__ import annotations

from .case import blocks, family

_MAIN = {
    "data": blocks("""
    x = leaf([1., 2.]); y = x.data; y

    x = leaf([1., 2.]); x.data[0] = 5.; x

    x = leaf([1., 2.]); x.data.mul_(3.); x

    x = leaf([1., 2.]); (x.data.requires_grad, x.data.is_leaf, x.data.grad_fn)

    x = leaf([1., 2.]); x.data = f64([7., 8., 9.]); x

    x = leaf([1., 2.]); x.data_ptr() == x.data.data_ptr()

    x = leaf([1., 2.]); y = (x * 2).data; (y.is_leaf, y.requires_grad, y)

    x = leaf([1., 2.]); v = x.data._version; x.data.add_(1.); (x._version, v)

    x = f32([1., 2.]); x.data = f32([[1.], [2.]]); x

    x = leaf([1., 2.]); y = (x * x).sum(); x.data = f64([3., 4.]); x.data.add_(1.); x
    """),
    "dtype": """
        T.tensor([1.0]).dtype
        T.tensor([1]).dtype
        T.tensor([True]).dtype
        T.tensor([1, 2.5]).dtype
        T.tensor([True, 2]).dtype
        T.tensor([]).dtype
        str(T.tensor([1.0]).dtype)
        repr(T.int64)
        T.float is T.float32
        T.double is T.float64
        T.long is T.int64
        T.int is T.int32
        T.short is T.int16
        T.half is T.float16
        T.float32.is_floating_point
        T.int64.is_floating_point
        T.float32.is_complex
        T.float16.itemsize
        T.bool.itemsize
        T.int8.is_signed
        T.uint8.is_signed
        T.tensor(1.0).dtype is T.float32
        T.float32 == T.float64
        len({T.float32, T.float, T.int64})
        (f32([1.]) > 0).dtype
        f32([1.]).argmax().dtype
    """,
    "shape": """
        ar(2, 3).shape
        f32(1.0).shape
        f32([]).shape
        f32([[], []]).shape
        ar(2, 3).shape[1]
        ar(2, 3).shape[-1]
        ar(2, 3, 4).shape[1:]
        ar(2, 3).shape == (2, 3)
        ar(2, 3).shape == ar(2, 3).size()
        list(ar(2, 3).shape)
        isinstance(ar(2, 3).shape, tuple)
        ar(2, 3).T.shape
    """,
    "Size": """
        repr(ar(2, 3).shape)
        repr(f32(1.0).shape)
        str(T.Size([4]))
        T.Size([2, 3])
        T.Size([2, 3]) + T.Size([4])
        T.Size([2, 3])[0]
        T.Size((1, 2)) == (1, 2)
        hash(T.Size([2, 3])) == hash((2, 3))
        a, b = T.Size([2, 3]); a * b
    """,
    "Size.numel": """
        T.Size([2, 3]).numel()
        T.Size([]).numel()
        T.Size([0, 3]).numel()
        ar(2, 3, 4).shape.numel()
    """,
    "device": """
        ar(2).device
        str(ar(2).device)
        repr(ar(2).device)
        ar(2).device.type
        ar(2).device.index
        T.device('cpu') == ar(2).device
        T.device('cuda:1')
        repr(T.device('cuda:0'))
        T.device('cuda', 0).index
        T.device('cuda').index
        repr(T.device('cuda'))
        T.device('cuda:0') == T.device('cuda', 0)
        T.device('cuda') == T.device('cuda:0')
        hash(T.device('cpu')) == hash(T.device('cpu'))
        T.device(T.device('cpu'))
        ar(2).is_cuda
        T.zeros(2, device='cpu').device
        T.zeros(2, device=T.device('cpu')).device
    """,
    "requires_grad": """
        f32([1.]).requires_grad
        T.tensor([1.], requires_grad=True)
        x = f32([1.]); x.requires_grad = True; x
        x = leaf([1.]); x.requires_grad = False; x
        (leaf([1.]) * 2).requires_grad
        (f32([1.]) * f32([2.])).requires_grad
        (f64([1.]) * leaf([2.])).requires_grad
        leaf([1.]).argmax().requires_grad
        (leaf([1.]) > 0).requires_grad
        leaf([1.]).long()
        leaf([1.]).float()
        T.zeros(2, requires_grad=True)
        x = f32([1.]).half(); x.requires_grad = True; x
        x = leaf([1.]); T.zeros_like(x).requires_grad
        x = leaf([1.]); x.clone().requires_grad
        x = i64([1]); x.requires_grad = False; x
    """,
    "grad": blocks("""
    leaf([1.]).grad

    x = leaf([1., 2.]); (x * x).sum().backward(); x.grad

    x = leaf([1., 2.]); (x * x).sum().backward(); (x * 3).sum().backward(); x.grad

    x = leaf([1., 2.]); x.grad = f64([5., 6.]); (x * 3).sum().backward(); x.grad

    x = leaf([1., 2.]); (x * x).sum().backward(); x.grad = None; x.grad

    x = leaf([1., 2.]); (x * x).sum().backward(); x.grad.zero_(); (x * x).sum().backward(); x.grad

    x = leaf([1., 2.], 'float32'); (x * x).sum().backward(); (x.grad.dtype, x.grad.shape)

    x = leaf([1., 2.]); y = x * 2; warned(lambda: y.grad)

    x = leaf([1., 2.]); warned(lambda: x.grad)

    x = leaf([1., 2.]); y = x * 2; y.sum().backward(); y.grad

    x = leaf([1., 2.]); (x * x).sum().backward(create_graph=True); x.grad

    x = leaf([1., 2.]); y = f64([3., 4.]); (x * y).sum().backward(); y.grad

    x = f64([1., 2.]); x.grad = f64([5., 6.]); x.grad
    """),
    "is_leaf": """
        f32([1.]).is_leaf
        leaf([1.]).is_leaf
        (leaf([1.]) * 2).is_leaf
        (f32([1.]) * 2).is_leaf
        (leaf([1.]) * 2).detach().is_leaf
        leaf([1.])[0].is_leaf
        x = f32([1.]) * 2; x.requires_grad_(); x.is_leaf
        leaf([1.]).view(1).is_leaf
        leaf([1.]).to(T.float64).is_leaf
        leaf([1.]).to(T.float32).is_leaf
        (leaf([1.]) > 0).is_leaf
    """,
}

CASES = family("attributes", _MAIN)
