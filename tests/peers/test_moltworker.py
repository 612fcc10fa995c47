"""A Moltworker in all but Cloudflare: the real OpenClaw gateway behind a relay that guards it as Access does.

The gateway sees a client that came through a proxy, so it wants a device that a person has approved.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.adapters.openclaw.far import Far
from tests.fakes.access_relay import AccessRelay, aside
from tests.peers.openclaw import TOKEN, OpenClawHouse, at_home

from omni.adapters.openclaw.device import Device

DONE_WITHIN_S = 120.0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenClawHouse]:
    """A gateway that believes its proxy who the client is; without that it refuses whoever comes through one."""
    with at_home(tmp_path_factory.mktemp("openclaw"), trusted_proxies=("127.0.0.1",)) as gateway:
        yield gateway


@pytest.fixture
def far(house: OpenClawHouse, tmp_path: Path) -> Iterator[Far]:
    with aside() as beside:
        relay = AccessRelay(house.ws)
        beside.do(relay.up())
        far = Far(tmp_path, relay, beside, TOKEN)
        try:
            far.daemon.start().ready()
            yield far
        finally:
            far.close()
            beside.do(relay.down())


def approve(far: Far, house: OpenClawHouse) -> None:
    """What a person does: the id from the status, into OpenClaw's own command."""
    done = house.run("devices", "approve", far.asked_to_pair())
    assert done.returncode == 0, done.stderr + done.stdout
    far.until_ready()


def test_a_task_runs_behind_the_relay_after_the_device_is_approved(far: Far, house: OpenClawHouse) -> None:
    approve(far, house)
    state = far.daemon.data_dir / "adapters" / "moltworker" / "device"
    assert (state / "device.token").read_text()
    assert {each.stat().st_mode & 0o777 for each in state.iterdir()} == {0o600}
    (task_id,) = far.submit("[[text:done in the cloud]]", type="always_on")
    task = far.ended(task_id, DONE_WITHIN_S)
    assert (task["state"], task["result"]["content"]) == ("completed", "done in the cloud"), task
    assert any(each.headers.get("Upgrade") for each in far.relay.seen)


@pytest.mark.parametrize(
    "words", [("remove", "ID"), ("revoke", "--device", "ID", "--role", "operator")], ids=["removed", "revoked"]
)
def test_a_device_that_a_person_has_shut_out_is_asked_to_pair_again(
    far: Far, house: OpenClawHouse, words: tuple[str, ...]
) -> None:
    approve(far, house)
    device = _device_id(far)
    done = house.run("devices", *(device if each == "ID" else each for each in words))
    assert done.returncode == 0, done.stderr + done.stdout
    approve(far, house)
    (task_id,) = far.submit("[[text:back again]]", type="gpu")
    assert far.ended(task_id, DONE_WITHIN_S)["result"]["content"] == "back again"


def _device_id(far: Far) -> str:
    return Device(far.daemon.data_dir / "adapters" / "moltworker" / "device").id
