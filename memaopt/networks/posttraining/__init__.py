"""int8 networks made of float ones, with samples of what they are given: quantisation after training."""
