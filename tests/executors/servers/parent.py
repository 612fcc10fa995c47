"""Starts one child that does not care about its pipes, says its pid, and waits to be killed. `parent.py DATA_DIR`."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "src"))


async def main(data_dir: Path) -> None:
    from omni.executors.children import Book, spawn

    code = f"import time; open({str(data_dir / 'ready')!r}, 'w').write('yes\\n'); time.sleep(90)"
    child = await spawn([sys.executable, "-c", code], env={}, cwd="", owner=sys.argv[2], name="n", book=Book(data_dir))
    sys.stdout.write(f"{child.pid}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().create_future()


asyncio.run(main(Path(sys.argv[1])))
