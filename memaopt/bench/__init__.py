"""The comparison: memaopt's kernels, baselines and search-based tilers, measured alike on the virtual board."""
