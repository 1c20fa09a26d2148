"""Views: shapes and strides, what is shared and what is copied, gradients, and what is refused."""

from __future__ import annotations

from .case import blocks, family

_SHAPES = {
    "view": """
        ar(6).view(2, 3)
        ar(6).view(-1, 2)
        ar(2, 3).view(6)
        ar(2, 3).view((3, 2))
        ar(2, 3).view(T.Size([1, 6]))
        ar(2, 3).view(2, 3, 1)
        f32(1.).view(1, 1)
        f32([1.]).view(())
        T.zeros(0, 3).view(3, 0)
        ar(2, 3, 4)[:, :2].view(2, 2, 2, 2)
        x = ar(6); x.view(2, 3)[0, 1] = 9.; x
        ar(2, 3).t().view(6)
        ar(6).view(4, 2)
        ar(6).view(-1, -1)
        ar(6).view(-1, 4)
        ar(6)[::2].view(3, 1)
        ar(2, 3, 4).permute(1, 0, 2).view(3, 2, 4, 1)
        T.zeros(0).view(-1, 0)
        f32([1.]).view(T.int32)
    """,
    "view_as": """
        ar(6).view_as(ar(2, 3))
        ar(2, 3).view_as(ar(6))
        ar(6).view_as(ar(4))
    """,
    "reshape": """
        ar(6).reshape(2, 3)
        ar(6).reshape((3, -1))
        ar(2, 3).t().reshape(6)
        ar(2, 3).t().reshape(-1)
        ar(2, 3).reshape(3, 2)
        f32(1.).reshape(1)
        f32([1.]).reshape(())
        T.reshape(ar(4), (2, 2))
        x = ar(6); x.reshape(2, 3).data_ptr() == x.data_ptr()
        x = ar(2, 3).t(); x.reshape(6).data_ptr() == x.data_ptr()
        ar(2, 3, 4)[:, :, ::2].reshape(2, 6)
        T.zeros(0, 2).reshape(4, 0)
        ar(6).reshape(4, 2)
        ar(6).reshape(-1, -1)
        ar(6).reshape(-2, 3)
    """,
    "flatten": """
        ar(2, 3).flatten()
        ar(2, 3, 4).flatten(1)
        ar(2, 3, 2).flatten(0, 1)
        ar(2, 3, 2).flatten(start_dim=-2)
        f32(1.).flatten()
        ar(2, 3).t().flatten()
        x = ar(4); x.flatten() is x
        T.flatten(ar(2, 2))
        ar(2, 3, 2).flatten(2, 1)
    """,
    "unflatten": """
        ar(6).unflatten(0, (2, 3))
        ar(2, 6).unflatten(1, (3, -1))
        ar(2, 6).unflatten(-1, (2, 3))
        ar(6).unflatten(0, (4, 2))
    """,
    "squeeze": """
        ar(1, 3, 1).squeeze()
        ar(1, 3, 1).squeeze(0)
        ar(1, 3, 1).squeeze(-1)
        ar(1, 3, 1).squeeze(1)
        ar(1, 3, 1).squeeze((0, 2))
        f32([[1.]]).squeeze()
        f32(1.).squeeze()
        f32(1.).squeeze(0)
        T.squeeze(ar(1, 2))
        x = ar(1, 3); x.squeeze()[1] = 8.; x
        ar(1, 3).squeeze(2)
    """,
    "unsqueeze": """
        ar(3).unsqueeze(0)
        ar(3).unsqueeze(1)
        ar(3).unsqueeze(-1)
        ar(2, 3).unsqueeze(-2)
        f32(1.).unsqueeze(0)
        T.unsqueeze(ar(2), 0)
        ar(2, 3).t().unsqueeze(1)
        ar(3).unsqueeze(2)
        ar(3).unsqueeze(-3)
    """,
    "squeeze_": """
        x = ar(1, 3); x.squeeze_()
        x = ar(1, 3, 1); x.squeeze_(0); x
        x = ar(1, 3); x.squeeze_() is x
    """,
    "unsqueeze_": """
        x = ar(3); x.unsqueeze_(0)
        x = ar(3); x.unsqueeze_(-1); x
        x = ar(3); x.unsqueeze_(5)
    """,
    "transpose": """
        ar(2, 3).transpose(0, 1)
        ar(2, 3, 4).transpose(0, 2)
        ar(2, 3, 4).transpose(-1, -2)
        ar(3).transpose(0, 0)
        T.transpose(ar(2, 3), 0, 1)
        x = ar(2, 3); x.transpose(0, 1)[2, 0] = 9.; x
        ar(2, 3).transpose(0, 2)
        ar(2, 3).swapaxes(0, 1)
    """,
    "permute": """
        ar(2, 3, 4).permute(2, 0, 1)
        ar(2, 3, 4).permute((1, 2, 0))
        ar(2, 3).permute(-1, 0)
        f32(1.).permute(())
        T.permute(ar(2, 3), (1, 0))
        ar(2, 3).permute(0)
        ar(2, 3).permute(0, 0)
        ar(2, 3).permute(0, 2)
    """,
    "movedim": """
        ar(2, 3, 4).movedim(0, 2)
        ar(2, 3, 4).movedim(-1, 0)
        ar(2, 3, 4).movedim((0, 1), (1, 2))
        T.movedim(ar(2, 3), 0, 1)
        ar(2, 3).movedim(0, 5)
    """,
    "expand": """
        ar(3).expand(2, 3)
        ar(1, 3).expand(2, -1)
        ar(2, 1).expand(2, 4)
        ar(1, 3).expand((2, 3))
        f32(5.).expand(3)
        ar(3).expand(2, 2, 3)
        T.zeros(1, 0).expand(2, 0)
        x = ar(3).expand(2, 3); x.contiguous()
        ar(3).expand(2, 4)
        ar(3).expand(-1, 3)
        ar(2, 3).expand(3)
    """,
    "expand_as": """
        ar(3).expand_as(ar(2, 3))
        ar(2, 1).expand_as(ar(2, 2))
        ar(3).expand_as(ar(2, 4))
    """,
    "broadcast_to": """
        ar(3).broadcast_to((2, 3))
        T.broadcast_to(ar(2, 1), (2, 3))
        f32(1.).broadcast_to((2, 2))
        ar(3).broadcast_to((4,))
    """,
    "repeat": """
        ar(3).repeat(2)
        ar(3).repeat(2, 1)
        ar(2, 2).repeat(1, 2)
        ar(2).repeat(2, 2, 2)
        ar(2).repeat((3,))
        ar(2).repeat(0)
        f32(1.).repeat(2)
        ar(2, 2).repeat(2)
    """,
    "unbind": """
        ar(2, 3).unbind()
        ar(2, 3).unbind(1)
        T.unbind(ar(2, 2), dim=-1)
        f32(1.).unbind()
    """,
    "split": """
        ar(5).split(2)
        ar(2, 4).split(3, dim=1)
        ar(5).split([1, 4])
        ar(4, 2).split((1, 3), 0)
        T.split(ar(4), 2)
        x = ar(4); x.split(2)[1][0] = 9.; x
        ar(5).split([1, 3])
        ar(5).split(-1)
    """,
    "chunk": """
        ar(6).chunk(3)
        ar(5).chunk(3)
        ar(5).chunk(4)
        ar(2, 4).chunk(2, dim=1)
        T.chunk(ar(2), 5)
        ar(5).chunk(0)
    """,
    "narrow": """
        ar(5).narrow(0, 1, 3)
        ar(2, 4).narrow(1, 0, 2)
        ar(2, 4).narrow(-1, -2, 2)
        T.narrow(ar(4), 0, 2, 2)
        ar(5).narrow(0, 5, 0)
        ar(5).narrow(0, 3, 3)
        ar(5).narrow(0, 0, -1)
        ar(5).narrow(1, 0, 1)
    """,
    "select": """
        ar(2, 3).select(0, 1)
        ar(2, 3).select(1, -1)
        T.select(ar(2, 3), 0, 0)
        ar(3).select(0, 2)
        ar(2, 3).select(0, 2)
        ar(2, 3).select(2, 0)
    """,
    "diagonal": """
        ar(3, 3).diagonal()
        ar(2, 3).diagonal(1)
        ar(3, 2).diagonal(offset=-1)
        ar(2, 3, 3).diagonal(dim1=1, dim2=2)
        ar(2, 3, 2).diagonal(0, 0, 2)
        T.diagonal(ar(2, 2), 5)
        x = ar(2, 2); x.diagonal().zero_(); x
        ar(3).diagonal()
        ar(2, 3).diagonal(0, 0, 0)
    """,
    "as_strided": """
        ar(6).as_strided((2, 2), (3, 1))
        ar(6).as_strided((2, 3), (1, 1))
        ar(6).as_strided((2,), (2,), 1)
        T.as_strided(ar(6), (3, 2), (1, 3))
        ar(6)[1:].as_strided((2,), (1,))
        x = ar(4); x.as_strided((2,), (2,)).fill_(9.); x
        ar(6).as_strided((4, 2), (3, 1))
        ar(6).as_strided((2,), (-1,))
        ar(6).as_strided((2, 2), (1,))
    """,
    "unfold": """
        ar(5).unfold(0, 3, 1)
        ar(7).unfold(0, 2, 3)
        ar(2, 4).unfold(1, 2, 2)
        ar(3).unfold(0, 3, 1)
        ar(3).unfold(0, 4, 1)
        ar(3).unfold(0, 2, 0)
        ar(3).unfold(1, 1, 1)
    """,
    "flip": """
        ar(4).flip(0)
        ar(2, 3).flip(1)
        ar(2, 3).flip((0, 1))
        T.flip(ar(2, 3), [-1])
        ar(2, 3).flip(0, 0)
        ar(2).flip(1)
    """,
}

