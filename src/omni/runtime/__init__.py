"""The runtime: threads, timers, clock and mailboxes; meaning lives elsewhere."""
