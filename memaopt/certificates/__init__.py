"""Promises with their proofs, in files that can be checked again."""
