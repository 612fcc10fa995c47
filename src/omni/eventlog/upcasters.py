# Interim stand-in so that other rooms can run; the real one replaces this file.
UPCASTERS = {}
