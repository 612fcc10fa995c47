"""What Omni means: values, events, commands and the pure rules over them. No IO, clock, chance or threads in here."""
