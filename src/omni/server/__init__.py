"""The door: every way in, on one port."""
