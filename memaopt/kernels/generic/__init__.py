"""The kernel that computes every convolution and fully connected layer."""
