"""Sizes, strides, storage, versions, and the default dtype."""

from __future__ import annotations

from .case import family

_OTHER = {
    "ndim": """
        f32(1.).ndim
        ar(2, 3).ndim
        f32([]).ndim
    """,
    "dim": """
        f32(1.).dim()
        ar(2, 3, 4).dim()
    """,
    "T": """
        ar(2, 3).T
        ar(3).unsqueeze(0).T
        ar(2, 3).T.T
        x = ar(2, 3); x.T[0, 1] = 9.; x
    """,
    "mT": """
        ar(2, 3).mT
        ar(2, 2, 3).mT
        ar(3).mT
    """,
    "H": """
        ar(2, 3).H
        rnd(3, 2).H
        ar(3).unsqueeze(0).H
    """,
    "t": """
        ar(2, 3).t()
        ar(3).t()
        f32(2.).t()
        T.t(ar(2, 3))
    """,
    "numel": """
        ar(2, 3).numel()
        f32(1.).numel()
        f32([[], []]).numel()
        T.numel(ar(4))
    """,
    "nelement": """
        ar(2, 3).nelement()
        f32([]).nelement()
    """,
    "size": """
        ar(2, 3).size()
        ar(2, 3).size(0)
        ar(2, 3).size(-1)
        ar(2, 3).size(dim=1)
    """,
    "stride": """
        ar(2, 3).stride()
        ar(2, 3).stride(0)
        ar(2, 3).stride(-1)
        ar(2, 3).t().stride()
        ar(2, 3, 4).stride()
        f32(1.).stride()
        T.zeros(2, 0, 3).stride()
        ar(3).expand(2, 3).stride()
        ar(6)[::2].stride()
        ar(2, 3, 4).permute(2, 0, 1).stride()
    """,
    "storage_offset": """
        ar(6).storage_offset()
        ar(6)[2:].storage_offset()
        ar(2, 3)[1].storage_offset()
        ar(2, 3)[1, 2].storage_offset()
        ar(2, 3).diagonal(1).storage_offset()
    """,
    "storage": """
        len(ar(2, 3).storage())
        ar(2, 3).storage()[4]
        ar(6)[2:].storage().size()
        x = ar(3); x.storage()[1] = 7.; x
        x = ar(3); x.storage().data_ptr() == x.data_ptr()
        list(ar(3).storage())
        ar(2, 3).t().storage().tolist()
    """,
    "untyped_storage": """
        ar(2, 3).untyped_storage().nbytes()
        ar(2, 3).untyped_storage().size()
        len(ar(2, 3).untyped_storage())
        x = ar(6); x.untyped_storage().data_ptr() == x[2:].untyped_storage().data_ptr()
        x = ar(6); x.untyped_storage().data_ptr() == x.clone().untyped_storage().data_ptr()
        u8([1, 2, 3]).untyped_storage()[1]
    """,
    "data_ptr": """
        x = ar(6); x[2:].data_ptr() - x.data_ptr()
        x = ar(6); x.view(2, 3).data_ptr() == x.data_ptr()
        x = ar(6); x.clone().data_ptr() == x.data_ptr()
    """,
    "element_size": """
        ar(2).element_size()
        f64([1.]).element_size()
        b8([True]).element_size()
        bf16([1.]).element_size()
    """,
    "itemsize": """
        ar(2).itemsize
        i16([1]).itemsize
    """,
    "nbytes": """
        ar(2, 3).nbytes
        f64([]).nbytes
        ar(6)[::2].nbytes
    """,
    "is_contiguous": """
        ar(2, 3).is_contiguous()
        ar(2, 3).t().is_contiguous()
        ar(6)[::2].is_contiguous()
        ar(6)[2:].is_contiguous()
        ar(3).expand(2, 3).is_contiguous()
        ar(1, 3).t().is_contiguous()
        T.zeros(0, 3).t().is_contiguous()
        f32(1.).is_contiguous()
    """,
    "contiguous": """
        ar(2, 3).t().contiguous()
        x = ar(2, 3); x.contiguous() is x
        x = ar(2, 3).t(); x.contiguous().data_ptr() == x.data_ptr()
        ar(6)[::2].contiguous()
        ar(3).expand(2, 3).contiguous()
        grads(lambda x: x.t().contiguous(), rnd(2, 3))
    """,
    "_version": """
        ar(2)._version
        x = ar(2); x.add_(1); x._version
        x = ar(2); x.add_(1); x.mul_(2); x[0] = 1.; x._version
        x = ar(4); y = x[1:]; y.zero_(); (x._version, y._version)
        x = ar(4); y = x.view(2, 2); x.add_(1); y._version
        x = ar(4); y = x.detach(); x.add_(1); y._version
        x = ar(4); y = x.clone(); x.add_(1); y._version
    """,
    "retains_grad": """
        leaf([1.]).retains_grad
        (leaf([1.]) * 2).retains_grad
        y = leaf([1.]) * 2; y.retain_grad(); y.retains_grad
        x = leaf([1.]); x.retain_grad(); x.retains_grad
    """,
    "set_default_dtype": """
        T.set_default_dtype(T.float64); T.tensor([1.])
        T.set_default_dtype(T.float64); T.zeros(2)
        T.set_default_dtype(T.float64); i64([1]) / 2
        T.set_default_dtype(T.float64); T.tensor([1])
        T.set_default_dtype(T.float64); T.arange(0., 2.)
        T.set_default_dtype(T.int64)
    """,
    "get_default_dtype": """
        T.get_default_dtype()
        T.set_default_dtype(T.float64); T.get_default_dtype()
    """,
}

CASES = family("layout", _OTHER, strides=True)
