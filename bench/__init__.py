"""Speed figures of this machine, measured on the real product: `python -m bench`."""
