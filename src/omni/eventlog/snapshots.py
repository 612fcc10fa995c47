# Interim stand-in so that other rooms can run; the real one replaces this file.
class Snapshots:
    def __init__(self, d): pass
    def load(self, *a): return None
    def save(self, *a): pass
