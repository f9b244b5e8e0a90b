"""Networks with less in them that compute the same."""
