"""What a task's text may do to the command line, and what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from omni.adapters.claude_code import command
from omni.adapters.claude_code.command import Turn
from omni.adapters.service import Work
from omni.config.adapters import ClaudeCodeOptions
from omni.executors.bundled import Options


def _work(description: str) -> Work:
    return Work(description, "1d3b0a52-0000-4000-8000-000000000000", "key")


def _argv(description: str, *, again: bool = False) -> list[str]:
    turn = Turn("1d3b0a52-0000-4000-8000-000000000000", again=again)
    return command.argv(_work(description), ClaudeCodeOptions(), turn, port=False, settings=Path("/s"))


def _environment(**env: str) -> dict[str, str]:
    told = Options("claude", "claude_code", env=env)
    return command.environment({}, _work("hello"), ClaudeCodeOptions(), told, port=False, marker="m")


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("text", ["/config verbose=true", " \ufeff/init", "--settings=x", "!ls", "@/etc/passwd"])
def test_a_prompt_begins_with_our_words_so_that_no_text_is_a_command(text: str, again: bool) -> None:
    *_, end, prompt = _argv(text, again=again)
    assert end == "--"
    assert prompt[0].isalpha()
    assert prompt.endswith(f"\n\n{text}")


def test_no_entry_can_let_texts_attach_files_and_only_an_entry_has_notes_read() -> None:
    assert _environment(CLAUDE_CODE_DISABLE_FILE_MENTIONS="")["CLAUDE_CODE_DISABLE_FILE_MENTIONS"] == "1"
    assert _environment()["CLAUDE_CODE_DISABLE_AUTO_MEMORY"] == "1"
    assert _environment(CLAUDE_CODE_DISABLE_AUTO_MEMORY="0")["CLAUDE_CODE_DISABLE_AUTO_MEMORY"] == "0"


def test_no_task_may_write_where_the_users_own_sessions_read() -> None:
    assert "Edit(~/.claude/**)" in _argv("hello")
