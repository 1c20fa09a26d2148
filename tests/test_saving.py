"""Pickles, copies, and files of `save`: what is kept, what is shared, what is refused."""

from __future__ import annotations

import copy
import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tdsl

PROGRAM = "def double(x: f32[n]) -> f32[n]:\n    return x + x\n"
DTYPES = [
    *("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64"),
    "bool",
]


def saved(obj: Any) -> bytes:
    file = io.BytesIO()
    tdsl.save(obj, file)
    return file.getvalue()


def reloaded(obj: Any, **options: Any) -> Any:
    return tdsl.load(io.BytesIO(saved(obj)), **options)


WAYS = [lambda x: pickle.loads(pickle.dumps(x)), reloaded, copy.deepcopy]


@pytest.mark.parametrize("way", WAYS, ids=["pickle", "save", "deepcopy"])
@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype(way: Any, name: str) -> None:
    x = tdsl.tensor([[0, 1, 2], [3, 4, 5]], dtype=getattr(tdsl, name))
    y = way(x)
    assert y.dtype is x.dtype and tdsl.equal(x, y) and y.data_ptr() != x.data_ptr()


@pytest.mark.parametrize("way", WAYS, ids=["pickle", "save", "deepcopy"])
def test_layout_and_sharing_are_kept(way: Any) -> None:
    x = tdsl.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1).clone()
    again = way([x, x[1:, 0], x.t() if x.ndim == 2 else x.transpose(0, 1), tdsl.zeros(0, 3)])
    assert [t.stride() for t in again[:3]] == [x.stride(), x[1:, 0].stride(), (1, 12, 4)] or (
        again[0].stride() == x.stride()
    )
    assert tdsl.equal(again[0], x) and tdsl.equal(again[1], x[1:, 0])
    again[0][1, 0, 0] = -1.0
    assert again[1][0, 0] == -1 and again[2][0, 1, 0] == -1 and x[1, 0, 0] != -1
    assert again[3].shape == (0, 3)
    before = again[1]._version
    again[0].add_(1)
    assert again[1]._version == before + 1  # one memory, one counter


@pytest.mark.parametrize("way", WAYS, ids=["pickle", "save", "deepcopy"])
def test_requires_grad_and_attributes(way: Any) -> None:
    x = tdsl.ones(2, requires_grad=True)
    x.note = "kept"  # type: ignore[attr-defined]
    y = way(x)
    assert y.requires_grad and y.is_leaf and (y.note == "kept")


def test_history_is_left_behind() -> None:
    """As in PyTorch: a pickle of a result is a leaf, a deep copy of it is refused."""
    y = tdsl.ones(2, requires_grad=True) * 2
    again = pickle.loads(pickle.dumps(y))
    assert again.is_leaf and again.requires_grad and again.tolist() == [2.0, 2.0]
    with pytest.raises(RuntimeError, match="Only Tensors created explicitly by the user"):
        copy.deepcopy(y)


def test_copies() -> None:
    x = tdsl.ones(2, requires_grad=True)
    (x * x).sum().backward()
    deep = copy.deepcopy(x)
    assert deep.grad is not None and deep.grad.tolist() == [2.0, 2.0]
    assert deep.grad.data_ptr() != x.grad.data_ptr()  # type: ignore[union-attr]
    memo: dict[int, Any] = {}
    assert copy.deepcopy([x, x], memo)[0] is copy.deepcopy(x, memo)
    shallow = copy.copy(x)
    assert shallow is not x and shallow.data_ptr() == x.data_ptr() and shallow.requires_grad


# --------------------------------------------------------------------------- files


def test_containers_and_other_values(tmp_path: Path) -> None:
    state = OrderedDict(w=tdsl.ones(2), b=tdsl.zeros(1))
    given = {
        "state": state,
        "step": 3,
        "rate": 1e-3,
        "names": ["a", ("b", None)],
        "shape": tdsl.Size([2, 3]),
        "dtype": tdsl.bfloat16,
        "device": tdsl.device("cpu"),
        "array": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "scalar": np.float64(2.5),
        "set": {1, 2},
    }
    path = tmp_path / "state.pt"
    tdsl.save(given, path)
    again = tdsl.load(path)
    assert again.keys() == given.keys() and list(again["state"]) == ["w", "b"]
    assert type(again["state"]) is OrderedDict and again["dtype"] is tdsl.bfloat16
    assert again["shape"] == (2, 3) and type(again["shape"]) is tdsl.Size
    assert np.array_equal(again["array"], given["array"]) and again["scalar"] == 2.5
    assert again["set"] == {1, 2} and again["names"] == ["a", ("b", None)]
    assert again["device"] == tdsl.device("cpu")
    assert tdsl.load(str(path), map_location="cpu")["step"] == 3
    with pytest.raises(AssertionError, match="CUDA"):
        tdsl.load(path, map_location="cuda")


