"""A task as a sequence diagram: exact, and unbreakable by what is written in a task."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.replay.logs import beginning, completed_life, created, life, planned, routed, task_id, write
from tests.replay.test_timeline import ONE, STORY

from omni.domain import events as ev
from omni.domain.values import Held
from omni.replay import mermaid
from omni.replay.history import History
from omni.replay.mermaid import ARROWS, LABEL_CHARS, escaped, sequence

# Each line of a diagram as we write it; text is plain characters and character codes alone.
TEXT = r"(?:[^#;<>{}\[\]%|&\\*`\n]|#\d+;)+"
LINE = re.compile(
    rf"sequenceDiagram|    (?:participant|actor) \w+ as {TEXT}|    Note over omni: {TEXT}|    \w+--?>>\w+: {TEXT}"
)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History.open(write(tmp_path / "data", *STORY)) as opened:
        yield opened


def test_the_diagram_of_a_task_is_exact(history: History) -> None:
    assert (
        sequence(history, ONE)
        == """\
sequenceDiagram
    participant client as client
    participant omni as Omni
    participant executor1 as echo
    participant executor2 as absent
    participant port as model port
    Note over omni: mode NORMAL
    client->>omni: +0.000s “say hello” from test
    Note over omni: +0.001s goes to echo: takes general work (small)
    omni->>executor1: +0.002s attempt 1 by echo
    executor1-->>omni: +0.003s attempt 1 began, process 7
    executor1->>port: +0.004s model call: small at proxy, free
    Note over omni: mode DEGRADED
    Note over omni: +0.006s attempt 1 was cut off: no word#59; another try follows
    omni->>executor2: +0.007s attempt 2 by absent
    executor2->>port: +0.008s model call: small at proxy, free
    port-->>executor1: +0.009s model call ended: closed
    Note over omni: mode NORMAL
    port-->>executor2: +0.011s model call ended: ok, 0.25 USD billed
    executor2-->>omni: +0.012s attempt 2 succeeded: hello
    omni-->>client: +0.013s done
    executor1-->>omni: +0.014s attempt 1 succeeded after it was given up#59; nothing changes
"""
    )


def test_a_person_who_decides_is_in_it_and_so_is_nobody_who_is_not(tmp_path: Path) -> None:
    story = life(1, created(), ev.TaskHeld(Held("ask", "did it run?")), ev.TaskResolved("accept", "me"))
    with History.open(write(tmp_path / "data", *story, *life(1, ev.TaskCompleted(0, "me")))) as history:
        lines = sequence(history, ONE, language="zh").splitlines()
    assert lines == [
        "sequenceDiagram",
        "    participant client as 客户端",
        "    actor person as 用户",
        "    participant omni as Omni",
        "    Note over omni: 模式 NORMAL",
        "    client->>omni: +0.000s “say hello”（来自 test）",
        "    Note over omni: +0.001s 等待您处理：did it run?",
        "    person->>omni: +0.002s 人工决定：accept（由 me）",
        "    omni-->>client: +0.003s 完成（由 me）",
    ]


def test_every_event_of_a_task_goes_somewhere() -> None:
    known = {kind.__struct_config__.tag for kind in get_args(ev.TaskEvent)}
    assert set(ARROWS) == known


def test_a_diagram_ends_where_it_is_told_to(history: History) -> None:
    assert sequence(history, ONE, until=5).splitlines()[-1].endswith("goes to echo: takes general work (small)")


def test_of_a_long_task_the_beginning_and_the_end_are_shown(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sequence(history, ONE).splitlines()
    monkeypatch.setattr(mermaid, "MESSAGES_SHOWN", 2)
    left_out = "    Note over omni: 9 messages are left out here"
    assert sequence(history, ONE).splitlines() == [*whole[:9], left_out, *whole[-2:]]


@given(st.text(max_size=2 * LABEL_CHARS))
def test_no_text_is_syntax(text: str) -> None:
    label = escaped(text)
    assert LINE.fullmatch(f"    omni->>client: +0.000s {label}")
    shown = re.sub(r"#(\d+);", lambda code: chr(int(code[1])), label)
    assert shown == (text if len(text) <= LABEL_CHARS else text[: LABEL_CHARS - 1] + "…")


HOSTILE = "end; loop\nNote over omni: x #35; %%{init: {}}%% <script>alert(1)</script> --x [](javascript:1) `*_~"


def test_a_hostile_task_and_executor_stay_text(tmp_path: Path) -> None:
    route = planned(1).route.__class__("end\nactor;#", "P1", "small")
    steps = (created(HOSTILE), routed(), ev.AttemptPlanned(1, route, "k", "h", "ask", 1, 1), ev.AttemptStarted(1))
    with History.open(write(tmp_path / "data", *beginning(), *life(1, *steps), *completed_life(2))) as history:
        lines = sequence(history, task_id(1)).splitlines()
    assert all(LINE.fullmatch(line) for line in lines), lines
    assert len([line for line in lines if line.startswith("    client->>omni")]) == 1
