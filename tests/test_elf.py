"""The linker of our own: object code that LLVM made, linked here and by LLVM's loader, does the
same; what it does not know is left to LLVM; damaged objects are refused, never run.
"""

from __future__ import annotations

import ctypes
import gc
import random
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest
import tdsl
from tdsl.compiler import ir
from tdsl.compiler.machine import host, target_machine
from tdsl.compiler.target_cpu import shared_code
from tdsl.runtime import cache, elf, loading
from tdsl.runtime.loading import LoadedCode

pytestmark = pytest.mark.skipif(not elf.is_supported(), reason="for Linux on x86-64")

I64, POINTER = ir.IntType(64), ir.PointerType()


def nowhere(symbol: str) -> int:
    raise elf.UnsupportedError(symbol)


def object_of(text: str) -> bytes:
    module = llvm.parse_assembly(f'target triple = "{host().triple}"\n{text}')
    module.verify()
    code: bytes = target_machine(host()).emit_object(module)
    return code


def call(code: LoadedCode, name: str, *args: int) -> int:
    function = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * len(args))
    return int(function(code.address(name))(*args))


MAIN = """
@count = global i64 5
@zeros = global [40 x i64] zeroinitializer
@table = internal constant [3 x ptr] [ptr @one, ptr @two, ptr @labs], align 8
@far = external global i64
@aligned = internal constant [4 x i64] [i64 1, i64 2, i64 3, i64 4], align 64
declare i64 @labs(i64)
declare ptr @memset(ptr, i32, i64)
declare double @fmod(double, double)
declare i64 @other(i64)
define internal i64 @one(i64 %x) noinline { %y = add i64 %x, 1  ret i64 %y }
define internal i64 @two(i64 %x) noinline { %y = add i64 %x, 2  ret i64 %y }
define i64 @next() { %a = load i64, ptr @count  %b = add i64 %a, 1  store i64 %b, ptr @count
  ret i64 %b }
define i64 @by_table(i64 %k, i64 %x) {
  %p = getelementptr [3 x ptr], ptr @table, i64 0, i64 %k
  %f = load ptr, ptr %p  %y = call i64 %f(i64 %x)  ret i64 %y }
define i64 @elsewhere(i64 %x) { %y = call i64 @other(i64 %x)  %z = load i64, ptr @far
  %s = add i64 %y, %z  ret i64 %s }
define i64 @last_zero() { %p = getelementptr [40 x i64], ptr @zeros, i64 0, i64 39
  %x = load i64, ptr %p  ret i64 %x }
define i64 @filled() { %m = call ptr @memset(ptr @zeros, i32 1, i64 8)
  %x = load i64, ptr @zeros  ret i64 %x }
define i64 @rest(i64 %x, i64 %y) { %a = sitofp i64 %x to double  %b = sitofp i64 %y to double
  %c = call double @fmod(double %a, double %b)  %d = fptosi double %c to i64  ret i64 %d }
define i64 @place() { %p = ptrtoint ptr @aligned to i64  ret i64 %p }
define i64 @choose(i64 %k) { switch i64 %k, label %d [ i64 0, label %a i64 1, label %b
    i64 2, label %c i64 3, label %e i64 4, label %f ]
a: ret i64 17
b: ret i64 3
c: ret i64 99
e: ret i64 5
f: ret i64 1000
d: ret i64 -1 }
"""
OTHER = """
@far = global i64 100
declare i64 @next()
define i64 @other(i64 %x) { %n = call i64 @next()  %y = mul i64 %x, %n  ret i64 %y }
"""


def results(code: LoadedCode) -> list[int]:
    return [
        call(code, "next"),
        call(code, "next"),
        *[call(code, "by_table", k, -4) for k in range(3)],
        call(code, "elsewhere", 3),
        call(code, "last_zero"),
        call(code, "filled"),
        call(code, "rest", 17, 5),
        call(code, "place") % 64,
        *[call(code, "choose", k) for k in range(-1, 6)],
    ]


