"""What happened in each golden log, by the owner's clock (UTC+8). Every name in `STORIES` is that of a log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.histories.play import Ask, Part, Play, house

from omni.domain import commands as cmd
from omni.domain.values import PROXY, Decision

SECOND, MINUTE = 1_000, 60_000


def quiet_day(directory: Path) -> Play:
    """Monday, 5 October 2026: thirteen tasks, nothing breaks, one restart for an update at night.

    One task fails by its executor's own word, one is cancelled, one waits for a slot, one waits for an executor that
    rests because of its account's limit; one call's bill is never known.
    """
    play = Play(directory, "2026-10-05 08:00:00", house())
    chat = {"client": "openclaw", "reply_to": "telegram:4711"}
    easy = Part(9 * SECOND, (Ask(400, took_ms=1_800, usd=0.0011),), "Two meetings: 10:00 and 15:30.", cost_usd=0.0)
    play.on("2026-10-05 08:12:30", play.hand_in, "What is in my calendar today?", easy, **chat)
    build = Part(
        14 * MINUTE,
        (
            Ask(2_000, "heavy", 41 * SECOND, 0.1834, (18_200, 2_100), 0.45),
            Ask(3 * MINUTE, "heavy", 58 * SECOND, 0.2410, (24_900, 3_300), 0.60),
            Ask(9 * MINUTE, "light", 6 * SECOND, 0.0042, (5_100, 800)),
        ),
        "The endpoint pages its answer now; 14 tests pass.",
    )
    fix = "Fix the pagination bug in the REST API of the site and add unit tests"
    play.on("2026-10-05 08:40:00", play.hand_in, fix, build, type="coding", workdir="/home/owner/work/site")
    lint = Part(3 * MINUTE, (Ask(1_000, "light", 9 * SECOND, 0.0031, (6_000, 500)),), "No warning is left.")
    play.on("2026-10-05 08:45:00", play.hand_in, "Clean up the linter warnings", lint, type="coding")
    third = Part(2 * MINUTE, (Ask(900, "light", 8 * SECOND, 0.0019),), "Renamed in 7 files.")
    play.on("2026-10-05 08:46:10", play.hand_in, "Rename Widget to Panel", third, type="coding", priority=7)
    disk = Part(600, (), "/dev/disk1 61 % full")
    play.on("2026-10-05 09:00:00", play.hand_in, "disk_report", disk, type="runbook")
    wrong = Part(50 * SECOND, (Ask(700, "light", 5 * SECOND, 0.0020),), "no such repository: typo/in-name", "fail")
    play.on("2026-10-05 10:30:00", play.hand_in, "Clone typo/in-name and say what it does", wrong, type="coding")
    unwanted = Part(30 * MINUTE, (Ask(2_000, "heavy", 30 * SECOND, 0.0957, (9_000, 1_000), 0.30),))
    ids: list[str] = []
    play.on("2026-10-05 11:00:00", lambda: ids.append(play.hand_in("Draft the yearly report", unwanted, **chat)))
    play.on("2026-10-05 11:04:00", lambda: play.ask(cmd.CancelTask(play.new_name("r"), ids[0], "owner")))
    render = Part(22 * MINUTE, (), "Rendered 240 frames.", cost_usd=0.62)
    play.on("2026-10-05 13:05:00", play.hand_in, "Render the intro clip on a GPU", render, type="gpu")
    broken = Part(70 * SECOND, (Ask(600, "heavy", 25 * SECOND, None, (0, 0), 0.20, breaks=True),), "A summary.")
    play.on("2026-10-05 14:20:00", play.hand_in, "Summarise the long thread", broken, **chat)
    rests = cmd.ExecutorPaused("claude_code", 45 * MINUTE, "its account's limit")
    play.on("2026-10-05 15:10:00", lambda: play.report(rests))
    late = Part(5 * MINUTE, (Ask(2_000, "light", 12 * SECOND, 0.0052),), "Upgraded, all tests pass.")
    play.on("2026-10-05 15:12:00", play.hand_in, "Upgrade the libraries", late, type="coding", executor="claude_code")
    play.on("2026-10-05 17:00:00", play.call, Ask(0, "light", 3 * SECOND, 0.0008), None, "openclaw")
    parcel = Part(5 * SECOND, (Ask(400, took_ms=1_500, usd=0.0009),), "I will remind you at nine.", cost_usd=0.0)
    play.on("2026-10-05 18:30:00", play.hand_in, "Remind me of the parcel", parcel, **chat)
    play.until("2026-10-05 23:30:00")
    play.stop("SIGTERM", 4_200)
    play.on("2026-10-06 00:30:00", play.hand_in, "disk_report", disk, type="runbook")
    play.on("2026-10-06 07:00:00", play.hand_in, "What is in my calendar today?", easy, **chat)
    play.until("2026-10-06 08:00:00")
    return play


def litellm_killed(directory: Path, make: type[Play] = Play) -> Play:
    """The proxy's process dies at 10:12:07.300 while two tasks run; at 14:00 the same is rehearsed by a drill.

    10:12:08.000             two calls meet it dead: DEGRADED at 10:12:08.002, and both go on directly
    10:12:08.002             a repair begins; it restarts the proxy at 10:12:49
    10:12:50.008, 52.008     two good probes, the dwell of 15 s long over: NORMAL, and the repair is called off
    14:00:00 – 14:00:40      a drill of the same with nothing to do: probes alone find it, no repair
    14:00:42.510             NORMAL
    """
    play = make(directory, "2026-10-07 09:00:00", house())
    asks = tuple(Ask(n * 20 * SECOND, "heavy", 9 * SECOND, 0.0400, (4_000, 600), 0.12) for n in range(1, 8))
    long = Part(160 * SECOND, asks, "The migration is written and tested.")
    play.on("2026-10-07 09:30:00", play.hand_in, "Say good morning", Part(8_000, (Ask(500),), "Good morning."))
    play.on("2026-10-07 10:10:47.300", play.hand_in, "Write the database migration with tests", long, type="coding")
    ask = Ask(1_000, "light", 4 * SECOND, 0.0015)
    for n in range(6):
        part = Part(12 * SECOND, (ask,), f"Answer {n + 1}.")
        play.on(f"2026-10-07 10:{11 + n // 2}:{30 * (n % 2) + 6.65:06.3f}", play.hand_in, f"Question {n + 1}", part)
    play.on("2026-10-07 10:12:00", _closely, play)
    play.on("2026-10-07 10:12:07.300", play.weather.become, PROXY, "dead")
    play.repairs = [
        Part(44 * SECOND, (Ask(3_000, "light", 5 * SECOND, 0.0021),), "It had run out of memory; restarted.")
    ]
    play.on("2026-10-07 10:12:49", play.weather.become, PROXY, "well")
    play.on("2026-10-07 10:15:00", _loosely, play)
    play.on("2026-10-07 13:59:30", _closely, play)
    play.on("2026-10-07 14:00:00", _drill, play, 40)
    during = Part(15 * SECOND, (ask,), "Also in a drill.")
    play.on("2026-10-07 14:00:10", play.hand_in, "Question in a drill", during)
    play.on("2026-10-07 14:02:00", _loosely, play)
    play.until("2026-10-07 16:00:00")
    return play


def cloud_lost(directory: Path) -> Play:
    """The cable is out from 15:00:00 to 15:09:00 while four tasks run and one is queued; three more come in meanwhile.

    Claude Code pauses both of its tasks and resumes them on the ramp; OpenClaw and Moltworker cannot pause, and what
    they finish counts, during the outage and after it; the runbook, which needs no cloud, works on.
    """
    play = Play(directory, "2026-10-08 14:00:00", house())
    play.on("2026-10-08 14:05:00", play.hand_in, "Say hello", Part(7_000, (Ask(500),), "Hello."))
    asks = tuple(Ask(n * 40 * SECOND, "heavy", 12 * SECOND, 0.0600, (7_000, 900), 0.20) for n in range(8))
    first = Part(6 * MINUTE, asks, "Refactored.")
    again = Part(2 * MINUTE, (Ask(1_000, "heavy", 10 * SECOND, 0.0300, (3_000, 400), 0.20),), "Refactored, resumed.")
    work = ("Refactor the parser", "Refactor the printer", "Refactor the cache")
    for n, text in enumerate(work):
        play.on(f"2026-10-08 14:5{7 + n}:00", play.hand_in, text, first, again, type="coding")
    chat = Part(4 * MINUTE, (Ask(500, "light", 3 * SECOND, 0.0012),), "The letter is written.")
    play.on("2026-10-08 14:58:30", play.hand_in, "Write a letter to the landlord", chat)
    gpu = Part(30 * MINUTE, (), "Trained.", cost_usd=1.10)
    play.on("2026-10-08 14:50:00", play.hand_in, "Train the small model on a GPU", gpu, type="gpu")
    play.on("2026-10-08 14:59:30", _closely, play)
    play.on("2026-10-08 15:00:00", play.weather.lose_network)
    easy = Part(8_000, (Ask(400, "light", 2 * SECOND, 0.0010),), "Here it is.")
    play.on("2026-10-08 15:02:00", play.hand_in, "What is the weather like?", easy)
    play.on("2026-10-08 15:03:00", play.hand_in, "disk_report", Part(500, (), "61 % full"), type="runbook")
    play.on("2026-10-08 15:05:00", play.hand_in, "Translate the letter", easy)
    play.on("2026-10-08 15:09:00", play.weather.find_network)
    play.on("2026-10-08 15:16:00", _loosely, play)
    play.until("2026-10-08 18:00:00")
    return play


def daemon_killed(directory: Path) -> Play:
    """SIGKILL at 10:00:00 in mid-attempt, and at 10:00:02.500 again, before any executor has said what became of it.

    Claude Code's session is resumed; Moltworker has finished meanwhile and its result is fetched; nobody knows what
    OpenClaw did of four tasks, so a person is asked: one is accepted, one tried again, one given up, one still waits.
    The bill of one model call nobody will ever know; its estimate stays spent.
    """
    play = Play(directory, "2026-10-09 09:00:00", house())
    play.on("2026-10-09 09:10:00", play.hand_in, "Say hello", Part(7_000, (Ask(500),), "Hello."))
    ask = Ask(4 * MINUTE + 55 * SECOND, "heavy", 20 * SECOND, 0.0700, (6_000, 900), 0.25)
    coding = Part(20 * MINUTE, (Ask(2_000, "heavy", 15 * SECOND, 0.0550, (5_000, 700), 0.25), ask), "Half done.")
    rest = Part(
        6 * MINUTE, (Ask(1_000, "heavy", 15 * SECOND, 0.0450, (4_500, 600), 0.25),), "Done.", after_crash="resumable"
    )
    play.on("2026-10-09 09:55:00", play.hand_in, "Port the tool to Python", coding, rest, type="coding")
    gpu = Part(10 * MINUTE, (), "Upscaled 12 pictures.", after_crash="fetched")
    play.on("2026-10-09 09:57:00", play.hand_in, "Upscale the pictures on a GPU", gpu, type="gpu")
    ids: list[str] = []
    mail = Part(8 * MINUTE, (Ask(700, "light", 3 * SECOND, 0.0013),), "Sent.")
    play.on("2026-10-09 09:58:00", lambda: ids.append(play.hand_in("Send the invitations", mail)))
    for n in range(3):
        short = Part(9_000, (Ask(600, "light", 2 * SECOND, 0.0009),), f"Answer {n + 1}.")
        play.on(
            f"2026-10-09 09:59:{55 + n}", lambda n=n, short=short: ids.append(play.hand_in(f"Question {n + 1}", short))
        )
    play.on("2026-10-09 10:00:00", play.die)
    play.on("2026-10-09 10:00:02.500", play.die)
    for n, decision in enumerate(("accept", "retry", "fail")):
        play.on(f"2026-10-09 10:20:{10 * n:02}", lambda n=n, it=decision: _decide(play, ids[n], it))
    play.until("2026-10-09 12:00:00")
    return play


def budget_hit(directory: Path) -> Play:
    """A cap of $2.00 a day: from 20:01:30 on no heavy call fits; two tasks wait, and go on by themselves at midnight.

    A third, on OpenClaw, may not be repeated unasked: it is held until a person says so. Free calls go on all the time.
    """
    play = Play(directory, "2026-10-10 18:00:00", house(budget__daily_usd=2))
    heavy = tuple(Ask(n * 30 * SECOND, "heavy", 14 * SECOND, 0.5500, (40_000, 5_000), 0.60) for n in range(1, 6))
    work = Part(3 * MINUTE, heavy, "Analysed.")
    rest = Part(MINUTE, (Ask(1_000, "heavy", 14 * SECOND, 0.3000, (20_000, 2_500), 0.60),), "Analysed, the day after.")
    free = Part(6_000, (Ask(400, "light", 2 * SECOND, 0.0010),), "Free of charge.")
    play.on("2026-10-10 18:30:00", play.hand_in, "Say hello", free)
    play.on("2026-10-10 20:00:00", play.hand_in, "Analyse the whole code base for races", work, rest, type="coding")
    play.on("2026-10-10 20:01:00", play.hand_in, "Analyse the logs of the last year", work, rest, type="coding")
    ids: list[str] = []
    chat = Part(2 * MINUTE, (Ask(40 * SECOND, "heavy", 9 * SECOND, 0.1000, (5_000, 500), 0.60),), "Compared.")
    play.on("2026-10-10 20:02:00", lambda: ids.append(play.hand_in("Compare the three offers", chat, chat)))
    play.on("2026-10-10 21:00:00", play.hand_in, "Say good night", free)
    play.on("2026-10-11 09:00:00", lambda: _decide(play, ids[0], "retry"))
    play.on("2026-10-11 09:30:00", play.hand_in, "Say good morning", free)
    play.until("2026-10-11 10:00:00")
    return play


def _decide(play: Play, task_id: str, decision: Decision) -> None:
    """The owner decides about a held task."""
    play.ask(cmd.ResolveTask(play.new_name("r"), task_id, decision, "owner"))


def _closely(play: Play) -> None:
    """From now on every probe is made in its time."""
    play.leaping = False


def _loosely(play: Play) -> None:
    play.leaping = True


def _drill(play: Play, seconds: int) -> None:
    """What the door does: it is written down first, then the fault begins; it ends by itself."""
    noted = cmd.DrillNoted("proxy-down", play.clock.wall + seconds * SECOND)
    play._from_above("brainstem", "door", noted)
    play.settle()
    play.weather.become(PROXY, "drilled")
    play.after(seconds * SECOND, lambda: play.weather.become(PROXY, "well"))


STORIES: dict[str, Callable[[Path], Play]] = {
    "quiet-day": quiet_day,
    "litellm-killed": litellm_killed,
    "cloud-lost": cloud_lost,
    "daemon-killed": daemon_killed,
    "budget-hit": budget_hit,
}
