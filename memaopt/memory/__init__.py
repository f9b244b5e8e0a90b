"""Where the tensors of a network lie: lifetimes, packing, and the replay that checks them."""
