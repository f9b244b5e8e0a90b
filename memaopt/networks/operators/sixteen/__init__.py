"""Operators of which the activations are int16 and the weights int8, named as those of int8 that they stand beside."""
