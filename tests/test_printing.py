"""Tensors print as PyTorch's do: recorded texts, and random tensors against PyTorch where it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tdsl.runtime.tensor.printing import (
    get_printoptions,
    printoptions,
    set_printoptions,
    tensor_text,
)

from .printing_cases import FLOATS, INTS, Case, as_json, cases, elements, recorded, torch_text

DEFAULTS = {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80, "sci_mode": None}
RECORDED = recorded()


def tdsl_text(case: Case) -> str:
    with printoptions(**case.get("options", {})):
        return tensor_text(
            elements(case),
            dtype_name=case["dtype"],
            requires_grad=case.get("requires_grad", False) or "grad_fn" in case,
            grad_fn_name=case.get("grad_fn"),
            device=case.get("device", "cpu"),
            class_name=case.get("class", "tensor"),
            default_dtype_name=case.get("default_dtype", "float32"),
        )


def text(values: Any, dtype: str = "float32") -> str:
    return tensor_text(np.array(values, dtype), dtype_name=dtype)


# --------------------------------------------------------------------------- recorded texts
@pytest.mark.parametrize(
    "case", RECORDED, ids=lambda c: f"{c['dtype']}-{'x'.join(map(str, c['shape'])) or 'scalar'}"
)
def test_text_is_that_recorded_from_torch(case: Case) -> None:
    assert tdsl_text(case) == case["text"]


def test_every_case_is_recorded() -> None:
    """If not: python tests/printing_cases.py, where PyTorch is installed."""
    without_text = [{k: v for k, v in case.items() if k != "text"} for case in RECORDED]
    assert [*map(as_json, without_text)] == [*map(as_json, cases())]


# --------------------------------------------------------------------------- options
@pytest.fixture
def default_options() -> Any:
    set_printoptions(profile="default")
    yield
    set_printoptions(profile="default")


@pytest.mark.usefixtures("default_options")
class TestOptions:
    def test_defaults(self) -> None:
        assert get_printoptions() == DEFAULTS

    def test_what_is_not_given_stays_except_sci_mode(self) -> None:
        set_printoptions(precision=2, sci_mode=True)
        assert get_printoptions() == {**DEFAULTS, "precision": 2, "sci_mode": True}
        set_printoptions(linewidth=40)
        assert get_printoptions() == {**DEFAULTS, "precision": 2, "linewidth": 40}

    def test_a_profile_sets_all_and_the_rest_overrides_it(self) -> None:
        set_printoptions(linewidth=33, edgeitems=9)
        set_printoptions(profile="short", precision=7)
        assert get_printoptions() == {**DEFAULTS, "edgeitems": 2, "precision": 7}
        set_printoptions(profile="full")
        assert get_printoptions() == {**DEFAULTS, "threshold": float("inf")}

    def test_an_unknown_profile_changes_nothing(self) -> None:
        set_printoptions(precision=2)
        set_printoptions(profile="long")
        assert get_printoptions() == {**DEFAULTS, "precision": 2}

    def test_what_was_got_can_be_set(self) -> None:
        set_printoptions(precision=2, sci_mode=False, threshold=7)
        before = get_printoptions()
        set_printoptions(profile="default")
        set_printoptions(**before)
        assert get_printoptions() == before

    def test_a_copy_is_got(self) -> None:
        get_printoptions()["precision"] = 1
        assert get_printoptions() == DEFAULTS

    def test_a_block_restores_what_was_before(self) -> None:
        set_printoptions(sci_mode=True)
        with pytest.raises(ZeroDivisionError), printoptions(precision=1):
            assert get_printoptions() == {**DEFAULTS, "precision": 1}
            assert text([1.25]) == "tensor([1.2])"
            raise ZeroDivisionError
        assert get_printoptions() == {**DEFAULTS, "sci_mode": True}

    def test_unknown_options_are_refused(self) -> None:
        message = r"set_printoptions\(\) got an unexpected keyword argument 'width'"
        with pytest.raises(TypeError, match=message):
            set_printoptions(width=3)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match=message), printoptions(width=3):
            pass

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"precision": -1}, ValueError, "Format specifier missing precision"),
            ({"precision": 2.5}, ValueError, "Invalid format specifier"),
            ({"threshold": "a"}, TypeError, "'>' not supported between instances of 'int' and"),
            ({"edgeitems": "a"}, TypeError, "'>' not supported between instances of 'int' and"),
            ({"edgeitems": 2.5}, TypeError, "slice indices must be integers or None or have an"),
            (
                {"linewidth": "a"},
                TypeError,
                r"unsupported operand type\(s\) for -: 'str' and 'int'",
            ),
        ],
    )
    def test_a_bad_value_is_found_when_printing(
        self, options: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        with printoptions(**options), pytest.raises(error, match=message):
            text(np.arange(2000) + 0.5)

    def test_negative_edgeitems_summarise_nothing(self) -> None:
        with printoptions(edgeitems=-1, threshold=2):
            assert text([1, 2, 3, 4], "int64") == "tensor([1, 2, 3, 4])"
            assert text([[1, 2], [3, 4]], "int64") == "tensor([[1, 2],\n        [3, 4]])"


def test_only_what_is_shown_is_read() -> None:
    """A trillion elements, all at one address: reading a millionth of them would be noticed."""
    array = np.broadcast_to(np.float32(1.5), (10**6, 10**6))
    row = "[1.5000, 1.5000, 1.5000,  ..., 1.5000, 1.5000, 1.5000]"
    dots = ",\n        ".join([row, row, row, "...", row, row, row])
    assert tensor_text(array, dtype_name="float32") == f"tensor([{dots}])"


# --------------------------------------------------------------------------- random tensors
_EDGES = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-4, 9.9e-5, 1e-3, 999.5, 1000.0, 1001.0, 1e8, 1.1e8, 1e-45,
          1e38, 1e300, float("nan"), float("inf"), -float("inf"))  # fmt: skip
_OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "precision": st.integers(0, 10),
        "threshold": st.one_of(st.integers(0, 40), st.just(float("inf"))),
        "edgeitems": st.integers(0, 4),
        "linewidth": st.integers(0, 120),
        "profile": st.sampled_from(["default", "short", "full", "other"]),
        "sci_mode": st.sampled_from([None, True, False]),
    },
)


@st.composite
def random_cases(draw: st.DrawFn) -> Case:
    dtype = draw(st.sampled_from([*FLOATS, *FLOATS, *INTS, "bool"]))
    shape = draw(
        st.one_of(
            hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=8),
            st.tuples(st.integers(0, 1500)),
            st.tuples(st.integers(0, 60), st.integers(0, 60)),
        )
    )
    count = int(np.prod(shape, dtype=int))
    seeds: Any
    if dtype in FLOATS:
        width = draw(st.sampled_from([1.0, 100.0, 1e9, 1e300]))
        numbers = st.one_of(
            st.sampled_from(_EDGES),
            st.floats(-width, width),
            st.integers(-1000, 1000).map(float),
            st.floats(-3, 3).map(lambda e: 10.0**e),
        )
    else:
        ends = np.iinfo(dtype if dtype != "bool" else "uint8")
        numbers = st.integers(ends.min, ends.max)
    # A few values, repeated over the whole tensor, reach what a thousand different ones would.
    seeds = draw(st.lists(numbers, min_size=1, max_size=12))
    case: Case = {"dtype": dtype, "shape": list(shape), "options": draw(_OPTIONS)}
    case["values"] = (seeds * (count // len(seeds) + 1))[:count]
    case["default_dtype"] = draw(st.sampled_from(["float32", "float32", "float64"]))
    kinds: tuple[Case, ...] = (
        {},
        {"class": "Parameter"},
        {"device": "cuda:0"},
        {"class": "Angles"},
    )
    if dtype in FLOATS:
        kinds += (
            *({"requires_grad": True, **more} for more in kinds),
            {"grad_fn": "CloneBackward0"},
            {"grad_fn": "LeakyReluBackward0"},
        )
    return {**case, **draw(st.sampled_from(kinds))}


def _agrees(case: Case) -> None:
    pytest.importorskip("torch")
    assert tdsl_text(case) == torch_text(case)


@given(random_cases())
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_random_tensors_print_as_in_torch(case: Case) -> None:
    _agrees(case)


@pytest.mark.slow
@given(random_cases())
@settings(max_examples=10000, deadline=None, suppress_health_check=list(HealthCheck))
def test_many_random_tensors_print_as_in_torch(case: Case) -> None:
    _agrees(case)