#: Every one of these is applied to a 2x3 input, and its gradients checked through a nonlinearity.
_GRADIENTS = {
    "view": ["x.view(3, 2)", "x.view(-1)", "x.view(1, 2, 3)"],
    "reshape": ["x.reshape(6)", "x.t().reshape(2, 3)"],
    "flatten": ["x.flatten()", "x.t().flatten()"],
    "unflatten": ["x.unflatten(1, (3, 1))"],
    "squeeze": ["x.unsqueeze(1).squeeze(1)", "x[:1].squeeze()"],
    "unsqueeze": ["x.unsqueeze(0)", "x.unsqueeze(-1)"],
    "transpose": ["x.transpose(0, 1)"],
    "T": ["x.T"],
    "mT": ["x.mT"],
    "H": ["x.H"],
    "t": ["x.t()"],
    "permute": ["x.permute(1, 0)"],
    "movedim": ["x.movedim(0, 1)"],
    "expand": ["x.expand(2, 2, 3)", "x[:, :1].expand(-1, 4)"],
    "expand_as": ["x[:1].expand_as(x)"],
    "broadcast_to": ["x[0].broadcast_to((2, 3))"],
    "repeat": ["x.repeat(2, 1)", "x.repeat(2, 2, 2)"],
    "unbind": ["x.unbind(1)", "x.unbind()[1]"],
    "split": ["x.split(2, 1)", "x.split([1, 2], 1)[1]"],
    "chunk": ["x.chunk(2, 1)"],
    "narrow": ["x.narrow(1, 1, 2)"],
    "select": ["x.select(1, 2)"],
    "diagonal": ["x.diagonal()", "x.diagonal(1)"],
    "as_strided": ["x.as_strided((2, 2), (3, 1))", "x.as_strided((3, 2), (1, 2))"],
    "unfold": ["x.unfold(1, 2, 1)"],
    "flip": ["x.flip(1)", "x.flip(0, 1)"],
    "detach": ["x.detach() * x"],
    "contiguous": ["x.t().contiguous()"],
    "indexing": ["x[1]", "x[:, 1:]", "x[..., -1]", "x[:, None]", "x[[1, 0, 1]]", "x[x > 0]"],
    "to": ["x.to(T.float32).to(T.float64)"],
    "clone": ["x.clone()"],
}

