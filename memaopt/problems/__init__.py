"""What is computed, and nothing of how: products, layers, their arithmetic."""
