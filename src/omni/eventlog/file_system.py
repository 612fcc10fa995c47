"""Which file systems a log may lie on: SQLite's WAL wants a memory map that all readers share, and locks that hold.

    found                                     then
    a local one, or one not in the table      fine
    one in the table                          refused, unless the owner says `trust_file_system: true`
    cannot be found out                       fine: a guess must not keep a healthy daemon from starting

On Linux the kernel says on which mount a file lies, so that neither links nor mounts over mounts deceive us. On macOS
`mount` lists them, and the longest mount point above the file counts; that was tried on its texts only, on no Mac.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

from msgspec import Struct

from omni.domain.errors import ConfigError

_SHARED: Final = "a folder that a virtual machine shares with its host"
_NETWORK: Final = "a network file system"
_STORE: Final = "a file system over a remote store"

# By the kind that the system reports, without the `fuse.` in front.
UNTRUSTED: Final[Mapping[str, str]] = MappingProxyType({
    **dict.fromkeys((
        "virtiofs", "9p", "v9fs", "grpcfuse", "osxfs", "fakeowner", "drvfs", "vboxsf", "vmhgfs", "vmhgfs-fuse",
        "prl_fs",
    ), _SHARED),
    **dict.fromkeys((
        "nfs", "nfs3", "nfs4", "cifs", "smb2", "smb3", "smbfs", "afpfs", "afs", "webdav", "davfs", "davfs2",
        "curlftpfs", "sshfs", "ceph", "ceph-fuse", "glusterfs", "lustre", "beegfs", "orangefs", "moosefs",
    ), _NETWORK),
    **dict.fromkeys((
        "s3fs", "goofys", "mountpoint-s3", "gcsfuse", "rclone", "blobfuse", "blobfuse2", "juicefs",
    ), _STORE),
})  # fmt: skip

OVERRIDE: Final = "trust_file_system"
_OCTAL: Final = re.compile(r"\\([0-7]{3})")
_LISTED: Final = re.compile(r"^(?P<source>.+?) on (?P<point>/.*) \((?P<kind>[^,()\s]+)[^()]*\)$")
_MOUNT_COMMAND: Final = "/sbin/mount"
_ANSWER_WITHIN_S: Final = 5


class UntrustedFileSystem(ConfigError):
    """A log there could be damaged without an error."""


class Mount(Struct, frozen=True):
    """Where a file system is mounted, and what it is; `kind` as the system reports it, such as `fuse.grpcfuse`."""

    point: str
    kind: str
    source: str = ""

    @property
    def distrust(self) -> str:
        """Why SQLite cannot be trusted to it; empty when nothing is known against it."""
        return UNTRUSTED.get(self.kind.lower().removeprefix("fuse."), "")


Look: TypeAlias = Callable[[Path], Mount | None]


def mount_of(path: Path) -> Mount | None:
    """The mount that a file or directory lies on, links followed; None where that cannot be found out.

    A path that does not exist yet lies where its nearest existing parent does.
    """
    try:
        there = next(each for each in (path, *path.absolute().parents) if each.exists())
        return _on_linux(there) if sys.platform.startswith("linux") else _on_macos(there)
    except (OSError, ValueError, StopIteration, subprocess.SubprocessError):
        return None


def require_trusted(path: Path, *, trust: bool = False, look: Look = mount_of) -> None:
    """Raise UntrustedFileSystem when a log at this path could not be relied on; `trust` is the owner's word for it."""
    mount = None if trust else look(path)
    if mount is None or not mount.distrust:
        return
    raise UntrustedFileSystem(
        f"{path} lies on {mount.kind} (mounted at {mount.point}): {mount.distrust}. SQLite's write-ahead log can be "
        "damaged there without an error, and a second daemon would not be noticed",
        hint="use a directory on a local disk (omni serve --data-dir DIR), in a container a named volume "
        f"(docker volume create omni-data); if you know that it is safe, set `{OVERRIDE}: true` in config.yaml",
    )


def parse_mountinfo(text: str) -> dict[int, Mount]:
    """The mounts of `/proc/self/mountinfo` by their id; lines of another form are left out."""
    found: dict[int, Mount] = {}
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if len(fields) >= 6 and len(kinds) >= 2 and fields[0].isdigit():
            found[int(fields[0])] = Mount(_plain(fields[4]), kinds[0], _plain(kinds[1]))
    return found


def parse_mount_list(text: str) -> list[Mount]:
    """The mounts that macOS' `mount` prints: `SOURCE on POINT (KIND, options…)`."""
    matches = (_LISTED.match(line) for line in text.splitlines())
    return [Mount(each["point"], each["kind"], each["source"]) for each in matches if each]


def covering(mounts: Iterable[Mount], path: Path) -> Mount | None:
    """The mount with the longest point above a path; of two at the same point the later one hides the earlier."""
    above = [each for each in mounts if path.is_relative_to(each.point)]
    return max(reversed(above), key=lambda each: len(Path(each.point).parts), default=None)


def _on_linux(path: Path) -> Mount | None:
    """Asked of the kernel with a descriptor that opens nothing: no lock of this process is lost by closing it."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        about = Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="ascii")
    finally:
        os.close(descriptor)
    number = next(line.split()[1] for line in about.splitlines() if line.startswith("mnt_id:"))
    text = Path("/proc/self/mountinfo").read_bytes().decode("utf-8", "surrogateescape")
    return parse_mountinfo(text).get(int(number))


def _on_macos(path: Path) -> Mount | None:
    listed = subprocess.run([_MOUNT_COMMAND], capture_output=True, timeout=_ANSWER_WITHIN_S, check=True)  # noqa: S603 - a constant
    return covering(parse_mount_list(listed.stdout.decode("utf-8", "replace")), path.resolve())


def _plain(field: str) -> str:
    """A field of mountinfo, where blanks and line ends stand as octal numbers."""
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), field)
