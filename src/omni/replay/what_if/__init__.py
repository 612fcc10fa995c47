"""What another policy would have done to the recorded history: `what_if` reads a log, `Policy` is what is tried out."""

from omni.replay.what_if.figures import Answer, Change, Latency, Money, Tally
from omni.replay.what_if.policy import Policy, PriceOf, policy_of
from omni.replay.what_if.reading import NothingRecorded, SecondReading, what_if

__all__ = [
    "Answer",
    "Change",
    "Latency",
    "Money",
    "NothingRecorded",
    "Policy",
    "PriceOf",
    "SecondReading",
    "Tally",
    "policy_of",
    "what_if",
]
