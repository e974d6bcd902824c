"""Scaling policies: one object each, pure."""
