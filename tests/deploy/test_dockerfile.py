"""What the Dockerfile and what goes to its builder promise, read from the files themselves."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from tests.deploy.dockerfile import ROOT, Stage, by_name, environment, parse, stages

ALL = by_name(stages())
IMAGES = ("omni", "litellm")
NEVER = (".env", ".env.local", "config.yaml", ".git/config", "src/.env", "src/omni/__pycache__/x.pyc", "src/omni/x.pyc")
ANSWERS = ROOT / "deploy/docker/answers.py"


def chain(name: str) -> list[Stage]:
    """An image's stage and those that it stands on: what all of its layers come from."""
    stage = ALL[name]
    return [stage, *(chain(stage.base) if stage.base in ALL else [])]


def test_the_last_stage_is_the_daemon() -> None:
    assert stages()[-1].name == "omni"


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_runs_as_a_fixed_user_by_number(name: str) -> None:
    assert ALL[name].last("USER").rest == "10001:10001"
    assert [step.name for step in ALL[name].steps].index("USER") > max(
        at for at, step in enumerate(ALL[name].steps) if step.name in {"COPY", "RUN"}
    )


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_stops_by_term_and_says_how_it_is(name: str) -> None:
    assert ALL[name].last("STOPSIGNAL").rest == "SIGTERM"
    assert "answers.py" in ALL[name].last("HEALTHCHECK").rest
    assert "curl" not in "".join(step.rest for stage in chain(name) for step in stage.steps)


@pytest.mark.parametrize("name", IMAGES)
def test_no_layer_of_an_image_holds_what_builds(name: str) -> None:
    """Deleting in a later layer would leave it in the earlier one, so it must never have been there."""
    for stage in chain(name):
        for step in stage.all("RUN"):
            assert not re.search(r"\b(pip|venv|gcc|g\+\+|make|build-essential|git|\S+-dev)\b", step.rest), step.rest


@pytest.mark.parametrize("name", ["build-omni", "build-litellm", "build"])
def test_every_package_from_a_registry_is_locked_by_hash_and_comes_built(name: str) -> None:
    installs = [step.rest for step in ALL[name].all("RUN") if re.search(r"\bpip\b.* install ", step.rest)]
    fetching = [command for command in installs if "-r " in command]
    assert fetching
    for command in fetching:
        assert "--require-hashes" in command
        assert "--only-binary :all:" in command
        assert "--no-deps" in command
    for step in ALL[name].all("RUN"):
        if re.search(r"\bpip (wheel|install)|python install", step.rest) and "-r " not in step.rest:
            assert "--no-index" in step.rest, step.rest


def test_no_secret_and_no_loopback_bind_is_baked_in() -> None:
    found = environment(ALL, "omni")
    assert (found["OMNI_HOST"], found["OMNI_DATA_DIR"]) == ("0.0.0.0", "/data")  # noqa: S104
    assert not [key for key in found if re.search("KEY|TOKEN|SECRET|PASSWORD", key)]


def test_what_is_not_known_is_an_error() -> None:
    for line in ("ADD x y", "RUN <<EOF", 'SHELL ["sh"]', "ONBUILD RUN x"):
        with pytest.raises(ValueError, match="not known here"):
            parse(f"FROM debian AS a\n{line}\n")


# --- what goes to the builder ---------------------------------------------------------------------------------------


def sent() -> set[str]:
    """The files of the working tree that `.dockerignore` lets through."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    names = [each.name for each in ROOT.iterdir() if each.is_file()]
    names += [f"{each.name}/anything" for each in ROOT.iterdir() if each.is_dir()]
    names += [str(each.relative_to(ROOT)) for top in ("src", "deploy") for each in (ROOT / top).rglob("*")]
    return {name for name in [*names, *NEVER] if _passes(name, rules)}


def _passes(name: str, rules: list[str]) -> bool:
    """The last rule that fits a file or a directory above it decides."""
    passes = True
    for rule in rules:
        kept = rule.startswith("!")
        pattern = rule.removeprefix("!")
        places = [name, *(str(each) for each in Path(name).parents if str(each) != ".")]
        if any(_fits(place, pattern) for place in places):
            passes = kept
    return passes


def _fits(place: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch.fnmatchcase(Path(place).name, pattern.removeprefix("**/"))
    return place.count("/") == pattern.count("/") and fnmatch.fnmatchcase(place, pattern)


def test_the_builder_gets_what_is_copied_and_nothing_else() -> None:
    copied = {source for s in stages() for step in s.all("COPY") if not step.flags for source in step.words[:-1]}
    files = sent()
    assert files
    for source in copied:
        assert any(name == source or name.startswith(f"{source}/") for name in files), source
    for name in files:
        assert any(name == each or name.startswith(f"{each}/") for each in (*copied, "deploy/docker")), name
    assert not files & set(NEVER)


# --- the health check -----------------------------------------------------------------------------------------------


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 503)
        self.end_headers()
        self.wfile.write(b'{"reason":"the log is being read"}')

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


def check(port: str, path: str, **env: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(ANSWERS), port, path]
    return subprocess.run(line, env=env, capture_output=True, text=True, timeout=20, check=False)


def test_the_health_check_believes_a_200_and_nothing_else() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    Thread(target=server.serve_forever, daemon=True).start()
    port = str(server.server_address[1])
    try:
        assert check(port, "/readyz").returncode == 0
        assert check("OMNI_PORT", "/readyz", OMNI_PORT=port).returncode == 0
        ill = check(port, "/else")
        assert (ill.returncode, "the log is being read" in ill.stderr) == (1, True)
    finally:
        server.shutdown()
        server.server_close()
    gone = check(port, "/readyz")
    assert (gone.returncode, "no answer" in gone.stderr) == (1, True)
