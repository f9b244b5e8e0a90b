"""A 1x1 convolution and the depthwise one that reads it, as one."""
