"""Certificates as C projects."""
