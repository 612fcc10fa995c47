"""A soak: many faults, drawn by chance from a seed, against a daemon of its own while work keeps coming."""
