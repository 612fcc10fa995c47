"""What one answer, or the lack of one, says about whom: the words that health is folded from.

Theory of operation. Whoever calls a proxy or a cloud turns what came back into a Verdict (`omni.llm.classify`). What a
verdict means stands here, in one table: whether the side that was called is alive, and whether the same question may be
put to somebody else. None: the answer says nothing about it. What it says of a key stands in `omni.domain.symptoms`.

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
    elsewhere: bool


MEANING: dict[Verdict, Meaning] = {
    #                               alive  elsewhere
    Verdict.OK: Meaning(YES, NO),
    Verdict.REFUSED: Meaning(NO, YES),
    Verdict.CLOSED: Meaning(NO, YES),
    Verdict.HUNG: Meaning(NO, YES),
    Verdict.NO_ROUTE: Meaning(NO, YES),
    Verdict.SLOW: Meaning(SILENT, YES),
    Verdict.SERVER_ERROR: Meaning(YES, YES),
    Verdict.RATE_LIMITED: Meaning(YES, YES),
    Verdict.OUT_OF_CREDIT: Meaning(YES, YES),
    Verdict.KEY_REJECTED: Meaning(YES, YES),
    Verdict.CALLER_ERROR: Meaning(YES, NO),
    Verdict.MISCONFIGURED: Meaning(YES, NO),
    Verdict.BAD_ANSWER: Meaning(YES, YES),
    Verdict.BROKEN_STREAM: Meaning(SILENT, NO),
    Verdict.ABANDONED: Meaning(SILENT, NO),
}
