"""Pages from one renderer: the incident report that opens from disk, and the dashboard that the daemon serves."""
