"""Restoring a backup as docs/operations.md says: what came after it is gone, the rest is there and sound."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.cli.conftest import CONFIG, Daemon, Omni, make_omni


@pytest.fixture
def omni(tmp_path: Path) -> Omni:
    made = make_omni(tmp_path / "home")
    (made.home / "config.yaml").write_text(CONFIG)
    return made


def test_a_backup_takes_the_place_of_the_log(omni: Omni) -> None:
    daemon = Daemon(omni)
    daemon.start()
    _submit(omni, "before")
    assert omni("backup", "omni-backup.db").returncode == 0
    _submit(omni, "after")
    daemon.stop()
    _restore(omni.data_dir, omni.home / "omni-backup.db")
    assert omni("verify").returncode == 0
    daemon.start()
    try:
        assert [task["description"] for task in omni.json("tasks")["tasks"]] == ["before"]
        _submit(omni, "later")
    finally:
        daemon.stop()
    assert omni.json("verify")["ok"]


def test_with_the_marker_left_in_place_the_older_history_is_refused(omni: Omni) -> None:
    daemon = Daemon(omni)
    daemon.start()
    assert omni("backup", "omni-backup.db").returncode == 0
    _submit(omni, "after")
    daemon.stop()
    marker = (omni.data_dir / "omni.db.head").read_bytes()
    _restore(omni.data_dir, omni.home / "omni-backup.db")
    (omni.data_dir / "omni.db.head").write_bytes(marker)
    refused = omni("serve")
    assert refused.returncode == 8
    assert "--accept-loss" in refused.stderr


def _submit(omni: Omni, text: str) -> None:
    assert omni("submit", text, "--executor", "echo", "--wait", "20").returncode == 0


def _restore(data_dir: Path, backup: Path) -> None:
    """The lines of the page, but for the service."""
    before = data_dir / "before"
    before.mkdir()
    for each in [*data_dir.glob("omni.db*"), data_dir / "snapshots"]:
        each.rename(before / each.name)
    shutil.copy(backup, data_dir / "omni.db")
