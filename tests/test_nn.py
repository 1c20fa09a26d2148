"""Modules, parameters and the functions of networks: what conformance cases do not say.

Agreement with PyTorch stands in `conformance/modules.py` and `conformance/nn_functional.py`; here
are whole networks, states, hooks, copies, and compiled functions as parts of Modules.
"""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import tdsl
import tdsl.nn.functional as F
from tdsl import nn

from .nn_training import DTYPES, GOLDEN, RUNS, losses


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    """Initial weights, and the losses that PyTorch gave."""
    with np.load(GOLDEN) as held:
        return dict(held)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("run", RUNS)
def test_training_gives_the_losses_of_pytorch(run: str, dtype: str, golden: dict[str, Any]) -> None:
    expected = golden[f"losses/{run}/{dtype}"]
    weights = {k: v for k, v in golden.items() if not k.startswith("losses/")}
    found = losses(tdsl, run, weights, dtype)
    assert expected[-1] < 0.8 * expected[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 if dtype == "float32" else 1e-10)


class Block(nn.Module):
    """A Linear with a scale of its own and a buffer that counts its calls."""

    def __init__(self, size: int = 3) -> None:
        super().__init__()
        self.linear = nn.Linear(size, size)
        self.scale = nn.Parameter(tdsl.ones(size))
        self.register_buffer("calls", tdsl.zeros((), dtype=tdsl.int64))
        self.register_buffer("scratch", tdsl.zeros(2), persistent=False)

    def forward(self, x: Any, shift: float = 0.0) -> Any:
        self.calls.add_(1)
        return self.linear(x) * self.scale + shift


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(3, 1))

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


# --------------------------------------------------------------------------- the tree


def test_names_in_order() -> None:
    net = Net()
    assert [n for n, _ in net.named_parameters()] == [
        "blocks.0.scale", "blocks.0.linear.weight", "blocks.0.linear.bias",
        "blocks.1.scale", "blocks.1.linear.weight", "blocks.1.linear.bias",
        "head.1.weight", "head.1.bias",
    ]  # fmt: skip
    assert list(net.state_dict()) == [
        "blocks.0.scale", "blocks.0.calls", "blocks.0.linear.weight", "blocks.0.linear.bias",
        "blocks.1.scale", "blocks.1.calls", "blocks.1.linear.weight", "blocks.1.linear.bias",
        "head.1.weight", "head.1.bias",
    ]  # fmt: skip
    assert [n for n, _ in net.named_buffers()] == [
        "blocks.0.calls", "blocks.0.scratch", "blocks.1.calls", "blocks.1.scratch",
    ]  # fmt: skip
    assert [n for n, _ in net.named_modules()][:3] == ["", "blocks", "blocks.0"]
    assert [n for n, _ in net.named_children()] == ["blocks", "head"]
    assert net.get_parameter("blocks.1.linear.bias") is net.blocks[1].linear.bias
    assert net.get_submodule("head.1") is net.head[1]
    assert net.get_buffer("blocks.0.calls") is net.blocks[0].calls


