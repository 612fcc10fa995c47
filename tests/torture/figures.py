"""What a storm came to, for people: how much happened, how soon calls were answered, how often tasks were taken."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.torture.crowd import Submission
from tests.torture.reckoning import Reckoning
from tests.torture.weather import CLOUDS

from omni.domain import events as ev


def counts(reckoning: Reckoning) -> Counter[str]:
    """How much happened."""
    count: Counter[str] = Counter()
    for story in reckoning.stories.values():
        count[f"tasks {story.end}"] += 1
        if story.end == "failed":
            count[f"failed: {reckoning.why_failed(story) or 'ILLEGITIMATE'}"] += 1
        if story.held is not None:
            count[f"held: {story.held.kind}"] += 1
        count["attempts"] += len(story.attempts)
        count["attempts interrupted"] += sum(1 for each in story.attempts.values() if each == "interrupted")
    count["tasks"], count["events"] = len(reckoning.stories), reckoning.events
    count["calls reserved"] = len(reckoning.reserved)
    count.update(f"calls settled {each.verdict}" for each in reckoning.settled.values())
    count.update(f"upstream calls at {asked.fake}" for asked in reckoning.asked)
    count.update(f"times {mode}" for _, mode in reckoning.modes[1:])
    count["suspensions"] = reckoning.suspensions
    kinds: dict[type[Any], str] = {
        ev.NoticeQueued: "notices",
        ev.RepairStarted: "repairs",
        ev.DaemonStarted: "daemon lives",
    }
    count.update(kinds[type(event)] for _, event in reckoning.system if type(event) in kinds)
    count.update(f"faults at {fault.part}" for fault in reckoning.faults)
    dying = (c for c in reckoning.crowd.calls if reckoning.only_the_proxy_died(c.began, c.ended))
    count.update(f"calls while the proxy alone was gone: {call.outcome}" for call in dying)
    return count


def first_good_calls(reckoning: Reckoning) -> dict[str, list[float]]:
    """Seconds from each kill or freeze of the proxy to the first answer of a call that began after it.

    Only where one of the clouds was well and the daemon ran from shortly before until the answer.
    """
    found: dict[str, list[float]] = {"killed": [], "frozen": []}
    for fault in reckoning.faults:
        if fault.part != "proxy" or fault.what not in found:
            continue
        later = [c for c in reckoning.crowd.calls if c.began >= fault.began and c.outcome == "good"]
        first = min((call.first for call in later), default=0.0)
        broken = {each.part for each in reckoning.faults.during(fault.began - 1, first, "daemon", *CLOUDS)}
        if later and "daemon" not in broken and broken < set(CLOUDS):
            found[fault.what].append(first - fault.began)
    return found


def availability(reckoning: Reckoning) -> tuple[int, int, list[Submission]]:
    """Submissions, those that were acknowledged, and those that were not although the daemon ran."""
    made = reckoning.crowd.submissions
    failed = [each for each in made if not each.task_id]
    alone = [each for each in failed if not reckoning.faults.during(each.began - 0.2, each.ended, "daemon")]
    return len(made), len(made) - len(failed), alone