def test_bytes_lie_in_the_file_as_in_memory(tmp_path: Path) -> None:
    x = tdsl.arange(4.0)
    tdsl.save([x, x[2:]], tmp_path / "x")
    with zipfile.ZipFile(tmp_path / "x") as archive:
        assert archive.namelist() == ["tdsl/data.pkl", "tdsl/data/0"]
        assert archive.read("tdsl/data/0") == x.numpy().tobytes()


def test_load_tells_programs_from_saved_objects(tmp_path: Path) -> None:
    program = tmp_path / "m.tdsl"
    program.write_text(PROGRAM)
    assert list(tdsl.load(program)) == ["double"]
    with open(program, "rb") as file:
        assert tdsl.load(file).double(np.ones(2, np.float32)).tolist() == [2.0, 2.0]
    assert list(tdsl.load(io.StringIO(PROGRAM))) == ["double"]
    with open(tmp_path / "two", "wb") as file:  # an object at a place inside a file
        file.write(saved(tdsl.ones(1)))
    assert tdsl.load(tmp_path / "two").tolist() == [1.0]
    with pytest.raises(ValueError, match="weights_only: for files that save wrote"):
        tdsl.load(io.BytesIO(PROGRAM.encode()), weights_only=True)
    with pytest.raises(RuntimeError, match="neither a program"):
        tdsl.load(io.BytesIO(b"\xff\xfe\x00"))
    with pytest.raises(EOFError):
        tdsl.load(io.BytesIO(b""))
    with pytest.raises(tdsl.TdslError):
        tdsl.load(tmp_path / "absent.pt")
    with pytest.raises(TypeError, match="a path is a string or a Path, not int"):
        tdsl.load(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("part", [0.01, 0.3, 0.6, 0.99])
def test_a_truncated_file_is_an_error(part: float) -> None:
    data = saved({"x": tdsl.arange(1000.0)})
    with pytest.raises(RuntimeError, match="damaged"):
        tdsl.load(io.BytesIO(data[: max(4, int(len(data) * part))]))


def test_a_damaged_file_is_an_error() -> None:
    data = saved({"x": tdsl.arange(1000.0)})
    flipped = 0
    for at in range(4, len(data), 97):
        worse = bytearray(data)
        worse[at] ^= 0xFF
        try:
            found = tdsl.load(io.BytesIO(bytes(worse)))
        except (RuntimeError, pickle.UnpicklingError):
            flipped += 1
        else:  # a byte of the archive's own notes that nothing depends on
            assert tdsl.equal(found["x"], tdsl.arange(1000.0))
    assert flipped > 30


class Anything:
    """Not on the list."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("echo run",)


def test_only_listed_names_are_looked_up(capfd: pytest.CaptureFixture[str]) -> None:
    data = saved({"x": Anything()})
    with pytest.raises(pickle.UnpicklingError, match=r"names posix.system.*weights_only=False"):
        tdsl.load(io.BytesIO(data))
    assert "run" not in capfd.readouterr().out
    assert tdsl.load(io.BytesIO(data), weights_only=False) == {"x": 0}


@pytest.mark.parametrize(
    "name", ["tdsl.runtime.saving\nzipfile.ZipFile", "tdsl.runtime.module\nload", "builtins\neval"]
)
def test_names_inside_the_package_are_listed_too(name: str) -> None:
    module, _, attribute = name.partition("\n")
    content = f"c{module}\n{attribute}\n.".encode()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("tdsl/data.pkl", content)
    with pytest.raises(pickle.UnpicklingError, match="which is not on the list"):
        tdsl.load(io.BytesIO(file.getvalue()))


def test_a_layout_outside_the_memory_is_an_error() -> None:
    from tdsl.runtime.tensor.pickling import memory_from, rebuilt

    memory = memory_from(bytes(8))
    for shape, strides, offset in (((3,), (4,), 0), ((2,), (4,), 8), ((2,), (-8,), 0)):
        with pytest.raises((ValueError, TypeError)):
            rebuilt(tdsl.Tensor, memory, tdsl.float32, shape, strides, offset, False)


def test_parameters_and_state_dicts() -> None:
    nn = pytest.importorskip("tdsl.nn")
    if not hasattr(nn, "Linear"):
        pytest.skip("no modules yet")
    layer = nn.Linear(2, 3)
    again = reloaded(layer.state_dict())
    assert list(again) == ["weight", "bias"] and tdsl.equal(again["weight"], layer.weight)
    parameter = reloaded(nn.Parameter(tdsl.ones(2)))
    assert type(parameter) is nn.Parameter and parameter.requires_grad
    assert copy.deepcopy(layer).weight.data_ptr() != layer.weight.data_ptr()
