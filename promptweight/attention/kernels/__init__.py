"""Attention kernels that return columns of the softmax, or apply a bias around a kernel without one."""
