"""Pickling, `save` and `load`, deep copies."""

from __future__ import annotations

from .case import blocks, family

_SAVING = {
    "pickle": blocks("""
        pickle.loads(pickle.dumps(ar(2, 3)))

        pickle.loads(pickle.dumps(ar(2, 3).t()))

        pickle.loads(pickle.dumps(leaf([1., 2.])))

        pickle.loads(pickle.dumps(i64([1])))

        pickle.loads(pickle.dumps(b8([True])))

        pickle.loads(pickle.dumps(bf16([1.5])))

        pickle.loads(pickle.dumps(f32([])))

        pickle.loads(pickle.dumps(T.float64)) is T.float64

        pickle.loads(pickle.dumps(T.Size([2, 3])))

        pickle.loads(pickle.dumps(T.device('cpu')))

        pickle.loads(pickle.dumps(nn.Parameter(f32([1.])))).requires_grad

        x = ar(4); y = pickle.loads(pickle.dumps(x)); y[0] = 9.; x
    """),
    "save": blocks("""
        b = io.BytesIO(); T.save(ar(2, 3), b); b.seek(0); T.load(b)

        b = io.BytesIO(); T.save({'a': ar(2), 'b': i64([3])}, b); b.seek(0); T.load(b)

        b = io.BytesIO(); T.save([ar(2), 3, 'text'], b); b.seek(0); T.load(b)

        b = io.BytesIO(); T.save(leaf([1., 2.]), b); b.seek(0); T.load(b)

        b = io.BytesIO(); x = ar(4); T.save([x, x[1:]], b); b.seek(0)
        y, z = T.load(b); y[1] = 9.; z
    """),
    "load": blocks("""
        b = io.BytesIO(); T.save(f64([1.]), b); b.seek(0); T.load(b).dtype

        b = io.BytesIO(); m = nn.Linear(2, 1); T.save(m.state_dict(), b); b.seek(0)
        sorted(T.load(b))

        b = io.BytesIO(); T.save(ar(2), b); b.seek(0); T.load(b, map_location='cpu')

        b = io.BytesIO(); x = ar(2, 3).t(); T.save(x, b); b.seek(0); T.load(b).stride()

        b = io.BytesIO(); T.save(ar(2), b); b.seek(0); T.load(b, weights_only=True)

        caught(lambda: T.load(io.BytesIO(b'')))
    """),
    "deepcopy": blocks("""
        x = ar(2, 3); y = copy.deepcopy(x); y[0] = 9.; x

        copy.deepcopy(leaf([1., 2.]))

        x = leaf([1., 2.]); (x * x).sum().backward(); copy.deepcopy(x).grad

        copy.deepcopy(leaf([1.]) * 2)

        copy.deepcopy(ar(2, 3).t())

        x = ar(4); a, b = copy.deepcopy([x, x[1:]]); a[1] = 9.; b

        copy.deepcopy(nn.Parameter(f32([1.]))).requires_grad

        x = ar(3); y = copy.copy(x); y[0] = 9.; x
    """),
}

CASES = family("saving", _SAVING, strides=True)
