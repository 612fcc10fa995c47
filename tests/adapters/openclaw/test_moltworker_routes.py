"""Work that wants a machine which is always on, or a GPU, from the daemon's door to a Moltworker and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest
from tests.adapters.openclaw.far import Far
from tests.fakes.access_relay import CLIENT_ID, CLIENT_SECRET, AccessRelay, aside
from tests.fakes.gateway import TOKEN, FakeGateway
from tests.torture.daemon_process import until

from omni.domain import events as ev

MakeFar: TypeAlias = Callable[..., tuple[Far, FakeGateway]]
OVER = {"completed", "failed", "cancelled"}
STAND_IN = {"url": "null:", "types": ["general"], "arguments": {"said": "{description}"}}


@pytest.fixture
def make_far(tmp_path: Path) -> Iterator[MakeFar]:
    """A daemon, a relay and a gateway that takes its device; all of them end with the test."""
    with ExitStack() as stack:
        beside = stack.enter_context(aside())

        def make(
            *, up: bool = True, prepare: Callable[[AccessRelay], None] = as_it_is, **others: Any
        ) -> tuple[Far, FakeGateway]:
            gateway = FakeGateway()
            beside.do(gateway.up())
            stack.callback(lambda: beside.do(gateway.kill()))
            relay = AccessRelay(gateway.url)
            prepare(relay)
            if up:
                beside.do(relay.up())
            stack.callback(lambda: beside.do(relay.down()))
            far = Far(tmp_path, relay, beside, **others)
            stack.callback(far.close)
            far.daemon.start().ready()
            return far, gateway

        yield make


def as_it_is(relay: AccessRelay) -> None:
    """Nothing special."""


def test_work_for_always_on_and_gpu_reaches_it(make_far: MakeFar) -> None:
    far, gateway = make_far(stand_in=STAND_IN)
    far.until_ready()
    for kind in ("always_on", "gpu"):
        (task_id,) = far.submit(f"[[text:done by {kind}]]", type=kind)
        task = far.ended(task_id)
        assert (task["executor"], task["result"]["content"]) == ("moltworker", f"done by {kind}")
    assert len(gateway.ran) == 2


def test_while_it_is_offline_the_next_best_takes_the_work(make_far: MakeFar) -> None:
    far, gateway = make_far(up=False, stand_in=STAND_IN)
    far.until_said("offline: ")
    (task_id,) = far.submit("[[text:nobody]]", type="always_on")
    assert far.ended(task_id)["executor"] == "stand_in"
    assert not gateway.ran


def test_where_nobody_stands_in_the_work_waits_with_the_reason_and_goes_on_afterwards(make_far: MakeFar) -> None:
    far, gateway = make_far(up=False)
    far.until_said("offline: ")
    (task_id,) = far.submit("[[text:at last]]", type="gpu")
    until(lambda: "offline: " in str(far.task(task_id)), 20, "the task says why it waits")
    assert far.task(task_id)["state"] not in OVER
    far.beside.do(far.relay.up())
    assert far.ended(task_id, within_s=90)["result"]["content"] == "at last"
    assert len(gateway.ran) == 1


def test_work_waits_through_a_cold_start_and_is_not_failed(make_far: MakeFar) -> None:
    far, _ = make_far(prepare=AccessRelay.sleep)
    far.until_said("cold-starting: ")
    (task_id,) = far.submit("[[text:warm]]", type="always_on")
    until(lambda: "cold-starting: " in str(far.task(task_id)), 20, "the task says why it waits")
    far.beside.loop.call_soon_threadsafe(far.relay.wake)
    assert far.ended(task_id, within_s=90)["result"]["content"] == "warm"
    assert far.events(ev.TaskFailed) == []


def test_no_secret_of_it_is_in_any_file_or_answer(make_far: MakeFar) -> None:
    far, _ = make_far(prepare=tells_all)
    far.until_said("its status says start_failed: ")
    (task_id,) = far.submit("hello", type="gpu")
    until(lambda: "start_failed" in str(far.task(task_id)), 20, "the task says why it waits")
    assert any(each.headers.get("CF-Access-Client-Secret") == CLIENT_SECRET for each in far.relay.seen)
    told = [str(far.status()), str(far.task(task_id)), far.daemon.run("config", "show").stdout, far.daemon.said]
    told.append(far.daemon.run("status", "--json").stdout)
    told.append(b"".join(msgspec.json.encode(each.event) for each in far.log()).decode())
    assert far.daemon.terminate() == 0
    told += [each.read_bytes().decode("utf-8", "replace") for each in far.daemon.data_dir.rglob("*") if each.is_file()]
    for secret in (CLIENT_ID, CLIENT_SECRET, TOKEN):
        assert not any(secret in each for each in told)


def tells_all(relay: AccessRelay) -> None:
    """A server that says back what it was shown."""
    relay.broken = 503
    relay.status = {"ok": False, "status": "start_failed", "error": f"{CLIENT_ID} {CLIENT_SECRET} {TOKEN}"}
