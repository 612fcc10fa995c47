"""Files that are put in place whole."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

import pytest

from omni.drafts import draft, replace_private


def test_only_its_owner_reads_it_also_where_others_read_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    path.chmod(0o644)
    replace_private(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["token"]


def test_a_name_that_leads_elsewhere_is_replaced_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    elsewhere, path = tmp_path / "elsewhere", tmp_path / "token"
    elsewhere.write_text("theirs")
    path.symlink_to(elsewhere)
    replace_private(path, "ours")
    assert (elsewhere.read_text(), path.read_text(), path.is_symlink()) == ("theirs", "ours", False)


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    path = tmp_path / "token"
    path.write_text("old")
    monkeypatch.setattr("omni.drafts.os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        replace_private(path, "new")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["token"]


def test_a_draft_that_is_found_unfit_goes(tmp_path: Path) -> None:
    def refuse(fresh: Path) -> None:
        raise ValueError(f"unfit: {fresh.read_text()}")

    with pytest.raises(ValueError, match="unfit: new"), draft(tmp_path / "config.yaml", "new") as fresh:
        refuse(fresh)
    assert not list(tmp_path.iterdir())
