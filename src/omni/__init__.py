"""Omni: a task dispatcher for AI work."""

__version__ = "0.2.0"
