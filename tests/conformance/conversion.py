"""Between dtypes, devices, Python's numbers, NumPy and DLPack; what is shared, what is refused."""

from __future__ import annotations

from .case import blocks, family

_CASTS = {
    name: [
        f"f32([1.7, -1.7, 0.]).{name}()" if name not in {"float", "double"} else
        f"i64([1, -2]).{name}()",
        f"i64([0, 1, 2]).{name}()",
        f"b8([True, False]).{name}()",
        f"ar(2, 3).t().{name}()",
        f"x = f32([1.]).{name}(); x.{name}() is x",
    ]
    for name in ("float", "double", "half", "bfloat16", "int", "long", "short", "bool")
}  # fmt: skip

_CONVERSION = {
    "to": """
        ar(2).to(T.float64)
        x = ar(2); x.to(T.float32) is x
        x = ar(2); x.to('cpu') is x
        x = ar(2); x.to(T.device('cpu')) is x
        ar(2).to('cpu', T.float64)
        ar(2).to(dtype=T.int64)
        ar(2).to(device='cpu', dtype=T.int64)
        ar(2).to(f64([1.]))
        x = ar(2); x.to(x) is x
        x = ar(2); x.to(T.float32, copy=True) is x
        leaf([1., 2.]).to(T.float32)
        x = leaf([1., 2.]); x.to(T.float32).sum().backward(); x.grad
        f64([1e300]).to(T.float32)
        f32([1.1]).to(T.float64)
        i64([2**53 + 1]).to(T.float64)
        i64([300]).to(T.uint8)
        i64([-1]).to(T.uint8)
        f64([70000.]).to(T.float16)
        ar(2).to('no such device')
        ar(2).to('float32')
        f64([0.1, 1.00390625]).to(T.bfloat16)
    """,
    "cpu": """
        x = ar(2); x.cpu() is x
        ar(2).cpu()
        leaf([1.]).cpu().requires_grad
    """,
    "cuda": blocks("""
        x = ar(2)
        def moved():
            return x.cuda().device.type == 'cuda'
        moved() if T.cuda.is_available() else caught(moved) in ('RuntimeError', 'AssertionError')

        def made():
            return T.zeros(2, device='cuda').device.type == 'cuda'
        made() if T.cuda.is_available() else caught(made) in ('RuntimeError', 'AssertionError')

        isinstance(T.cuda.is_available(), bool)

        isinstance(T.cuda.device_count(), int)
    """),
    "type": """
        ar(2).type(T.float64)
        ar(2).type(T.int64)
        x = ar(2); x.type(T.float32) is x
        leaf([1.]).type(T.float32).requires_grad
    """,
    "item": """
        f32([2.5]).item()
        f32(2.5).item()
        i64([[7]]).item()
        b8([True]).item()
        type(f32(1.).item()).__name__
        type(i64(1).item()).__name__
        f16([0.1]).item()
        leaf([2.5]).item()
        f32([nan]).item()
        f32([1., 2.]).item()
        f32([]).item()
    """,
    "tolist": """
        ar(2, 3).tolist()
        f32(2.5).tolist()
        f32([]).tolist()
        T.zeros(2, 0).tolist()
        b8([True, False]).tolist()
        i64([[1], [2]]).tolist()
        ar(2, 3).t().tolist()
        leaf([1., 2.]).tolist()
        f32([0.1]).tolist()
        f32([inf, -inf]).tolist()
    """,
    "__len__": """
        len(ar(3))
        len(ar(2, 5))
        len(f32([]))
        len(f32(1.))
    """,
    "__bool__": """
        bool(f32([1.]))
        bool(f32([0.]))
        bool(b8(True))
        bool(f32([nan]))
        bool(i64([[3]]))
        bool(ar(2))
        bool(f32([]))
        'yes' if f32(1.) > 0 else 'no'
        not f32([0.])
    """,
    "__float__": """
        float(f32([2.5]))
        float(i64(3))
        float(b8([True]))
        float(leaf([2.5]))
        float(ar(2))
        int(f32([2.7]))
        int(f32([-2.7]))
        int(i64([2**40]))
        int(f32([nan]))
        int(f32([inf]))
        [10, 20, 30][i64(1)]
        [10, 20, 30][f32(1.)]
        complex(f32([1.5])).real
        math.sqrt(f32(4.))
        range(i64(3))[1]
    """,
    "__iter__": """
        [x.item() for x in ar(3)]
        [row.tolist() for row in ar(2, 2)]
        a, b = ar(2); (a, b)
        list(f32([]))
        list(f32(1.))
        a, b = leaf([1., 2.]); a.requires_grad
        [x.shape for x in T.zeros(2, 0)]
    """,
    "__contains__": """
        2. in ar(3)
        7 in ar(3)
        f32(1.) in ar(3)
        nan in f32([nan])
        'a' in ar(3)
        True in b8([False, True])
    """,
    "__format__": """
        f'{f32(2.5):.2f}'
        f'{i64(7):05d}'
        f'{f32(2.5)}'
        f'{f32([1., 2.])}'
        f'{b8(True)}'
        format(leaf(1.5), '.1f')
        f'{f32(0.1)}'
        f'{ar(2):.2f}'
        f'{f32(12345.678):.1e}'
    """,
}

