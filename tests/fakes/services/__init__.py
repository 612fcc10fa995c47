"""`launchctl` and `systemctl` as they behave: a supervisor that really starts, watches and ends processes."""
