"""Many problems at once: what a sweep asks, who solves it, where the answers are kept."""
