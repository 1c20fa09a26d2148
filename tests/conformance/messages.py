"""The messages of the errors that people look for: their fixed words, not all of them."""

from __future__ import annotations

from .case import blocks, family

_MESSAGES = {
    "words: view reshape": blocks("""
        says("view size is not compatible with input tensor's size and stride",
             lambda: ar(2, 3).t().view(6))

        says("Use .reshape(...) instead.", lambda: ar(2, 3).t().view(6))

        says("shape '[4, 2]' is invalid for input of size 6", lambda: ar(6).view(4, 2))

        says("only one dimension can be inferred", lambda: ar(6).reshape(-1, -1))
    """),
    "words of backward: backward autograd.grad": blocks("""
        says("grad can be implicitly created only for scalar outputs",
             lambda: (leaf([1., 2.]) * 2).backward())

        says("element 0 of tensors does not require grad and does not have a grad_fn",
             lambda: f64([1.]).sum().backward())

        y = (leaf([1.]) ** 2).sum(); y.backward()
        says("Trying to backward through the graph a second time", lambda: y.backward())

        y = (leaf([1.]) ** 2).sum(); y.backward()
        says("Specify retain_graph=True", lambda: y.backward())

        x, w = leaf([1.]), leaf([2.])
        says("appears to not have been used in the graph",
             lambda: T.autograd.grad((x * x).sum(), [x, w]))
    """),
    "words of in-place: add_ zero_ _version": blocks("""
        says("a leaf Variable that requires grad is being used in an in-place operation",
             lambda: leaf([1.]).add_(1))

        x = leaf([1., 2.]); w = f64([3., 4.]); z = (x * w).sum(); w.add_(1)
        says("one of the variables needed for gradient computation has been modified by an inplace "
             "operation", lambda: z.backward())
    """),
    "words of flags: requires_grad retain_grad register_hook": blocks("""
        says("can require gradients", lambda: T.tensor([1], requires_grad=True))

        says("only Tensors of floating point", lambda: i64([1]).requires_grad_())

        y = leaf([1.]) * 2
        says("you can only change requires_grad flags of leaf variables",
             lambda: y.requires_grad_(False))

        says("can't retain_grad on Tensor that has requires_grad=False",
             lambda: f64([1.]).retain_grad())

        says("cannot register a hook on a tensor that doesn't require gradient",
             lambda: f64([1.]).register_hook(lambda g: g))
    """),
    "words of conversions: numpy item __bool__ __len__ deepcopy": blocks("""
        says("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() "
             "instead.", lambda: leaf([1.]).numpy())

        says("a Tensor with 2 elements cannot be converted to Scalar", lambda: ar(2).item())

        says("Boolean value of Tensor with more than one value is ambiguous", lambda: bool(ar(2)))

        says("Boolean value of Tensor with no values is ambiguous", lambda: bool(f32([])))

        says("len() of a 0-d tensor", lambda: len(f32(1.)))

        says("iteration over a 0-d tensor", lambda: list(f32(1.)))

        says("Only Tensors created explicitly by the user",
             lambda: copy.deepcopy(leaf([1.]) * 2))
    """),
    "words of shapes: add matmul cat": blocks("""
        says("The size of tensor a (3) must match the size of tensor b (4) at non-singleton "
             "dimension 0", lambda: ar(3) + ar(4))

        says("mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)",
             lambda: ar(2, 3) @ ar(2, 3))

        says("Sizes of tensors must match except in dimension 0",
             lambda: T.cat([ar(2, 3), ar(2, 2)]))

        says("stack expects each tensor to be equal size", lambda: T.stack([ar(2), ar(3)]))

        says("expected sequence of length 2 at dim 1 (got 1)", lambda: T.tensor([[1, 2], [3]]))
    """),
    "words of dims and indices: sum indexing": blocks("""
        says("Dimension out of range (expected to be in range of [-2, 1], but got 2)",
             lambda: ar(2, 3).sum(2))

        says("index 3 is out of bounds for dimension 0 with size 3", lambda: ar(3)[3])

        says("too many indices for tensor of dimension 2", lambda: ar(2, 3)[0, 0, 0])

        says("step must be greater than zero", lambda: ar(3)[::-1])

        says("can't be cast to the desired output type", lambda: i64([1]).add_(0.5))
    """),
}  # fmt: skip

CASES = family("messages", _MESSAGES)
