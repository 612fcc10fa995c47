"""Traces of what was recorded, for a collector of the owner's; nothing of it is loaded unless it is asked for."""
