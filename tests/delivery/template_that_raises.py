"""A template that cannot load."""

raise ValueError("the kernels cannot be compiled")
