"""Replay: what happened, why, and what would have happened otherwise; it can send nothing."""
