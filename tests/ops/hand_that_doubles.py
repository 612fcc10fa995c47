"""The executor of a soak, but every effect is there twice: what the judge has to find. Run with the ledger's path."""

import sys
from pathlib import Path
from typing import Any

from omni.ops.soak.hand import make_server
from omni.ops.soak.ledger import Ledger


class Doubling(Ledger):
    """Writes down twice what was done once."""

    def note(self, word: Any, task_id: str, attempt: int, handle: str, key: str) -> None:
        for _ in range(1 + (word == "done")):
            super().note(word, task_id, attempt, handle, key)


if __name__ == "__main__":
    make_server(Doubling(Path(sys.argv[1]))).run()