_GRADIENT_CASES = {
    topic: [
        f"f = lambda x: {text}\n"
        "grads(lambda x: [y ** 3 for y in (f(x) if isinstance(f(x), tuple) else [f(x)])], "
        "rnd(2, 3))"
        for text in texts
    ]
    for topic, texts in _GRADIENTS.items()
}

_SHARING = {
    "sharing: view _version": blocks("""
        x = ar(6); y = x.view(2, 3); x.add_(1); y

        x = ar(6); y = x.view(2, 3); z = y.t(); z[0, 1] = 50.; (x, y)

        x = ar(2, 3); row = x[1]; x.mul_(2); row

        x = ar(2, 3); y = x.t().contiguous(); x.zero_(); y
    """),
    "sharing: expand detach": blocks("""
        x = ar(3); y = x.expand(2, 3); x[0] = 7.; y

        x = leaf([1., 2.]); y = x.detach(); y[0] = 5.; x

        x = ar(6); y = x[1:4]; z = y[1:]; z.fill_(0.); (x, z.storage_offset())
    """),
    "sharing: reshape contiguous": blocks("""
        x = ar(2, 3).t(); y = x.reshape(6); x.zero_(); y

        x = ar(2, 3); y = x.reshape(6); x.zero_(); y
    """),
    "grad through views: view indexing": blocks("""
        x = leaf([[1., 2.], [3., 4.]]); y = x * 1; y[0].mul_(2.); y.sum().backward(); x.grad

        x = leaf([1., 2., 3.]); y = x * 1; v = y[1:]; v.pow_(2); y.sum().backward(); x.grad

        x = leaf([1., 2., 3.]); y = x.clone(); v = y.view(3, 1); y.mul_(3.); v

        x = leaf([1., 2.]); v = x.view(2, 1); v
    """),
}

CASES = (
    *family("views", _SHAPES, _SHARING, strides=True),
    *family("view_gradients", _GRADIENT_CASES),
)
