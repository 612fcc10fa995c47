"""Pull the plug at random moments: with FULL every acknowledged append survives; with NORMAL the simulator bites.

OMNI_TORTURE multiplies the number of cuts.
"""

import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from tests.eventlog.faults import FaultyDisk, faulty_disk
from tests.eventlog.powerloss import PowerLossDisk, power_loss_disk
from tests.eventlog.samples import CODEC, said

from omni.domain.errors import EventLogError, LostTail
from omni.eventlog.backup import verify
from omni.eventlog.marker import marker_path
from omni.eventlog.sqlite import SqliteEventStore

pytestmark = pytest.mark.slow
CUTS = 1_000 * int(os.environ.get("OMNI_TORTURE", "1"))
CUTS_PER_RUN = 50


class Run:
    """One life of a log with a cut at about every fifth operation of the disk; each is judged on the spot."""

    def __init__(self, disk: PowerLossDisk, unsynced: FaultyDisk, home: Path, seed: int, synchronous: str) -> None:
        self.verdicts: Counter[str] = Counter()
        self._disk = disk
        self._reopened_on = unsynced.vfs_name  # no second cut comes, so no sync is needed
        self._path = home / "live" / "omni.db"
        self._image = home / "image" / "omni.db"
        self._image.parent.mkdir(parents=True, exist_ok=True)
        self._chance = random.Random(seed)
        self._synchronous = synchronous
        self._acknowledged: list[str] = []
        self._offered: list[str] = []
        self._markers: list[bytes] = []
        self._judging = False

    def live(self) -> None:
        self._disk.on_operation = self._maybe_cut
        with SqliteEventStore.open(self._path, CODEC, vfs=self._disk.vfs_name, synchronous=self._synchronous) as store:
            store._connection.wal_autocheckpoint(self._chance.choice((8, 40, 1000)))
            while self.verdicts.total() < CUTS_PER_RUN:
                self._append(store)
                self._maybe_cut()
            self._disk.on_operation = lambda: None

    def _append(self, store: SqliteEventStore) -> None:
        first = len(self._acknowledged) + 1
        size = self._chance.choice((10, 300, 3_000, 30_000))
        texts = [f"{number} " + "x" * size for number in range(first, first + self._chance.randint(1, 5))]
        self._offered = texts
        store.append([said("task-1", first + at, text) for at, text in enumerate(texts)])
        self._acknowledged += texts
        self._offered = []

    def _maybe_cut(self) -> None:
        if self._judging or self._chance.random() > 0.2 or self.verdicts.total() >= CUTS_PER_RUN:
            return
        self._judging = True
        self._disk.cut(self._chance, self._path, self._image)
        self._cut_marker()
        self.verdicts[self._judge()] += 1
        self._judging = False

    def _cut_marker(self) -> None:
        """The marker is never synced while the daemon lives: any state of it may survive, or a torn one."""
        target = marker_path(self._image)
        target.unlink(missing_ok=True)
        if not marker_path(self._path).exists():
            return
        self._markers.append(marker_path(self._path).read_bytes())
        kept = bytearray(self._chance.choice((self._markers[-1], self._chance.choice(self._markers))))
        if self._chance.random() < 0.2:
            kept[self._chance.choice((0, 4096)) + self._chance.randint(0, 51)] ^= 0x55
        target.write_bytes(kept)

    def _judge(self) -> str:
        try:
            store = SqliteEventStore.open(self._image, CODEC, vfs=self._reopened_on)
        except LostTail:
            return "lost"
        except EventLogError as error:
            return f"broken: {error.message}"
        with store:
            found = [recorded.event.text for recorded in store.read(check=True)]  # type: ignore[attr-defined]
        if not verify(self._image, CODEC).ok:
            return "damaged"
        whole = self._acknowledged + self._offered
        if found not in (self._acknowledged, whole):
            return "lost" if found == whole[: len(found)] else "wrong"
        return "exact"


def _verdicts(home: Path, synchronous: str, cuts: int) -> Counter[str]:
    verdicts: Counter[str] = Counter()
    for seed in range(cuts // CUTS_PER_RUN):
        with power_loss_disk() as disk, faulty_disk() as unsynced:
            run = Run(disk, unsynced, home, seed, synchronous)
            run.live()
        verdicts += run.verdicts
        shutil.rmtree(home / "live")
    return verdicts


def test_every_acknowledged_append_survives_every_power_cut(tmp_path: Path) -> None:
    assert _verdicts(tmp_path, "FULL", CUTS) == {"exact": CUTS}


def test_with_normal_instead_of_full_the_same_cuts_lose_acknowledged_events(tmp_path: Path) -> None:
    verdicts = _verdicts(tmp_path, "NORMAL", 200)
    assert verdicts["lost"] > 40
    assert verdicts.keys() <= {"exact", "lost"}
