"""Many samples at once: what :mod:`memaopt.networks.reference` computes of each, to the last bit."""
