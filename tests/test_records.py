"""The compiler's own `dataclass` against the standard one: the same class body, the same behaviour.

In: bodies of classes, each defined with both decorators. What is compared is all that the compiler
relies on: construction, defaults, equality, hashes, text, refusals, slots, `match`, and what the
functions of `dataclasses` make of the class.
"""

from __future__ import annotations

import copy
import dataclasses
import gc
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tdsl.compiler.records import dataclass

ROOT = Path(__file__).resolve().parent.parent
OURS, STANDARD = dataclass, dataclasses.dataclass
OPTIONS: list[dict[str, bool]] = [
    {},
    {"frozen": True},
    {"eq": False},
    {"frozen": True, "eq": False},
    {"slots": True},
    {"frozen": True, "slots": True},
    {"frozen": True, "eq": False, "repr": False, "slots": True, "weakref_slot": True},
]
Decorator = Callable[..., Any]


def point(decorator: Decorator, **options: bool) -> Any:
    class Point:
        """Documented."""

        kind: ClassVar[str] = "point"
        x: int
        y: float = 0.5
        tags: list[int] = field(default_factory=list)
        hidden: int = field(default=3, compare=False, repr=False)
        last: str = field(default="z", kw_only=True)

        def twice(self) -> int:
            return 2 * self.x

    return decorator(**options)(Point)


def outcome(act: Callable[[], Any]) -> Any:
    """What comes out: the text of the value, or the kind of error."""
    try:
        return repr(act())
    except Exception as error:
        return type(error)


CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((1,), {}),
    ((1, 2.0, [3], 4), {}),
    ((1,), {"last": "q", "y": 1.0}),
    ((), {"x": 5}),
    ((), {}),
    ((1, 2, [3], 4, "no"), {}),
    ((1,), {"x": 2}),
    ((1,), {"z": 2}),
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("args", "kwargs"), CALLS, ids=str)
def test_construction(
    options: dict[str, bool], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    def made(decorator: Decorator) -> Any:
        cls = point(decorator, **options)
        names = [f.name for f in dataclasses.fields(cls)]

        def values() -> Any:
            p = cls(*args, **kwargs)
            return [getattr(p, n) for n in names], p.kind, p.twice()

        return names, cls.__match_args__, cls.__doc__, outcome(values), outcome(values)

    assert made(OURS) == made(STANDARD)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_behaviour(options: dict[str, bool]) -> None:
    def seen(decorator: Decorator) -> list[Any]:
        cls = point(decorator, **options)
        a, b, c = cls(1), cls(1, hidden=9), cls(2)
        own = "repr" not in options
        return [
            repr(a) if own else None,
            a == a,
            a == b,
            a == c,
            a != b,
            a == 1,
            a.__eq__(1) is NotImplemented,
            cls.__hash__ is None,
            cls.__hash__ is object.__hash__,
            outcome(lambda: setattr(cls(1), "x", 7)),
            outcome(lambda: delattr(cls(1), "y")),
            "slots" in options or outcome(lambda: setattr(cls(1), "elsewhere", 7)),
            hasattr(a, "__dict__"),
            outcome(lambda: weakref.ref(a) is None),
            dataclasses.asdict(a),
            dataclasses.astuple(c),
            dataclasses.is_dataclass(cls),
            dataclasses.replace(a, y=9.0).y,
            outcome(lambda: dataclasses.replace(a, none=1)),
            copy.copy(c).x,
            copy.deepcopy(c).tags == c.tags,
            copy.deepcopy(c).tags is c.tags,
            a.tags is b.tags,
        ]

    assert seen(OURS) == seen(STANDARD)


@dataclass(frozen=True, slots=True)
class Slotted:
    x: int
    y: str = "y"


@dataclass(frozen=True)
class Plain:
    x: int
    below: tuple[Slotted, ...] = ()


@dataclass(frozen=True)
class Below(Plain):
    more: int = 4

    @cached_property
    def total(self) -> int:
        return self.x + self.more


@pytest.mark.parametrize("x", [Slotted(1), Plain(2, (Slotted(3, "a"),)), Below(1)])
def test_pickles(x: Any) -> None:
    again = pickle.loads(pickle.dumps(x))
    assert again == x and hash(again) == hash(x) and repr(again) == repr(x)
    with pytest.raises(FrozenInstanceError):
        again.x = 3


def test_classes_below() -> None:
    assert [f.name for f in dataclasses.fields(Below)] == ["x", "below", "more"]
    assert Below(1) != Plain(1) and Below(1).total == 5
    assert Below(1, (), 2) == Below(1, more=2)
    with pytest.raises(FrozenInstanceError):
        Below(1).x = 2  # type: ignore[misc]
    match Below(7, more=8):
        case Below(x, _, more):
            assert (x, more) == (7, 8)

    @dataclass(frozen=True, slots=True)
    class More(Slotted):
        z: int = 0

    assert More.__slots__ == ("z",) and not hasattr(More(1), "__dict__")
    assert repr(More(1, z=2)).endswith("More(x=1, y='y', z=2)")


def test_what_a_class_defines_stays() -> None:
    def seen(decorator: Decorator) -> list[Any]:
        class Own:
            x: int

            def __post_init__(self) -> None:
                if self.x < 0:
                    raise ValueError("negative")

            def __eq__(self, other: object) -> bool:
                return isinstance(other, Own)

            def __repr__(self) -> str:
                return "own"

        made: Any = decorator(frozen=True)(Own)

        class Hashed:
            x: int

            def __hash__(self) -> int:
                return 5

        hashed: Any = decorator(frozen=True)(Hashed)
        return [
            outcome(lambda: made(-1)),
            made(1) == made(2),
            repr(made(1)),
            hash(made(3)) == hash(made(3)),
            hash(hashed(1)),
            hashed(1) == hashed(1),
        ]

    assert seen(OURS) == seen(STANDARD)


def test_no_field_one_field_and_a_field_that_is_not_itself() -> None:
    def seen(decorator: Decorator) -> list[Any]:
        class Empty:
            pass

        class One:
            x: Any

        empty, one = decorator(frozen=True)(Empty), decorator(frozen=True)(One)
        nan = float("nan")
        return [
            empty() == empty(),
            hash(empty()) == hash(()),
            one(nan) == one(nan),  # the same object
            one(nan) == one(float("nan")),
            hash(one(3)) == hash((3,)),
            repr(one([])).endswith("One(x=[])"),
        ]

    assert seen(OURS) == seen(STANDARD)


def test_text_of_what_contains_itself() -> None:
    @dataclass
    class Knot:
        inside: list[Any]

    knot = Knot([])
    knot.inside.append(knot)
    assert "..." in repr(knot)


def test_first_calls_from_several_threads() -> None:
    for _ in range(20):
        cls = point(OURS, frozen=True)
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(cls, [1] * 4))
        assert made == [cls(1)] * 4


def test_a_class_can_be_freed() -> None:
    cls = weakref.ref(point(OURS, frozen=True, slots=True))
    gc.collect()
    assert cls() is None


def test_the_package_uses_it() -> None:
    """Else the import gets slow again, class by class."""
    code = (
        "import dataclasses\n"
        "calls = []\n"
        "dataclasses.dataclass = lambda *a, **k: calls.append(1) or (lambda c: c)\n"
        "import tdsl, tdsl.runtime.compilation, tdsl.dsl.check\n"
        "from tdsl.compiler import build, pipeline, python_entry, entry_code\n"
        "print(len(calls))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
