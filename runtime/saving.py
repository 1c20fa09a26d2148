"""`save` and `load`: objects with Tensors in them as files.

In: an object of Tensors, numbers, texts and containers. Out: a ZIP file, in which `tdsl/data.pkl`
is the object, and `tdsl/data/0`, … are the bytes of its Tensors and arrays. What is read is not
trusted: only names of a short list are looked up (`weights_only`), and nothing else is called.
"""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .tensor.pickling import Memory

MAGIC = b"PK\x03\x04"
_OBJECT = "tdsl/data.pkl"
_PACKAGE = __name__.partition(".runtime.")[0]

File = str | os.PathLike[str] | IO[bytes]

# --------------------------------------------------------------------------- writing


class _Pickler(pickle.Pickler):
    """Leaves the bytes of Tensors and arrays to be written apart."""

    def __init__(self, file: IO[bytes], protocol: int) -> None:
        super().__init__(file, protocol)
        self.memories: dict[Memory, int] = {}

    def persistent_id(self, obj: Any) -> Any:
        from .tensor.pickling import Memory

        if not isinstance(obj, Memory):
            return None
        return self.memories.setdefault(obj, len(self.memories))

    def reducer_override(self, obj: Any) -> Any:
        from .tensor.pickling import Memory

        if type(obj) is np.ndarray and not obj.dtype.hasobject and obj.dtype.names is None:
            flat = np.ascontiguousarray(obj).reshape(-1).view(np.uint8)
            return array_from, (Memory(flat), obj.dtype.str, obj.shape)
        if isinstance(obj, np.generic) and not obj.dtype.hasobject and obj.dtype.names is None:
            return scalar_from, (obj.tobytes(), obj.dtype.str)
        return NotImplemented


def array_from(memory: Memory, dtype: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The array that was saved."""
    return memory.data.view(np.dtype(dtype)).reshape(shape)


def scalar_from(data: bytes, dtype: str) -> Any:
    """The NumPy scalar that was saved."""
    return np.frombuffer(data, np.dtype(dtype))[0]


def save(obj: Any, f: File, pickle_protocol: int = 4) -> None:
    """Write an object to a file (a path, or a binary file object).

    Tensors that share memory share it again when they are loaded. Raises pickle.PicklingError or
    what else `pickle` raises for objects that cannot be pickled.
    """
    content = io.BytesIO()
    pickler = _Pickler(content, pickle_protocol)
    pickler.dump(obj)
    with zipfile.ZipFile(f, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_OBJECT, content.getvalue())
        for memory, number in pickler.memories.items():
            with archive.open(f"tdsl/data/{number}", "w", force_zip64=True) as entry:
                entry.write(memory.data.data)


# --------------------------------------------------------------------------- reading

#: What a file may name, beside Tensor and its subclasses in this package.
_ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "complex"): complex,
    ("builtins", "bytearray"): bytearray,
    ("builtins", "slice"): slice,
    ("builtins", "range"): range,
}
_ALLOWED_HERE = {
    ("runtime.saving", "array_from"),
    ("runtime.saving", "scalar_from"),
    ("runtime.tensor.pickling", "rebuilt"),
    ("runtime.tensor.dtype", "named"),
    ("runtime.tensor.device", "device"),
    ("runtime.tensor.size", "Size"),
}


class _Unpickler(pickle.Unpickler):
    """Reads what `_Pickler` wrote."""

    def __init__(self, file: IO[bytes], archive: zipfile.ZipFile) -> None:
        super().__init__(file)
        self._archive = archive
        self._memories: dict[int, Memory] = {}

    def persistent_load(self, number: Any) -> Memory:
        from .tensor.pickling import Memory

        if not isinstance(number, int):
            raise pickle.UnpicklingError("a file that save did not write")
        found = self._memories.get(number)
        if found is None:
            data = bytearray(self._archive.read(f"tdsl/data/{number}"))
            found = self._memories[number] = Memory(np.frombuffer(data, np.uint8))
        return found


class _SafeUnpickler(_Unpickler):
    """Looks up nothing but what is on the list."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        package, _, inside = module.partition(".")
        if package == _PACKAGE:
            found = None if "." in name else super().find_class(module, name)
            if (inside, name) in _ALLOWED_HERE or _is_tensor_class(found):
                return found
        raise pickle.UnpicklingError(
            f"Weights only load failed: the file names {module}.{name}, which is not on the list "
            "of what it may name. If you trust where it comes from, weights_only=False runs "
            "whatever it says."
        )


def _is_tensor_class(found: Any) -> bool:
    from .tensor.core import TensorBase

    return isinstance(found, type) and issubclass(found, TensorBase)


@contextmanager
def _opened(f: File) -> Iterator[IO[bytes]]:
    if isinstance(f, str | os.PathLike):
        with open(f, "rb") as file:
            yield file
    else:
        yield f


def is_saved(f: File) -> bool:
    """Whether a file begins as those of `save` do. Raises EOFError for an empty file object; a
    path that cannot be read is no such file."""
    try:
        with _opened(f) as file:
            here = file.tell()
            start = file.read(len(MAGIC))
            file.seek(here)
    except (OSError, ValueError):  # ValueError: no path at all, as with a null byte in it
        return False
    if not start and hasattr(f, "read"):
        raise EOFError("Ran out of input")
    return start == MAGIC


def load_saved(f: File, map_location: Any = None, *, weights_only: bool = True) -> Any:
    """The object that `save` wrote.

    Raises RuntimeError for a truncated or damaged file, pickle.UnpicklingError for one that names
    what is not on the list, unless `weights_only` is False.
    """
    if isinstance(map_location, str) or type(map_location).__name__ == "device":
        from .tensor.device import require

        require(map_location)
    with _opened(f) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                content = io.BytesIO(archive.read(_OBJECT))
                kind = _SafeUnpickler if weights_only else _Unpickler
                return kind(content, archive).load()
        except pickle.UnpicklingError:
            raise
        except (zipfile.BadZipFile, EOFError, KeyError, ValueError, TypeError, IndexError,
                AttributeError, NotImplementedError) as error:  # fmt: skip
            raise RuntimeError(
                f"failed reading the file: it is damaged, or save did not write it ({error})"
            ) from error
