"""Omni: a task dispatcher for AI work."""

__version__ = "0.1.0"
