"""The compiler: from a typed graph of comprehensions to native code.

It knows nothing of the language above it; `pipeline` lists the stages in order.
"""
