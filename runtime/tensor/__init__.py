"""The runtime Tensor: PyTorch's documented tensor, every operation and gradient by the compiler.

From the bottom up: `dtype device size` name things; `core` is the object; `kernels` are compiled
graphs and their derivatives; `tape saved engine entries` are reverse mode; `operation` calls a row
of the operator table on Tensors. The families of methods stand beside them, `tensor` puts them
together.
"""
