"""A log on a file system that SQLite cannot be trusted to is refused before anything is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.eventlog.samples import CODEC, said

from omni.domain.errors import ConfigError
from omni.eventlog.file_system import (
    UNTRUSTED,
    Mount,
    UntrustedFileSystem,
    covering,
    mount_of,
    parse_mount_list,
    parse_mountinfo,
    require_trusted,
)
from omni.eventlog.sqlite import SqliteEventStore

# As Linux shows them in containers of Docker Desktop and in machines of Lima, WSL, VirtualBox, and on a host.
MOUNTINFO = r"""
22 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw
30 22 0:26 / /data rw,relatime - virtiofs data rw
31 22 0:27 / /mac rw,nosuid,nodev,relatime - fuse.grpcfuse grpcfuse rw,user_id=0,group_id=0,allow_other
32 22 0:28 /Users /host_mark rw,nosuid,nodev,relatime - fakeowner /run/host_mark/Users rw,fakeowner
33 22 0:29 / /old rw,nosuid,nodev,noatime - fuse.osxfs osxfs rw,user_id=0,group_id=0
34 22 0:30 / /mnt/c rw,noatime - 9p C:\134 rw,dirsync,aname=drvfs;path=C:\;uid=1000,trans=fd
35 22 0:31 / /net/my\040files rw,relatime shared:1 - nfs4 nas:/export/my\040files rw,vers=4.2
36 22 0:32 / /share rw,relatime shared:2 master:3 propagate_from:4 - cifs //nas/share rw,vers=3.1.1
37 22 0:33 / /media/sf rw,nodev,relatime - vboxsf sf rw
38 22 254:2 /volumes/omni/_data /named rw,relatime - ext4 /dev/vda2 rw
39 22 0:40 / /remote rw - fuse.sshfs me@host:/ rw
40 22 0:41 / /tmp rw - tmpfs tmpfs rw
41 22 0:42 / /btr rw - btrfs /dev/sdb rw
42 22 8:17 / /usb rw - fuseblk /dev/sdb1 rw
not a line
43 22 broken
"""

MAC_LIST = """
/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
devfs on /dev (devfs, local, nobrowse)
/dev/disk3s5 on /System/Volumes/Data (apfs, local, journaled, nobrowse, protect, root data)
map auto_home on /System/Volumes/Data/home (autofs, automounted, nobrowse)
//owner@nas._smb._tcp.local/My%20Files on /Volumes/My Files (1) (smbfs, nodev, nosuid, mounted by owner)
nas:/export on /Volumes/export (nfs, nodev, nosuid, mounted by owner)
"""


@pytest.mark.parametrize(
    ("number", "point"),
    [(30, "/data"), (31, "/mac"), (32, "/host_mark"), (33, "/old"), (34, "/mnt/c"), (35, "/net/my files"),
     (36, "/share"), (37, "/media/sf"), (39, "/remote")],
)  # fmt: skip
def test_shared_folders_and_network_mounts_are_refused_with_the_reason(number: int, point: str) -> None:
    mount = parse_mountinfo(MOUNTINFO)[number]

    assert mount.point == point
    with pytest.raises(UntrustedFileSystem) as refused:
        require_trusted(Path("/data/omni.db"), look=lambda _: mount)
    assert mount.kind in refused.value.message
    assert mount.point in refused.value.message
    assert mount.distrust in refused.value.message
    assert "named volume" in refused.value.hint
    assert "trust_file_system: true" in refused.value.hint


@pytest.mark.parametrize("number", [22, 38, 40, 41, 42])
def test_local_file_systems_are_taken(number: int) -> None:
    mount = parse_mountinfo(MOUNTINFO)[number]

    require_trusted(Path("/named/omni.db"), look=lambda _: mount)
    assert mount.distrust == ""


def test_lines_that_are_no_mounts_are_left_out() -> None:
    assert sorted(parse_mountinfo(MOUNTINFO)) == [22, *range(30, 43)]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/Users/owner/Library/Application Support/omni", "apfs"),
        ("/System/Volumes/Data/home/x", "autofs"),
        ("/Volumes/My Files (1)/omni", "smbfs"),
        ("/Volumes/export/omni.db", "nfs"),
        ("/Volumes/exported", "apfs"),
    ],
)
def test_the_longest_mount_point_of_the_list_counts(path: str, kind: str) -> None:
    mount = covering(parse_mount_list(MAC_LIST), Path(path))

    assert mount is not None
    assert mount.kind == kind
    assert bool(mount.distrust) == (kind in {"smbfs", "nfs"})


def test_a_mount_over_a_mount_hides_it() -> None:
    mounts = [Mount("/", "apfs"), Mount("/v", "smbfs"), Mount("/v", "apfs")]

    assert covering(mounts, Path("/v/x")) == Mount("/v", "apfs")
    assert covering([], Path("/v/x")) is None


def test_a_log_on_such_a_mount_is_refused_before_a_file_is_made(tmp_path: Path) -> None:
    path = tmp_path / "data" / "omni.db"

    with pytest.raises(ConfigError, match="virtiofs"):
        SqliteEventStore.open(path, CODEC, look=lambda _: Mount("/data", "virtiofs"))
    assert list(tmp_path.iterdir()) == []


def test_the_owner_may_overrule_it(tmp_path: Path) -> None:
    shared = Mount("/data", "virtiofs")

    with SqliteEventStore.open(tmp_path / "omni.db", CODEC, trust_file_system=True, look=lambda _: shared) as store:
        assert store.append([said("task-1", 1)]) == 1


def test_what_cannot_be_found_out_keeps_nobody_from_starting(tmp_path: Path) -> None:
    with SqliteEventStore.open(tmp_path / "omni.db", CODEC, look=lambda _: None) as store:
        assert store.append([said("task-1", 1)]) == 1


def test_the_kernel_is_asked_where_a_path_really_lies(tmp_path: Path) -> None:
    here, proc = mount_of(tmp_path), mount_of(Path("/proc/self/no/such/file"))
    (tmp_path / "link").symlink_to("/proc")
    behind = mount_of(tmp_path / "link" / "not-there")

    assert here is not None
    assert here.kind not in UNTRUSTED
    assert (proc and proc.kind, behind and behind.kind) == ("proc", "proc")


# --- a mount that is really there -----------------------------------------------------------------------------------


def in_shared_folder(kind: str, directory: Path, *trust: str) -> str:
    apart = ["unshare", "--user", "--map-root-user", "--mount"]
    if not Path("/dev/fuse").exists() or subprocess.run([*apart, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no FUSE, or no namespace to mount it in")
    line = [*apart, sys.executable, "-m", "tests.eventlog.shared_folder", kind, str(directory), *trust]
    root = Path(__file__).parents[2]
    done = subprocess.run(line, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    if "PermissionError" in done.stderr:
        pytest.skip("this user may not mount here")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", ["grpcfuse", "osxfs", "sshfs"])
def test_a_real_mount_of_a_shared_folder_is_refused_and_nothing_is_made_in_it(tmp_path: Path, kind: str) -> None:
    said = in_shared_folder(kind, tmp_path)

    assert said.startswith(
        f"UntrustedFileSystem [] {tmp_path}/data/omni.db lies on fuse.{kind} (mounted at {tmp_path})"
    )


def test_on_a_real_mount_the_owners_word_lets_it_try(tmp_path: Path) -> None:
    """This one makes no directories, which is told then by the system."""
    said = in_shared_folder("grpcfuse", tmp_path, "trust")

    assert said.startswith("OSError ['mkdir']")
