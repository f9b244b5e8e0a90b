"""Detections: boxes that scores leave."""
