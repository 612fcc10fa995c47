"""What an executor lets slip of the secrets that it was given never reaches a report or a file."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.executors.bench import peer, workbench

from omni.config import ExecutorConfig, RunbookCommand
from omni.executors.children import Book, Record
from omni.executors.logfile import LogFile
from omni.redact import MASK, Redactor

CANARIES = [f"canary-{number:03}-{number * 7919:x}-zq" for number in range(200)]
BLABS = """
import os, sys
said = os.environ["BLAB"]
for part in (said[:9], said[9:] + "\\n"):
    sys.stderr.write(part)
    sys.stderr.flush()
sys.exit(3)
"""


def leaks(*where: Any) -> list[str]:
    text = "\n".join(each.read_text() if isinstance(each, Path) else repr(each) for each in where)
    return [each for each in CANARIES if each in text]


def files(directory: Path) -> list[Path]:
    return [each for each in directory.rglob("*") if each.is_file()]


async def test_two_hundred_secrets_in_every_kind_of_answer_are_masked_before_they_are_reported(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    data = tmp_path / "data"
    hidden = json.dumps({"deep": [{"list": CANARIES[:50]}], CANARIES[50]: 1})
    async with workbench(data, peer(notes), redactor=Redactor(CANARIES)) as bench:
        told = await bench.run("peer", f"say {' '.join(CANARIES[:100])}", "a")
        kept = await bench.run("peer", f"structured {hidden}", "b")
        failed = await bench.run("peer", f"fail {' '.join(CANARIES[100:])}", "c")
        broken = await bench.run("peer", "structured " + json.dumps({"contract": "omni.result/1", "text": 1}), "d")
        heard = list(bench.heard)
    assert leaks(*heard, *files(data)) == []
    assert told.result.content.split()[1:] == [MASK] * 100
    assert kept.result.structured == {"deep": [{"list": [MASK] * 50}], MASK: 1}
    assert failed.error.message.split() == [MASK] * 100
    assert broken.error.kind == "failed"


async def test_a_secret_on_stderr_is_masked_in_the_file_and_in_the_last_words(tmp_path: Path) -> None:
    blabs = ExecutorConfig(
        name="blabs", transport="stdio", command=sys.executable, args=("-c", BLABS), tool="act",
        env={"BLAB": f"the key is {CANARIES[0]}"},
    )  # fmt: skip
    async with workbench(tmp_path, blabs, redactor=Redactor(CANARIES)) as bench:
        lost = await bench.lost("blabs")
    log = tmp_path / "logs" / "executor-blabs.log"
    assert "the key is ***" in lost.detail
    assert "the key is ***" in log.read_text()
    assert leaks(lost, log) == []


async def test_what_looks_like_a_token_is_masked_even_when_nobody_named_it(tmp_path: Path) -> None:
    async with workbench(tmp_path / "data", peer(tmp_path)) as bench:
        found = await bench.run("peer", "say Authorization: Bearer abcdef0123456789")
    assert found.result.content == "say Authorization: Bearer ***"


async def test_the_key_of_an_attempt_reaches_its_executor_and_nothing_that_is_kept(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    arguments = {"description": 'structured {{"contract": "omni.result/1", "text": "{api_key} {base_url}"}}'}
    async with workbench(tmp_path / "data", peer(notes, arguments=arguments)) as bench:
        found = await bench.run("peer", "anything")
        heard = repr(bench.heard)
    assert "omni-a-t-1-0123456789abcdef" in (notes / "called").read_text()
    assert found.result.content == "*** http://127.0.0.1:1"
    assert "0123456789abcdef" not in heard + "".join(each.read_text() for each in files(tmp_path / "data"))


async def test_no_secret_of_the_daemons_environment_reaches_an_executor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("ANTHROPIC_API_KEY", "OPENROUTER_API_KEY", "GITHUB_LITELLM_KEY", "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY")
    for number, canary in enumerate(CANARIES):
        monkeypatch.setenv(names[number] if number < len(names) else f"LITTLE_SECRET_{number}", canary)
    runbook = ExecutorConfig(name="runbook", transport="bundled", adapter="runbook")
    show = RunbookCommand(argv=(sys.executable, "-c", "import os; print(sorted(os.environ.items()))"))
    async with workbench(tmp_path / "data", peer(tmp_path), runbook, runbook={"show": show}) as bench:
        seen = [(await bench.run("peer", "environment", "a")), (await bench.run("runbook", "show", "b"))]
    assert all("PATH" in each.result.content for each in seen)
    assert leaks(*seen) == []


def test_the_book_and_the_logs_of_children_are_for_their_owner_alone(tmp_path: Path) -> None:
    Book(tmp_path).add(Record(1, 0.0))
    LogFile(tmp_path, "a").write(b"said\n")
    assert {stat.S_IMODE(each.stat().st_mode) for each in files(tmp_path)} == {0o600}
