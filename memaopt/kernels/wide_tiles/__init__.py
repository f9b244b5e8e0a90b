"""Pointwise convolutions whose sums stay in the registers of the FPU."""
