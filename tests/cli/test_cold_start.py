"""The quick commands load nothing that is slow to load."""

import subprocess
import sys

import pytest
from tests.cli.conftest import Omni

HEAVY = ("mcp", "litellm", "starlette", "uvicorn", "httpx", "pykka", "structlog", "rich", "apsw")
PROBE = """
import sys
from omni.cli.main import main
try:
    main({words!r})
except SystemExit as end:
    code = end.code
loaded = [name for name in {heavy!r} if name in sys.modules]
print(code, loaded, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("words", "code", "also"),
    [
        (["--help"], 0, ("pydantic", "websockets", "yaml", "asyncio")),
        (["status"], 3, ("typer", "pydantic", "websockets", "asyncio", "traceback", "subprocess")),
    ],
)
def test_help_and_status_import_nothing_heavy(omni: Omni, words: list[str], code: int, also: tuple[str, ...]) -> None:
    probe = PROBE.format(words=words, heavy=HEAVY + also)
    done = subprocess.run(
        [sys.executable, "-c", probe], env=omni.environ, cwd=omni.home, capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == f"{code} []", done.stderr


def test_commands_that_call_the_daemon_do_without_the_mcp_sdk(omni: Omni) -> None:
    probe = PROBE.format(words=["tasks"], heavy=("mcp", "litellm", "starlette", "uvicorn", "pykka"))
    done = subprocess.run(
        [sys.executable, "-c", probe], env=omni.environ, cwd=omni.home, capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "3 []", done.stderr


# What a quick command costs is mostly what it imports. Times differ from machine to machine; counts do not.
COUNT = """
import sys
from omni.cli.main import main
try:
    main({words!r})
except SystemExit:
    print(len(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize(("words", "most"), [(["--help"], 215), (["status"], 235)])
def test_help_and_status_import_few_modules(omni: Omni, words: list[str], most: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COUNT.format(words=words)],
        env=omni.environ,
        cwd=omni.home,
        capture_output=True,
        text=True,
        check=True,
    )
    assert 100 < int(done.stderr.splitlines()[-1]) < most
