"""What PyTorch's operations do too slowly, in C: compiled on the machine that has a compiler, once.

Nothing depends on it. Without a compiler, or on another processor, PyTorch's operations do the same.
"""
