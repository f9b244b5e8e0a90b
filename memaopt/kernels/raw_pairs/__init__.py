"""Convolutions whose products are taken two at a time, from bytes as they lie."""
