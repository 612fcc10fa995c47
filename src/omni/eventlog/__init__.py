"""The event log: the one durable truth, appended to and read back in order."""
