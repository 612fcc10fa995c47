"""Which notices *Now* says were not delivered yet, from the log."""

from pathlib import Path

from tests.replay.logs import AT_MS, write

from omni.domain import events as ev
from omni.domain.values import NoticeSink, Telling
from omni.domain.view import timestamp
from omni.replay.history import History
from omni.web.pages import owed

SINKS = Telling((NoticeSink("chat", people=True), NoticeSink("log")))


def queued(key: str, reason: str) -> tuple[str, ev.NoticeQueued]:
    return "system", ev.NoticeQueued(key, "degraded", {"reason": reason})


def test_a_notice_is_owed_until_every_sink_has_it_and_says_how_often_it_was_tried(tmp_path: Path) -> None:
    write(
        tmp_path / "data",
        ("system", ev.DaemonStarted("1", 1, "boot", telling=SINKS)),
        queued("a", "first"),
        queued("b", "second"),
        queued("c", "third"),
        ("system", ev.NoticeDelivered("a", "log")),
        ("system", ev.NoticeDelayed("a", "nobody there", AT_MS + 9, "chat")),
        ("system", ev.NoticeDelayed("a", "nobody there", AT_MS + 9, "chat")),
        ("system", ev.NoticeDelivered("b")),
    )
    with History.open(tmp_path / "data") as history:
        third, first = owed.notices(history, "en")
    assert (third["key"], third["sinks"], third["tries"]) == ("c", ["chat", "log"], 0)
    assert (first["key"], first["sinks"], first["tries"], first["at"]) == ("a", ["chat"], 2, timestamp(AT_MS + 1))
    assert first["text"].startswith("DEGRADED: first.")


def test_a_notice_speaks_the_language_of_the_page(tmp_path: Path) -> None:
    write(tmp_path / "data", ("system", ev.DaemonStarted("1", 1, "boot", telling=SINKS)), queued("a", "原因"))
    with History.open(tmp_path / "data") as history:
        (notice,) = owed.notices(history, "zh")
    assert notice["text"].startswith("DEGRADED：原因。")
