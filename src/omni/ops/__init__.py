"""What an operator does with a daemon: drills."""
