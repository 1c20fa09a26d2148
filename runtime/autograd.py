"""The namespace `tdsl.autograd`."""

from .tensor.entries import backward as backward
from .tensor.entries import gradients_of as grad
