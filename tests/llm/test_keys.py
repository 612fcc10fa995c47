"""Model keys: whom they are for, and that nobody else can make one."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni.domain.errors import ConfigError
from omni.llm.keys import FILE_NAME, Holder, ModelKeys, read_secret

TASK = "0192f0c1-2d3e-7abc-8def-001122334455"
KEYS = ModelKeys(b"s" * 32)


def test_an_attempts_key_says_for_which_attempt_it_is() -> None:
    key = KEYS.attempt_key(TASK, 2)
    assert key.startswith(f"omni-a-{TASK}-2-")
    assert KEYS.check(key) == Holder(task_id=TASK, n=2)
    assert KEYS.attempt_key(TASK, 2) == key


def test_a_key_that_must_not_go_through_the_proxy_says_so_and_no_other_can_be_made_into_one() -> None:
    key = KEYS.attempt_key(TASK, 2, direct=True)
    assert key.startswith(f"omni-d-{TASK}-2-")
    assert KEYS.check(key) == Holder(task_id=TASK, n=2, direct=True)
    for one, other in (("omni-d-", "omni-a-"), ("omni-a-", "omni-d-")):
        made = KEYS.attempt_key(TASK, 2, direct=one == "omni-d-")
        assert KEYS.check(made.replace(one, other)) is None


@pytest.mark.parametrize("name", ["openclaw", "my-client", "a", "x.y_z-1-2"])
def test_a_clients_key_says_for_whom_it_is(name: str) -> None:
    key = KEYS.client_key(name)
    assert key.startswith(f"omni-c-{name}-")
    assert KEYS.check(key) == Holder(client=name)


@pytest.mark.parametrize("name", ["", "-a", "a b", "x" * 65, "a\n", "ä", "../x"])
def test_a_client_needs_a_plain_name(name: str) -> None:
    with pytest.raises(ConfigError, match="client"):
        KEYS.client_key(name)


@given(place=st.integers(0, 200), to=st.characters(codec="ascii"))
def test_a_key_that_was_changed_anywhere_is_none(place: int, to: str) -> None:
    for key in (KEYS.attempt_key(TASK, 1), KEYS.attempt_key(TASK, 1, direct=True), KEYS.client_key("openclaw")):
        at = place % len(key)
        changed = key[:at] + to + key[at + 1 :]
        assert (KEYS.check(changed) is None) == (changed != key)


@pytest.mark.parametrize("key", ["", "-", "omni-a-", "omni-", "sk-ant-x", "x" * 10_000, "omni-c-ä-00", "\x00"])
def test_what_is_no_key_is_none(key: str) -> None:
    assert KEYS.check(key) is None


def test_keys_of_another_installation_are_none() -> None:
    assert ModelKeys(b"t" * 32).check(KEYS.attempt_key(TASK, 1)) is None


def test_the_mac_of_one_holder_does_not_fit_another() -> None:
    mac = KEYS.attempt_key(TASK, 1).rpartition("-")[2]
    assert KEYS.check(f"omni-a-{TASK}-2-{mac}") is None
    assert KEYS.check(f"omni-c-owner-{mac}") is None


# --- the secret -----------------------------------------------------------------------------------------------------


def test_the_secret_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    home = tmp_path / "new"
    key = ModelKeys.of(home).attempt_key(TASK, 1)
    assert stat.S_IMODE((home / FILE_NAME).stat().st_mode) == 0o600
    assert ModelKeys.of(home).check(key) is not None
    assert [each.name for each in home.iterdir()] == [FILE_NAME]
    assert len(read_secret(home / FILE_NAME)) == 32


def test_two_installations_have_two_secrets(tmp_path: Path) -> None:
    assert ModelKeys.of(tmp_path / "a").client_key("x") != ModelKeys.of(tmp_path / "b").client_key("x")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_secret_that_others_can_read_is_refused_with_the_way_out(tmp_path: Path, mode: int) -> None:
    path = tmp_path / FILE_NAME
    read_secret(path)
    path.chmod(mode)
    with pytest.raises(ConfigError) as refused:
        read_secret(path)
    assert "rm " in refused.value.hint


@pytest.mark.parametrize("content", ["", "abc", "zz" * 32, "00" * 31])
def test_a_damaged_secret_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / FILE_NAME
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="no usable secret"):
        read_secret(path)