_INTEROP = {
    "numpy": """
        ar(3).numpy()
        ar(2, 3).t().numpy()
        i64([1]).numpy()
        b8([True]).numpy()
        f32(2.).numpy()
        f32([]).numpy()
        f16([1.5]).numpy()
        x = ar(3); a = x.numpy(); a[0] = 9; x
        x = ar(3); a = x.numpy(); x[0] = 9.; a
        x = ar(6); a = x[::2].numpy(); a[1] = 50; x
        x = ar(2, 3).t().numpy(); x.strides
        leaf([1.]).numpy()
        (leaf([1.]) * 2).numpy()
        leaf([1.]).detach().numpy()
        leaf([1.]).numpy(force=True)
        bf16([1.]).numpy()
        x = leaf([1., 2.]); x.detach().numpy()[0] = 5; x
    """,
    "__array__": """
        np.asarray(ar(3))
        np.array(ar(2, 2))
        np.asarray(ar(3), dtype=np.float64)
        np.asarray(i64([1, 2]))
        x = ar(3); a = np.asarray(x); a[0] = 7; x
        x = ar(3); a = np.array(x); a[0] = 7; x
        np.asarray(leaf([1.]))
        np.sum(ar(3).numpy())
        np.asarray(f32(3.))
        ar(3).__array__()
    """,
    "__dlpack__": """
        np.from_dlpack(ar(3))
        x = ar(3); a = np.from_dlpack(x); x[0] = 5.; a
        ar(3).__dlpack_device__()[1]
        int(ar(3).__dlpack_device__()[0])
        leaf([1.]).__dlpack__()
        np.from_dlpack(ar(2, 3).t()).shape
    """,
    "from_dlpack": """
        T.from_dlpack(np.arange(3.))
        a = np.arange(3.); t = T.from_dlpack(a); t[0] = 9.; a
        T.from_dlpack(ar(3))
        x = ar(3); y = T.from_dlpack(x); y[1] = 7.; x
        T.from_dlpack(np.arange(6).reshape(2, 3).T)
        T.from_dlpack([1, 2])
    """,
    "numpy operands: add mul": """
        f64([1., 2.]) + np.float64(1)
        f32([1., 2.]) * np.int64(3)
        f32([1., 2.]) * np.float32(3)
        T.maximum(f32([1.]), T.from_numpy(np.array([2.], np.float32)))
        f32([1.]) + np.True_
    """,
    "buffers: from_numpy as_tensor": """
        a = np.arange(4); T.as_tensor(a).data_ptr() == a.ctypes.data
        a = np.arange(4); T.from_numpy(a[1:]).tolist()
        T.as_tensor(np.arange(4)[::-1].copy())
        T.from_numpy(np.arange(4)[::-1])
    """,
}

CASES = (
    *family("conversion", _CASTS, _CONVERSION),
    *family("interop", _INTEROP),
)
