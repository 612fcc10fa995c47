"""Faults in files, directories and the room that is left."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ops.doctor.conftest import Home

from omni.eventlog.file_system import Mount
from omni.ops.doctor.scene import Space

GIB = 1024**3


def test_a_healthy_installation_gives_no_error_and_no_warning(home: Home) -> None:
    home.lived()
    found = home.findings()
    assert [each for each in found if each.is_trouble] == []
    assert {"log", "port", "data", "token", "config", "disk"} <= {each.name for each in found if each.level == "ok"}


def test_a_token_that_others_can_read_is_found_and_closed(home: Home) -> None:
    home.lived()
    token = home.data / "token"
    token.chmod(0o644)
    found = home.finding("token.open_to_others")
    assert found.level == "error"
    assert f"chmod 600 {token}" in found.mend
    assert "omni token rotate" in found.mend
    done = home.omni.json("doctor", "--fix")
    assert done["mended"][0]["name"] == "token.open_to_others"
    assert token.stat().st_mode & 0o777 == 0o600
    assert "token.open_to_others" not in {each["name"] for each in done["findings"]}


def test_no_token_is_missed_where_none_is_wanted(home: Home) -> None:
    assert home.finding("token.none").level == "note"
    home.config["auth"] = "none"
    assert home.finding("token").level == "ok"


def test_a_token_that_is_too_short_is_found(home: Home) -> None:
    home.lived()
    (home.data / "token").write_text("short\n")
    assert home.finding("token.unusable").mend == "omni token rotate"


def test_a_configuration_that_others_can_read_is_found(home: Home) -> None:
    file = home.write(mode=0o644)
    found = home.finding("config.open_to_others")
    assert found.mend == f"chmod 600 {file}"
    assert found.fixable


def test_an_open_data_directory_is_found_and_closed(home: Home) -> None:
    home.lived()
    home.data.chmod(0o755)
    assert home.finding("data.open_to_others").mend == f"chmod 700 {home.data}"
    home.omni.json("doctor", "--fix")
    assert home.data.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_belongs_to_everybody_is_not_closed(home: Home) -> None:
    home.lived()
    home.data.chmod(0o1777)
    found = home.finding("data.open_to_others")
    assert not found.fixable
    assert "--data-dir" in found.mend
    home.omni("doctor", "--fix")
    assert home.data.stat().st_mode & 0o7777 == 0o1777


def test_a_data_directory_of_another_user_is_found(home: Home) -> None:
    home.lived()
    if os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    os.chown(home.data, 12345, -1)
    assert "chown" in home.finding("data.foreign").mend


def test_a_data_directory_that_is_a_file_is_found(home: Home) -> None:
    home.data.write_text("not a directory")
    assert "--data-dir" in home.finding("data.no_directory").mend


def test_a_folder_that_a_virtual_machine_shares_is_found(home: Home) -> None:
    home.lived()
    found = home.finding("data.file_system", mount=lambda _: Mount("/data", "virtiofs"))
    assert "virtiofs" in found.says
    assert "--data-dir DIR" in found.mend
    home.config["trust_file_system"] = True
    names = {each.name for each in home.findings(mount=lambda _: Mount("/data", "virtiofs"))}
    assert "data.file_system" not in names


def test_a_missing_data_directory_is_made(home: Home) -> None:
    home.write()
    assert home.finding("data.none").mend == f"mkdir -m 700 -p {home.data}"
    home.omni.json("doctor", "--fix")
    assert home.data.is_dir()
    assert home.data.stat().st_mode & 0o777 == 0o700


def test_a_missing_work_directory_is_made(home: Home) -> None:
    absent = home.path / "projects"
    home.config["allowed_workdirs"] = [str(absent)]
    assert home.finding("workdir.none").mend == f"mkdir -p {absent}"
    home.omni.json("doctor", "--fix")
    assert absent.is_dir()


@pytest.mark.parametrize(("free", "name"), [(GIB // 2, "disk.low"), (1024, "disk.full")])
def test_a_disk_nearly_full_is_found(home: Home, free: int, name: str) -> None:
    home.lived()
    assert home.finding(name, space=lambda _: Space(free, 100 * GIB)).mend.startswith(f"df -h {home.data}")


@pytest.fixture
def small_disk(home: Home) -> Iterator[Path]:
    """A disk of 24 MiB as the data directory."""
    home.data.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", str(home.data)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield home.data
    subprocess.run(["umount", "--lazy", str(home.data)], check=True)


def test_a_real_disk_that_fills_up_is_found_under_a_daemon(home: Home, small_disk: Path) -> None:
    home.write()
    home.daemon.start()
    assert home.finding("disk.low").mend == f"df -h {small_disk}, then free some space"
    (small_disk / "somebody-else").write_bytes(bytes(6 * 1024 * 1024))
    found = home.finding("disk.full")
    home.daemon.stop()
    assert (found.level, f"df -h {small_disk}" in found.mend) == ("error", True)
    assert home.omni("doctor").returncode == 8


def test_a_missing_ballast_is_found_and_taken_again(home: Home) -> None:
    home.lived()
    ballast = home.data / "ballast"
    ballast.unlink()
    assert "omni doctor --fix" in home.finding("disk.no_ballast").mend
    home.omni.json("doctor", "--fix")
    assert ballast.stat().st_size == 8 * 1024 * 1024


def test_large_log_files_are_found(home: Home) -> None:
    home.lived()
    with (home.data / "logs" / "omni.log.5").open("wb") as file:
        file.truncate(600 * 1024 * 1024)
    assert "du -a" in home.finding("logs.large").mend


def test_nothing_is_mended_without_being_asked(home: Home) -> None:
    home.lived()
    (home.data / "token").chmod(0o644)
    before = _all_files(home.data)
    assert home.omni.json("doctor", code=5)["mended"] == []
    assert _all_files(home.data) == before


def _all_files(directory: Path) -> dict[str, tuple[int, int]]:
    """Who reads a log leaves SQLite's two working files beside it."""
    files = (each for each in sorted(directory.rglob("*")) if not each.name.endswith(("-wal", "-shm")))
    return {str(each): (each.stat().st_mode, each.stat().st_size) for each in files}
