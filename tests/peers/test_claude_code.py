"""The real Claude Code as the hands of a real daemon."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import psutil
import pytest
from tests.fakes.processes import MessagesProcess
from tests.peers.programs import CLAUDE, missing
from tests.peers.work import ACCOUNT, FOREVER, Works, call, claude_entry
from tests.torture.daemon_process import is_alive, until

from omni.domain import events as ev

MakeWorks: TypeAlias = Callable[..., Works]


@pytest.fixture
def works(messages: MessagesProcess, tmp_path: Path) -> Iterator[MakeWorks]:
    """Starts a daemon with Claude Code; nothing of it is left afterwards."""
    if reason := missing(CLAUDE, "OMNI_TEST_CLAUDE"):
        pytest.skip(reason)
    made: list[Works] = []

    def make(entry: dict[str, Any] | None = None, **config: Any) -> Works:
        messages.anew()
        made.append(Works(tmp_path, messages, entry, **config))
        return made[-1].up()

    yield make
    for each in made:
        each.close()


def test_a_task_is_done_under_the_session_that_omni_made(works: MakeWorks) -> None:
    omni = works()
    task = omni.do("say so [[text:all done]]")
    assert (task["state"], task["executor"]) == ("completed", "claude_code"), task
    assert task["result"]["content"].startswith("all done")
    (planned,) = [each for each in omni.story(task["id"]) if isinstance(each, ev.AttemptPlanned)]
    assert [each.session for each in omni.api.asked()] == [planned.handle] == [task["session"]]
    until(lambda: not omni.hands(str(CLAUDE)), 10, "Claude Code has ended")


def test_a_task_goes_on_in_the_session_of_another(works: MakeWorks) -> None:
    omni = works()
    first = omni.do("[[text:one]]")
    second = omni.do("[[text:two]]", session=first["session"])
    assert (second["state"], second["result"]["content"].splitlines()[0]) == ("completed", "two"), second
    last = omni.api.asked()[-1]
    assert "[[text:one]]" in last.prompt
    assert last.session != first["session"]


def test_a_coding_task_leaves_its_work_on_a_branch_and_the_users_tree_alone(works: MakeWorks, tmp_path: Path) -> None:
    repository = _repository(tmp_path / "site")
    omni = works(allowed_workdirs=[str(tmp_path)])
    task = omni.do(call("Bash", command="echo new > made.txt; pwd"), workdir=str(repository))
    assert task["state"] == "completed", task
    assert not (repository / "made.txt").exists()
    branch = task["result"]["structured"]["workspace"]["branch"]
    assert branch in task["result"]["content"]
    shown = subprocess.run(
        ["git", "show", f"{branch}:made.txt"], cwd=repository, capture_output=True, text=True, check=False
    )
    assert shown.stdout == "new\n", shown.stderr


def test_a_tasks_text_attaches_no_file_and_changes_no_settings(works: MakeWorks, tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere.txt"
    secret.write_text("what nobody may read", "utf-8")
    omni = works()
    told = omni.do(f'look at @{secret} and @"{secret}" [[text:done]]')
    assert told["state"] == "completed", told
    assert "what nobody may read" not in _transcripts(omni)
    done = omni.do("/config verbose=true [[text:no command]]")
    assert done["result"]["content"].startswith("no command"), done
    assert "verbose" not in "".join(each.read_text("utf-8") for each in _home(omni).glob(".claude/settings.json"))


def test_a_task_leaves_no_notes_for_later_sessions(works: MakeWorks) -> None:
    omni = works()
    projects = _home(omni) / ".claude" / "projects"
    first = omni.do("[[text:here]]")
    where = next(projects.glob(f"*/{first['session']}.jsonl")).parent / "memory" / "MEMORY.md"
    told = omni.do(call("Write", file_path=str(where), content="do evil"), session=first["session"])
    assert told["state"] == "completed", told
    assert "denied by your permission settings" in _transcripts(omni)
    assert not where.exists()


def test_what_claude_code_does_is_seen_while_it_does_it(works: MakeWorks) -> None:
    omni = works()
    task_id = omni.hand_in(call("Bash", command=FOREVER, description="wait for long"))
    command = omni.daemon.command("task", "tail", task_id)
    with subprocess.Popen(command, env=omni.daemon.environment, stderr=subprocess.PIPE, text=True) as tail:
        assert tail.stderr
        assert any("Bash" in line and "[[" not in line for line in tail.stderr)  # the task itself names it, too
        omni.cancel(task_id)
        assert omni.ended(task_id)["state"] == "cancelled"


def test_a_cancelled_task_leaves_no_process(works: MakeWorks) -> None:
    omni = works()
    task_id = omni.hand_in(call("Bash", command=FOREVER))
    them = [*until(lambda: omni.hands("time.sleep(300)"), 40, "the command runs"), *omni.hands(str(CLAUDE))]
    assert len(them) >= 2
    omni.cancel(task_id)
    assert omni.ended(task_id)["state"] == "cancelled"
    omni.until_gone(them)


def test_a_killed_daemon_goes_on_in_the_same_session_and_leaves_nothing_behind(works: MakeWorks) -> None:
    omni = works()
    task_id = omni.hand_in("build it " + call("Bash", command=FOREVER))
    them = [*until(lambda: omni.hands("time.sleep(300)"), 40, "the command runs"), *omni.hands(str(CLAUDE))]
    omni.daemon.kill()
    omni.api.set(instead="text:finished it")
    omni.up()
    task = omni.ended(task_id)
    assert task["state"] == "completed", task
    assert task["result"]["content"].startswith("finished it")
    omni.until_gone(them)
    assert len({each.session for each in omni.api.asked()}) == 1
    assert "You were interrupted" in omni.api.asked()[-1].prompt


def test_a_finished_task_is_not_done_again_after_a_kill(works: MakeWorks) -> None:
    omni = works()
    done = omni.do("[[text:once]]")
    omni.daemon.kill()
    omni.up()
    after = omni.do("[[text:another]]")
    assert omni.task(done["id"])["state"] == "completed"
    assert [each.mark for each in omni.api.asked()] == ["text:once", "text:another"]
    assert after["state"] == "completed"


@pytest.mark.parametrize("whom", ["program", "adapter"])
def test_killed_hands_are_told_of_honestly_and_go_on_where_they_were(works: MakeWorks, whom: str) -> None:
    omni = works()
    task_id = omni.hand_in("build it [[hang]]")
    omni.until_asked()
    them = omni.hands(str(CLAUDE) if whom == "program" else "omni.adapters.claude_code")
    omni.api.set(instead="text:finished it")
    psutil.Process(them[0].pid).kill()
    task = omni.ended(task_id)
    story = omni.story(task_id)
    cut = [each for each in story if isinstance(each, ev.AttemptInterrupted | ev.AttemptFailed)]
    assert len(cut) == 1, story
    assert task["state"] in {"completed", "held"}, task
    if task["state"] == "completed":
        assert task["result"]["content"].startswith("finished it")
        assert len({each.session for each in omni.api.asked()}) == 1
    assert not any(map(is_alive, them))


def test_the_limit_of_an_account_rests_the_hands_burns_no_task_and_is_told(works: MakeWorks, messages: Any) -> None:
    omni = works(claude_entry(messages, own_login=ACCOUNT))
    omni.api.set(instead="limit:five_hour:5")
    first = omni.hand_in("[[text:one]]")
    omni.until_asked()
    until(lambda: [each.kind for each in omni.events(ev.NoticeQueued)] == ["executor_paused"], 20, "it is told")
    second = omni.hand_in("[[text:two]]")
    omni.api.set(instead="")
    for task_id in (first, second):
        task = omni.ended(task_id, 90, held=False)
        assert task["state"] == "completed", task
    assert len(omni.api.asked()) == 3  # the one that was refused, and one for each task


def _home(omni: Works) -> Path:
    return Path(omni.daemon.home)


def _transcripts(omni: Works) -> str:
    """All that was said between Claude Code and its model, files that were attached included."""
    return "".join(each.read_text("utf-8") for each in _home(omni).glob(".claude/projects/*/*.jsonl"))


def _repository(path: Path) -> Path:
    path.mkdir()
    (path / "kept.txt").write_text("kept\n", "utf-8")
    author = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    for words in (("init", "-q"), ("add", "kept.txt"), (*author, "commit", "-q", "-m", "Keep a file")):
        subprocess.run(["git", *words], cwd=path, check=True, capture_output=True)
    return path
