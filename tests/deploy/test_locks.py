"""Every package that an installation takes is named with its version and its hashes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.deploy.dockerfile import ROOT

LOCKS = sorted(ROOT.glob("requirements*.lock"))
PINNED = re.compile(r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,_-]+\])?==[^\s;]+( ;.*)?")
SAFE_LITELLM = (1, 83, 7)  # 1.82.7 and 1.82.8 carried malware


def entries(lock: Path) -> list[str]:
    text = re.sub(r"\\\n\s+", " ", lock.read_text(encoding="utf-8"))
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_entry_of_a_lock_is_one_version_with_hashes(lock: Path) -> None:
    found = entries(lock)
    assert found
    for entry in found:
        requirement, *hashes = entry.split(" --hash=")
        assert PINNED.fullmatch(requirement.strip()), entry
        assert hashes, entry
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each.strip()) for each in hashes), entry


def test_no_lock_holds_a_litellm_that_was_tampered_with() -> None:
    versions = [match for lock in LOCKS for match in re.findall(r"^litellm==([\d.]+)", lock.read_text(), re.MULTILINE)]
    assert len(versions) >= 2
    for version in versions:
        assert tuple(int(part) for part in version.split(".")) >= SAFE_LITELLM
