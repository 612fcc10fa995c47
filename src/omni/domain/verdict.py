"""What one answer, or the lack of one, says about whom: the words that health is folded from.

Theory of operation. Whoever calls a proxy or a cloud turns what came back into a Verdict (`omni.llm.classify`). What a
verdict means stands here, in one table: whether the side that was called is alive, whether its key is good, and
whether the same question may be put to somebody else. Where a column says None, the answer says nothing about it.

    alive      of a proxy: it runs. Of a cloud: it can be reached. Any HTTP answer over a sound connection shows it.
    elsewhere  the call may be tried on another path, as long as nothing of an answer has been passed on
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class Verdict(enum.StrEnum):
    """How one probe, ping or call ended."""

    OK = "ok"
    REFUSED = "refused"  # nobody listens there: dead, starting or draining
    CLOSED = "closed"  # connected, then cut before the first byte of an answer
    HUNG = "hung"  # connected, and no answer in time to a question that is always answered quickly
    NO_ROUTE = "no_route"  # no network, or no name resolution: as likely this machine's fault as theirs
    SLOW = "slow"  # a model call that was not answered in time: they may be thinking
    SERVER_ERROR = "server_error"  # 5xx, 529
    RATE_LIMITED = "rate_limited"  # 429, or a proxy that has put all its deployments to rest
    OUT_OF_CREDIT = "out_of_credit"  # 402
    KEY_REJECTED = "key_rejected"  # 401, 403
    CALLER_ERROR = "caller_error"  # any other 4xx: the request itself is wrong
    MISCONFIGURED = "misconfigured"  # the proxy turns down our own key, or fails before it asks anybody
    BAD_ANSWER = "bad_answer"  # a success that is none: not JSON, empty, or an error inside
    BROKEN_STREAM = "broken_stream"  # it began well, and broke off or ended in an error
    ABANDONED = "abandoned"  # our caller went away


YES, NO, SILENT = True, False, None


class Meaning(NamedTuple):
    """What a verdict says; None where it says nothing."""

    alive: bool | None
    key_good: bool | None
    elsewhere: bool


MEANING: dict[Verdict, Meaning] = {
    #                               alive  key    elsewhere
    Verdict.OK: Meaning(YES, YES, NO),
    Verdict.REFUSED: Meaning(NO, SILENT, YES),
    Verdict.CLOSED: Meaning(NO, SILENT, YES),
    Verdict.HUNG: Meaning(NO, SILENT, YES),
    Verdict.NO_ROUTE: Meaning(NO, SILENT, YES),
    Verdict.SLOW: Meaning(SILENT, SILENT, YES),
    Verdict.SERVER_ERROR: Meaning(YES, SILENT, YES),
    Verdict.RATE_LIMITED: Meaning(YES, SILENT, YES),
    Verdict.OUT_OF_CREDIT: Meaning(YES, SILENT, YES),
    Verdict.KEY_REJECTED: Meaning(YES, NO, YES),
    Verdict.CALLER_ERROR: Meaning(YES, SILENT, NO),
    Verdict.MISCONFIGURED: Meaning(YES, SILENT, NO),
    Verdict.BAD_ANSWER: Meaning(YES, SILENT, YES),
    Verdict.BROKEN_STREAM: Meaning(SILENT, SILENT, NO),
    Verdict.ABANDONED: Meaning(SILENT, SILENT, NO),
}
