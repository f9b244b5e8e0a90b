"""What computes a layer: families of kernels, their plans and their text."""
