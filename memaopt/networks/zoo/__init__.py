"""Networks with seeded weights, of the kinds that people run."""
