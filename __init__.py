"""tdsl: a tensor expression language and its compiler."""
