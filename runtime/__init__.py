"""Run time: compiled functions called with arrays and tensors, the cache, the command line."""