def by_llvm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elf, "is_supported", lambda: False)


@pytest.mark.parametrize("loader", ["ours", "LLVM's"])
def test_all_that_objects_refer_to(loader: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if loader != "ours":
        by_llvm(monkeypatch)
    for objects in ([MAIN, OTHER], [OTHER, MAIN]):
        code = LoadedCode(*map(object_of, objects))
        assert isinstance(code._code, elf.Image) == (loader == "ours")
        expected = [6, 7, -3, -2, 4, 3 * 8 + 100, 0, 0x0101010101010101, 2, 0]
        assert results(code) == [*expected, -1, 17, 3, 99, 5, 1000, -1]


def test_two_images_share_nothing() -> None:
    a, b = (LoadedCode(object_of(MAIN), object_of(OTHER)) for _ in range(2))
    assert call(a, "next") == 6 and call(a, "next") == 7 and call(b, "next") == 6


def test_published_symbols_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    first = LoadedCode(object_of("@tdsl_test_word = global i64 41\n"))
    user = object_of(
        "@tdsl_test_word = external global i64\n"
        "define i64 @f() { %x = load i64, ptr @tdsl_test_word  ret i64 %x }\n"
    )
    monkeypatch.setattr(loading, "_published", {})
    with pytest.raises(RuntimeError, match="calls tdsl_test_word, which is nowhere"):
        LoadedCode(user)
    first.publish(["tdsl_test_word"])
    assert call(LoadedCode(user), "f") == 41
    by_llvm(monkeypatch)
    assert call(LoadedCode(user), "f") == 41


def test_a_symbol_that_is_not_there() -> None:
    with pytest.raises(RuntimeError, match="without nothing"):
        LoadedCode(object_of("define void @f() { ret void }\n")).address("nothing")


@pytest.mark.parametrize(
    "text",
    [
        "define weak i64 @f() { ret i64 7 }\n",
        "@t = thread_local global i64 7\n"
        "define i64 @g() { %x = load i64, ptr @t  ret i64 %x }\n"
        "define i64 @f() { ret i64 7 }\n",
        "@c = common global i64 0\ndefine i64 @f() { ret i64 7 }\n",
    ],
    ids=["weak", "thread local", "common"],
)
def test_what_is_left_to_llvm(text: str) -> None:
    with pytest.raises(elf.UnsupportedError):
        elf.Image([object_of(text)], nowhere)
    if "thread_local" not in text:
        assert call(LoadedCode(object_of(text)), "f") == 7


def test_one_symbol_in_two_objects() -> None:
    code = object_of("define i64 @f() { ret i64 7 }\n")
    with pytest.raises(elf.UnsupportedError, match="twice"):
        elf.Image([code, code], nowhere)


def mapped(start: int) -> str | None:
    """The rights of the mapping that an address lies in."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, *_ = line.split()
        low, high = (int(x, 16) for x in span.split("-"))
        if low <= start < high:
            return rights
    return None


def test_rights_and_the_end_of_memory() -> None:
    code = LoadedCode(object_of(MAIN), object_of(OTHER))
    run, data = code.address("next"), code.address("count")
    assert mapped(run) == "r-xp" and mapped(data) == "rw-p"
    start, size = code._code._start, code._code._size  # type: ignore[union-attr]
    assert start <= run < data < start + size
    before = Path("/proc/self/maps").read_text().count("\n")
    more = [LoadedCode(object_of(MAIN), object_of(OTHER)) for _ in range(20)]
    assert len({x.address("next") for x in more}) == 20
    del more
    gc.collect()
    assert Path("/proc/self/maps").read_text().count("\n") <= before + 2


def test_frames_of_freed_code_are_forgotten() -> None:
    text = "declare void @qsort(ptr, i64, i64, ptr)\n" + "".join(
        f"define i64 @f{k}() uwtable {{ call void @qsort(ptr null, i64 0, i64 0, ptr null)\n"
        "ret i64 1 }\n"
        for k in range(4)
    )
    code = object_of(text)
    assert elf._Object(code).sections and b".eh_frame" in code
    for _ in range(50):  # libgcc aborts where frames are forgotten that it was not told about
        assert call(LoadedCode(code), "f3") == 1


@pytest.fixture(scope="module")
def objects() -> list[bytes]:
    return [
        shared_code("entry", host()).results()[0],
        shared_code("plain f64", host()).results()[0],
        object_of(MAIN),
    ]


def outside(symbol: str) -> int:
    return 0x7F0000000000


def linked(code: bytes) -> bool:
    try:
        elf.Image([code], outside)
    except elf.UnsupportedError:
        return False
    return True


def test_objects_that_are_cut_off(objects: list[bytes]) -> None:
    for code in objects:
        assert linked(code)
        for size in {*range(0, 200, 7), *range(200, len(code), 499), len(code) - 9}:
            assert not linked(code[:size]), size


def test_damaged_objects(objects: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """They are refused, or linked within their memory; nothing else is raised."""
    monkeypatch.setattr(elf, "_register", lambda image, frames: None)  # of damaged frames
    rng = random.Random(3)
    refused = 0
    for code in objects:
        (table,) = struct.unpack_from("<Q", code, 40)
        for _ in range(400):
            damaged = bytearray(code)
            low = rng.choice([0, table, table, len(code) * 2 // 3])
            for _ in range(rng.choice([1, 1, 3, 20])):
                at = rng.randrange(low, len(code))
                damaged[at] = rng.choice([0, 1, 0x7F, 0xFF, rng.randrange(256)])
            refused += not linked(bytes(damaged))
    assert refused > 100


@pytest.mark.parametrize("header", [b"", b"\x7fELF", b"\xcf\xfa\xed\xfe" + bytes(80), bytes(64)])
def test_other_formats(header: bytes) -> None:
    assert not linked(header)


PROGRAM = """
def f(x: f32[n, k], w: f32[k, m]) -> f32:
    return sum(tanh(x @ w))
"""


def test_programs_by_both_loaders(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)

    def outcome(n: int) -> list[np.ndarray]:
        x, w = (rng.standard_normal(s).astype(np.float32) for s in ((n, 40), (40, 33)))
        function = tdsl.compile(PROGRAM + "# " + "x" * n).f.value_and_grad("x", "w")
        value, *gradients = function(x, w)
        return [x, w, value, *gradients]

    ours = [outcome(n) for n in (1, 65)]
    by_llvm(monkeypatch)
    rng = np.random.default_rng(0)
    theirs = [outcome(n) for n in (1, 65)]
    for a, b in zip(ours, theirs, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


# --------------------------------------------------------------------------- the machine


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, str]]:
    monkeypatch.setenv("TDSL_CACHE_DIR", str(tmp_path))
    return lambda: loading._machine.__wrapped__()


def test_the_machine_is_asked_once_a_boot(
    own_cache: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = own_cache()
    assert found["cpu"] == llvm.get_host_cpu_name()
    monkeypatch.setattr(llvm, "get_host_cpu_name", lambda: "another")
    assert own_cache() == found
    monkeypatch.setattr(loading, "_boot", lambda: "a later one")
    assert own_cache() == found | {"cpu": "another"}
    monkeypatch.setattr(loading, "_boot", lambda: None)
    assert cache.usage()[0] == 2
    assert own_cache() == found | {"cpu": "another"}
    assert cache.usage()[0] == 2


def test_a_record_of_the_machine_that_says_something_else(
    own_cache: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = own_cache()
    monkeypatch.setattr(cache, "get", lambda key: cache.Entry({"features": "x"}, b""))
    assert own_cache() == found


def test_a_place_that_cannot_be_written(
    own_cache: Callable[[], dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is said: what is stored there may be read all the same."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TDSL_CACHE_DIR", str(tmp_path / "file"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert own_cache()["cpu"] == llvm.get_host_cpu_name()