def test_shared_parameters_count_once_but_have_both_keys() -> None:
    a = nn.Linear(2, 2)
    b = nn.Linear(2, 2)
    b.weight = a.weight
    net = nn.Sequential(a, b)
    assert [n for n, _ in net.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert "1.weight" in net.state_dict()
    assert len(list(net.named_parameters(remove_duplicate=False))) == 4


def test_printed_as_pytorch_does() -> None:
    assert repr(Net()) == (
        "Net(\n"
        "  (blocks): ModuleList(\n"
        "    (0-1): 2 x Block(\n"
        "      (linear): Linear(in_features=3, out_features=3, bias=True)\n"
        "    )\n"
        "  )\n"
        "  (head): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): Linear(in_features=3, out_features=1, bias=True)\n"
        "  )\n"
        ")"
    )
    assert str(nn.Parameter(tdsl.ones(2))) == (
        "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    )


@pytest.mark.parametrize(
    ("action", "error", "words"),
    [
        (lambda m: m.register_parameter("a.b", None), KeyError, 'can\'t contain "."'),
        (lambda m: m.register_parameter("", None), KeyError, "can't be empty"),
        (lambda m: m.register_buffer("linear", None), KeyError, "already exists"),
        (lambda m: m.register_buffer("a", 3), TypeError, "cannot assign 'int' object to buffer"),
        (lambda m: m.register_parameter("a", tdsl.ones(1)), TypeError, "cannot assign"),
        (lambda m: m.add_module("a", 3), TypeError, "int is not a Module subclass"),
        (lambda m: setattr(m, "scale", tdsl.ones(3)), TypeError, "as parameter 'scale'"),
        (lambda m: setattr(m, "linear", 3), TypeError, "as child module 'linear'"),
        (lambda m: setattr(m, "calls", 3), TypeError, "as buffer 'calls'"),
        (lambda m: m.absent, AttributeError, "'Block' object has no attribute 'absent'"),
        (lambda m: m.get_submodule("x"), AttributeError, "Block has no attribute `x`"),
        (lambda m: m.train(1), ValueError, "expected to be boolean"),
        (lambda m: m.to(tdsl.int64), TypeError, "only accepts floating point"),
    ],
)  # fmt: skip
def test_refused(action: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        action(Block())
    assert words in caught.value.args[0]


def test_attributes_change_their_kind() -> None:
    m = Block()
    m.scale = None
    assert "scale" not in dict(m.named_parameters())
    m.linear = None
    assert list(m.children()) == []
    m.calls = nn.Parameter(tdsl.ones(1))  # from the buffers to the parameters
    assert "calls" in dict(m.named_parameters()) and "calls" not in dict(m.named_buffers())
    del m.calls
    assert not hasattr(m, "calls")


# --------------------------------------------------------------------------- the state


def test_state_goes_from_one_to_another() -> None:
    net, other = Net(), Net()
    net.blocks[0].calls.fill_(7)
    assert str(other.load_state_dict(net.state_dict())) == "<All keys matched successfully>"
    x = tdsl.randn(4, 3)
    assert tdsl.equal(net(x), other(x))
    assert other.blocks[0].calls.item() == 8


def test_what_does_not_fit_is_named() -> None:
    state = Net().state_dict()
    del state["head.1.bias"]
    state["extra"] = tdsl.ones(1)
    state["head.1.weight"] = tdsl.ones(2, 2)
    with pytest.raises(RuntimeError) as caught:
        Net().load_state_dict(state)
    assert str(caught.value) == (
        "Error(s) in loading state_dict for Net:\n"
        '\tUnexpected key(s) in state_dict: "extra". \n'
        '\tMissing key(s) in state_dict: "head.1.bias". \n'
        "\tsize mismatch for head.1.weight: copying a param with shape tdsl.Size([2, 2]) from "
        "checkpoint, the shape in current model is tdsl.Size([1, 3])."
    )


def test_assigned_state_shares_memory() -> None:
    held = tdsl.ones(2, 2)
    m = nn.Linear(2, 2, bias=False)
    m.load_state_dict({"weight": held}, assign=True)
    held.zero_()
    assert m.weight.sum().item() == 0
    assert isinstance(m.weight, nn.Parameter)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_compute_the_same_and_learn_apart(duplicate: Any) -> None:
    net = Net()
    other = duplicate(net)
    x = tdsl.randn(4, 3)
    assert tdsl.equal(net(x), other(x))
    other(x).sum().backward()
    assert all(p.grad is None for p in net.parameters())
    assert all(isinstance(p, nn.Parameter) and p.grad is not None for p in other.parameters())


def test_dtype_changes_in_place_with_gradients() -> None:
    net = Net()
    weight = net.head[1].weight
    net(tdsl.randn(2, 3)).sum().backward()
    net.double()
    assert net.head[1].weight is weight
    assert weight.dtype is weight.grad.dtype is tdsl.float64
    assert net.blocks[0].calls.dtype is tdsl.int64
    net(tdsl.randn(2, 3, dtype=tdsl.float64)).sum().backward()


# --------------------------------------------------------------------------- hooks


def test_forward_hooks_in_order() -> None:
    m, seen = Block(), []
    pre = m.register_forward_pre_hook(lambda mod, args: seen.append("pre") or (args[0] * 0,))
    m.register_forward_hook(lambda mod, args, out: seen.append("second") or out + 1)
    m.register_forward_hook(lambda mod, args, out: seen.append("first"), prepend=True)
    m.register_forward_pre_hook(lambda mod, args, kwargs: (args, {"shift": 10.0}), with_kwargs=True)
    x = tdsl.randn(3)
    expected = m.linear.bias + 11
    np.testing.assert_allclose(m(x).tolist(), expected.tolist(), rtol=1e-6)
    assert seen == ["pre", "first", "second"]
    pre.remove()
    assert not np.allclose(m(x).tolist(), expected.tolist())


def test_apply_goes_from_the_leaves_up() -> None:
    seen: list[str] = []
    Net().head.apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["ReLU", "Linear", "Sequential"]


# --------------------------------------------------------------------------- containers


def test_lists_and_dicts_of_modules() -> None:
    s = nn.Sequential({"a": nn.Linear(2, 3), "b": nn.ReLU()})
    assert list(s.state_dict()) == ["a.weight", "a.bias"] and s[-1] is s.b
    assert type(s[:1]) is nn.Sequential and len(s[:1]) == 1
    s[1] = nn.Tanh()
    assert isinstance(s.b, nn.Tanh)
    m = nn.ModuleList([nn.ReLU()])
    m += [nn.Tanh()]
    m.insert(0, nn.Linear(1, 1))
    assert [type(x).__name__ for x in m] == ["Linear", "ReLU", "Tanh"]
    del m[0]
    assert list(dict(m.named_children())) == ["0", "1"]
    with pytest.raises(IndexError):
        m[2]
    d = nn.ModuleDict({"x": nn.Linear(1, 1)})
    d["y"] = nn.ReLU()
    assert list(d) == ["x", "y"] and "x" in d and len(list(d.parameters())) == 2
    p = nn.ParameterList([tdsl.ones(2), nn.Parameter(tdsl.ones(1))])
    assert [n for n, _ in p.named_parameters()] == ["0", "1"] and len(p) == 2
    q = nn.ParameterDict({"w": tdsl.ones(2)})
    assert q["w"].requires_grad and list(q.keys()) == ["w"]


# --------------------------------------------------------------------------- initial values


@pytest.mark.parametrize(
    ("fill", "spread"),
    [
        (lambda w: nn.init.uniform_(w, -3, 3), math.sqrt(3)),
        (lambda w: nn.init.normal_(w, 0, 2), 2),
        (nn.init.xavier_uniform_, math.sqrt(2 / 500)),
        (nn.init.xavier_normal_, math.sqrt(2 / 500)),
        (lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu"), math.sqrt(2 / 300)),
        (lambda w: nn.init.kaiming_normal_(w, mode="fan_out"), math.sqrt(2 / 1.0001 / 200)),
    ],
)
def test_initial_spread(fill: Any, spread: float) -> None:
    tdsl.manual_seed(3)
    w = nn.Parameter(tdsl.empty(200, 300))
    assert fill(w) is w and w.is_leaf
    assert w.std().item() == pytest.approx(spread, rel=0.02)
    assert abs(w.mean().item()) < 0.02 * spread


def test_gains() -> None:
    gains = {"relu": 2**0.5, "tanh": 5 / 3, "linear": 1, "sigmoid": 1, "selu": 0.75}
    assert {n: nn.init.calculate_gain(n) for n in gains} == gains
    assert nn.init.calculate_gain("leaky_relu", 1) == 1
    with pytest.raises(ValueError, match="Unsupported nonlinearity"):
        nn.init.calculate_gain("other")
    with pytest.raises(ValueError, match="fewer than 2 dimensions"):
        nn.init.xavier_normal_(tdsl.ones(3))


def test_a_seed_gives_the_same_weights() -> None:
    made = []
    for _ in range(2):
        tdsl.manual_seed(5)
        made.append(nn.Conv2d(2, 3, 2))
    assert tdsl.equal(made[0].weight, made[1].weight)
    assert tdsl.equal(made[0].bias, made[1].bias)
    assert made[0].weight.abs().max().item() <= 1 / math.sqrt(8)


# --------------------------------------------------------------------------- functions


def test_in_place_activations_keep_gradients_right() -> None:
    for name in ("relu", "silu", "elu", "leaky_relu", "hardtanh", "mish", "selu"):
        function = getattr(F, name)
        grads = []
        for written in (False, True):
            x = tdsl.tensor([-0.7, 0.3, 1.4], requires_grad=True)
            y = x * 1
            out = function(y, inplace=written)
            assert (out is y) is written, name
            (out * out).sum().backward()
            grads.append(x.grad.tolist())
        assert grads[0] == pytest.approx(grads[1]), name
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        F.elu(tdsl.ones(1, requires_grad=True), inplace=True)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_reads_what_numpy_reads(mode: str) -> None:
    names = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    x = np.arange(12.0).reshape(1, 3, 4)
    given = tdsl.tensor(x, requires_grad=True)
    out = F.pad(given, (2, 1), mode=mode)
    expected = np.pad(x, ((0, 0), (0, 0), (2, 1)), mode=names[mode])  # type: ignore[call-overload]
    assert out.tolist() == expected.tolist()
    out.sum().backward()
    assert given.grad.sum().item() == expected.size


def test_padded_convolutions_of_modules() -> None:
    x = tdsl.arange(16.0).reshape(1, 1, 4, 4)
    m = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular", bias=False)
    nn.init.ones_(m.weight)
    expected = sum(np.roll(x.numpy(), (i, j), (2, 3)) for i in (-1, 0, 1) for j in (-1, 0, 1))
    assert m(x).tolist() == expected.tolist()
    assert m.extra_repr().endswith("padding_mode=circular")


def test_indices_of_pooling_pick_its_values() -> None:
    x = tdsl.randn(2, 3, 7, 6)
    out, at = F.max_pool2d(x, (3, 2), stride=2, padding=1, return_indices=True)
    picked = x.flatten(2).gather(2, at.flatten(2)).reshape(out.shape)
    assert tdsl.equal(picked, out)


def test_dropout_draws_when_it_trains() -> None:
    tdsl.manual_seed(0)
    m, x = nn.Dropout(0.25), tdsl.ones(4000)
    y = m(x)
    assert sorted(set(y.tolist())) == pytest.approx([0, 4 / 3])
    assert abs(y.mean().item() - 1) < 0.05
    assert m.eval()(x) is x
    half = F.dropout(tdsl.ones(100, dtype=tdsl.bfloat16), 0.5)
    assert half.dtype is tdsl.bfloat16 and set(half.tolist()) == {0.0, 2.0}


def test_one_hot_embedding_is_a_product() -> None:
    m = nn.Embedding(5, 3, padding_idx=-1)
    assert m.padding_idx == 4 and m.weight[4].tolist() == [0, 0, 0]
    at = tdsl.tensor([[0, 4], [4, 2]])
    found = m(at)
    assert tdsl.allclose(found, F.one_hot(at, 5).float() @ m.weight)
    found.sum().backward()
    assert m.weight.grad[:, 0].tolist() == [1, 0, 1, 0, 0]  # none for the padding


def test_weighted_losses_of_modules_are_part_of_the_state() -> None:
    m = nn.CrossEntropyLoss(weight=tdsl.tensor([1.0, 3.0]))
    assert list(m.state_dict()) == ["weight"]
    x, y = tdsl.tensor([[0.0, 0.0], [0.0, 2.0]]), tdsl.tensor([0, 1])
    expected = (math.log(2) + 3 * math.log(1 + math.exp(-2))) / 4
    assert m(x, y).item() == pytest.approx(expected, rel=1e-6)


def test_sizes_that_differ_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="different to the input size"):
        F.mse_loss(tdsl.ones(2, 2), tdsl.ones(2))
    with pytest.warns(UserWarning, match="Implicit dimension choice"):
        F.softmax(tdsl.ones(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F.mse_loss(tdsl.ones(2), tdsl.ones(2))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: F.linear([1.0], tdsl.ones(1, 1)), TypeError, "must be Tensor, not list"),
        (lambda: F.linear(tdsl.ones(2), tdsl.ones(3, 2).double()), RuntimeError, "same dtype"),
        (lambda: F.linear(tdsl.ones(4, 2), tdsl.ones(3, 5)), RuntimeError, "(4x2 and 5x3)"),
        (lambda: F.linear(tdsl.ones(4, 2), tdsl.ones(3, 2), tdsl.ones(2)), RuntimeError,
         "expanded size of the tensor (3) must match the existing size (2)"),
        (lambda: F.gelu(tdsl.ones(1).long()), NotImplementedError, "not implemented for 'Long'"),
        (lambda: F.cross_entropy(tdsl.ones(2, 3), tdsl.tensor([0, 5])), IndexError,
         "Target 5 is out of bounds."),
        (lambda: F.cross_entropy(tdsl.ones(2, 3), tdsl.tensor([0, -1])), IndexError,
         "Target -1 is out of bounds."),
        (lambda: F.cross_entropy(tdsl.ones(2, 3), tdsl.tensor([0])), ValueError,
         "Expected input batch_size (2) to match target batch_size (1)."),
        (lambda: F.embedding(tdsl.tensor([-1]), tdsl.ones(2, 2)), IndexError, "out of range"),
        (lambda: F.conv2d(tdsl.ones(1, 2, 4, 4), tdsl.ones(1, 3, 2, 2)), RuntimeError,
         "expected input[1, 2, 4, 4] to have 3 channels, but got 2 channels instead"),
        (lambda: F.conv2d(tdsl.ones(1, 1, 2, 2), tdsl.ones(1, 1, 3, 3)), RuntimeError,
         "Kernel size can't be greater than actual input size"),
        (lambda: F.max_pool2d(tdsl.ones(1, 2, 2), 3), RuntimeError, "Output size is too small"),
        (lambda: F.layer_norm(tdsl.ones(2, 3), (2,)), RuntimeError,
         "expected input with shape [*, 2], but got input of size[2, 3]"),
        (lambda: F.binary_cross_entropy(tdsl.tensor([2.0]), tdsl.ones(1)), RuntimeError,
         "between 0 and 1"),
        (lambda: F.one_hot(tdsl.tensor([3]), 3), RuntimeError, "smaller than num_classes"),
        (lambda: F.pad(tdsl.ones(2), (1,)), RuntimeError, "divisible by 2"),
        (lambda: F.glu(tdsl.ones(3)), RuntimeError, "Halving dimension must be even"),
        (lambda: nn.Dropout(2), ValueError, "between 0 and 1, but got 2"),
        (lambda: nn.Conv2d(3, 2, 1, groups=2), ValueError, "in_channels must be divisible"),
    ],
)  # fmt: skip
def test_functions_refuse(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)


def test_functions_of_the_root_namespace() -> None:
    x, w = tdsl.randn(1, 2, 5, 5), tdsl.randn(3, 2, 2, 2)
    assert tdsl.equal(tdsl.conv2d(x, w), F.conv2d(x, w))
    assert tdsl.equal(tdsl.layer_norm(x, (5,)), F.layer_norm(x, (5,)))
    assert tdsl.dropout(x, 0.5, False) is x
    table = tdsl.randn(3, 2)
    assert tdsl.equal(tdsl.embedding(table, tdsl.tensor([1])), table[1:2])
    for name in ("relu", "softmax", "sigmoid", "max_pool2d", "avg_pool1d", "selu", "prelu"):
        assert callable(getattr(tdsl, name))


# --------------------------------------------------------------------------- compiled functions

PROGRAM = """
def scores(x: f32[b, i], w: f32[o, i], c: f32[o]) -> f32[b, o]:
    return linear(x, w, c)

def loss(x: f32[b, i], y: i64[b], w: f32[o, i], c: f32[o]) -> f32:
    return cross_entropy(scores(x, w, c), y)
"""


class Compiled(nn.Module):
    """A Module whose body is a program in the language."""

    def __init__(self) -> None:
        super().__init__()
        self.program = tdsl.compile(PROGRAM)
        self.weight = nn.Parameter(tdsl.randn(4, 3))
        self.bias = nn.Parameter(tdsl.zeros(4))

    def forward(self, x: Any, y: Any) -> Any:
        return self.program.loss(x, y, self.weight, self.bias)


def test_a_compiled_function_is_the_body_of_a_module() -> None:
    m = Compiled()
    x, y = tdsl.randn(5, 3), tdsl.tensor([0, 3, 1, 1, 2])
    value = m(x, y)
    assert value.grad_fn.name() == "LossBackward"
    value.backward()
    found = [p.grad.clone() for p in m.parameters()]
    m.zero_grad()
    eager = F.cross_entropy(F.linear(x, m.weight, m.bias), y)
    eager.backward()
    assert value.item() == pytest.approx(eager.item(), rel=1e-6)
    for p, gradient in zip(m.parameters(), found, strict=True):
        assert tdsl.allclose(p.grad, gradient, atol=1e-6)


def test_a_module_with_a_compiled_body_trains_and_travels() -> None:
    m = Compiled()
    optimizer = tdsl.optim.SGD(m.parameters(), lr=0.5)
    x, y = tdsl.randn(5, 3), tdsl.tensor([0, 3, 1, 1, 2])
    first = m(x, y).item()
    for _ in range(30):
        optimizer.zero_grad()
        loss = m(x, y)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.7 * first
    other = pickle.loads(pickle.dumps(m))
    assert other(x, y).item() == m(x, y).item()
