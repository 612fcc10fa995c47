"""Stands in for a daemon: hands with one executor that starts a family; waits to be killed. `daemon.py DATA_DIR`."""

import asyncio
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[3]), str(Path(__file__).parents[3] / "src")]


async def main(data_dir: Path) -> None:
    from tests.executors.bench import peer, workbench

    async with workbench(data_dir, peer(data_dir)) as bench:
        found = await bench.run("peer", "family")
        draft = data_dir / "draft"
        draft.write_text(found.result.content + "\n")
        draft.rename(data_dir / "family")
        await asyncio.get_running_loop().create_future()


asyncio.run(main(Path(sys.argv[1])))
