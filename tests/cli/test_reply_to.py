"""`omni submit --reply-to`: the chat that hears how a task ends."""

from __future__ import annotations

from tests.cli.conftest import Omni


def test_a_task_names_the_chat_that_hears_of_its_end(served: Omni) -> None:
    task = served.json("submit", "say hello", "--reply-to", "telegram:42", "--wait")["task"]
    assert (task["state"], task["reply_to"]) == ("completed", "telegram:42")
    assert served.json("task", "show", task["id"])["task"]["reply_to"] == "telegram:42"
    assert served.json("submit", "say hello")["task"]["reply_to"] is None


def test_an_address_that_is_none_is_said_to_be(served: Omni) -> None:
    document = served.json("submit", "x", "--reply-to", "my friend", code=2)
    assert "reply_to must be CHANNEL:TARGET" in document["error"]["message"]
