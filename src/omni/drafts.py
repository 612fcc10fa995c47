"""Small files that are written beside their place and put there whole: nobody ever finds half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def draft(path: Path, content: str | bytes) -> Iterator[Path]:
    """A durable file beside `path` that its owner alone can read, to be put in place; what is left of it goes after.

    Raises OSError.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    fresh = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(handle)
        yield fresh
    finally:
        fresh.unlink(missing_ok=True)


def replace_private(path: Path, content: str) -> None:
    """Write a file that its owner alone can read, in one step: whoever looks finds the old content or the new."""
    with draft(path, content) as fresh:
        fresh.replace(path)
