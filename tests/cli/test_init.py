"""`omni init`: what it finds, writes and prints, and that what it wrote runs."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cli.conftest import Daemon, Omni
from tests.ops.test_surroundings import ALIVE, House, program, serving

CANARIES = {"ANTHROPIC_API_KEY": "canary-anthropic-1", "OPENROUTER_API_KEY": "canary-openrouter-1"}


@pytest.fixture
def fresh(omni: Omni) -> Omni:
    """A home with nothing in it, on a machine with nothing on it."""
    omni.environ |= {
        "PATH": "/usr/bin:/bin",
        "XDG_CONFIG_HOME": str(omni.home / "conf"),
        "LITELLM_URL": "http://127.0.0.1:1",
        "OLLAMA_HOST": "127.0.0.1:1",
        "OPENCLAW_GATEWAY_PORT": "1",
        "LANG": "C.UTF-8",
    }
    return omni


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def written(omni: Omni) -> Path:
    # On macOS the platform's directory does not follow XDG_CONFIG_HOME.
    place = ("Library", "Application Support") if sys.platform == "darwin" else ("conf",)
    return omni.home.joinpath(*place, "omni", "config.yaml")


def said(omni: Omni) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(written(omni).read_text())
    return document


def install(omni: Omni, *names: str) -> None:
    directory = omni.home / "bin"
    directory.mkdir()
    for name in names:
        program(directory, name, "print('1.2.3')\n")
    omni.environ["PATH"] = f"{directory}{os.pathsep}/usr/bin{os.pathsep}/bin"


def test_from_an_empty_home_to_a_task_done(fresh: Omni) -> None:
    done = fresh("init", "--yes")
    assert done.returncode == 0, done
    assert f"Written: {written(fresh)}" in done.stdout
    for command in ("omni doctor", "omni serve", "omni service install", "omni submit"):
        assert command in done.stderr
    del fresh.environ["LITELLM_URL"]  # else it would be the proxy of the configuration
    assert str(written(fresh)) in fresh("config", "check").stdout

    daemon = Daemon(fresh)
    daemon.start()
    try:
        task = fresh.json("submit", "show a system report", "--wait", "60")["task"]
    finally:
        daemon.stop(signal.SIGTERM)
    assert (task["state"], task["executor"]) == ("completed", "runbook")


def test_only_its_owner_can_read_what_is_written(fresh: Omni) -> None:
    fresh("init", "--yes")
    assert written(fresh).stat().st_mode & 0o777 == 0o600
    assert written(fresh).parent.stat().st_mode & 0o777 == 0o700


def test_without_a_yes_nothing_is_written_and_the_file_is_shown(fresh: Omni) -> None:
    done = fresh("init")
    assert done.returncode == 0, done
    assert not written(fresh).exists()
    assert "runbook:" in done.stdout
    assert "omni init --yes" in done.stderr


def test_a_file_that_is_there_is_never_touched(fresh: Omni) -> None:
    install(fresh, "claude", "openclaw")
    written(fresh).parent.mkdir(parents=True)
    written(fresh).write_text("# mine\nport: 18777\nmcp_servers: {openclaw: {enabled: false}}\n")
    before = written(fresh).stat()
    document = fresh.json("init", "--yes")

    assert (written(fresh).stat().st_mtime_ns, written(fresh).stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert (document["existing"], document["written"]) == (True, False)
    assert yaml.safe_load(document["adds"]) == {"mcp_servers": {"claude_code": {}}}


def test_the_file_of_this_directory_counts_as_there(fresh: Omni) -> None:
    (fresh.home / "config.yaml").write_text("port: 18777\n")
    assert fresh.json("init", "--yes")["path"] == str(fresh.home / "config.yaml")
    assert not written(fresh).exists()


def test_another_file_can_be_named_and_the_next_commands_name_it_too(fresh: Omni) -> None:
    file = fresh.home / "my folder" / "omni.yaml"
    document = fresh.json("init", "--yes", "--config", str(file), "--port", "19191", "--data-dir", "here")
    assert file.stat().st_mode & 0o777 == 0o600
    assert yaml.safe_load(file.read_text())["port"] == 19191
    assert yaml.safe_load(file.read_text())["data_dir"] == str(fresh.home / "here")
    assert f"omni serve --config '{file}'" in document["next"]
    assert "ws://127.0.0.1:19191/ws" in document["clients"]["claude_code"]["command"]

    again = fresh.json("init", "--yes", "--config", str(file))
    assert again["existing"] is True


def test_the_port_of_this_shell_is_that_of_the_file(fresh: Omni) -> None:
    document = fresh.json("init", "--yes", environ={"OMNI_PORT": "19393"})
    assert "port: 19393" in Path(document["path"]).read_text(encoding="utf-8")


def test_a_link_that_leads_nowhere_is_not_followed(fresh: Omni) -> None:
    target = fresh.home / "elsewhere.yaml"
    file = fresh.home / "omni.yaml"
    file.symlink_to(target)
    assert fresh("init", "--yes", "--config", str(file)).returncode == 2
    assert not target.exists()


def test_a_file_that_came_up_meanwhile_stays(tmp_path: Path) -> None:
    from omni.cli.exits import BadUsage
    from omni.cli.init.first import _create

    file = tmp_path / "config.yaml"
    file.write_text("# theirs\n")
    with pytest.raises(BadUsage, match="exists already"):
        _create(file, "# ours\n")
    assert file.read_text() == "# theirs\n"


def test_keys_of_the_environment_are_named_and_never_shown(fresh: Omni) -> None:
    done = fresh("init", "--yes", environ=CANARIES)
    document = fresh.json("init", environ=CANARIES)
    assert said(fresh)["api_keys"] == {
        "primary": {"anthropic": "${ANTHROPIC_API_KEY}", "openrouter": "${OPENROUTER_API_KEY}"}
    }
    for canary in CANARIES.values():
        assert canary not in done.stdout + done.stderr + written(fresh).read_text() + json.dumps(document)
    assert "omni service install --env ANTHROPIC_API_KEY --env OPENROUTER_API_KEY" in done.stderr
    assert document["found"]["keys"] == ["ANTHROPIC_API_KEY", "OPENROUTER_API_KEY"]


def test_a_proxy_gets_its_models_its_key_and_a_way_around_it(fresh: Omni, stack: ExitStack) -> None:
    models = '{"data": [{"id": "gpt-heavy"}, {"id": "qwen-fast"}, {"id": "other"}]}'
    house = stack.enter_context(serving(House({"/health/liveliness": ALIVE, "/v1/models": models}, key="sk-canary")))
    environ = {**CANARIES, "LITELLM_URL": house.url, "LITELLM_MASTER_KEY": "sk-canary"}
    done = fresh("init", "--yes", environ=environ)
    assert done.returncode == 0, done

    document = said(fresh)
    assert document["lite_llm_url"] == house.url
    assert document["lite_llm_key"] == "${LITELLM_MASTER_KEY}"
    assert document["router"] == {"lightweight_model": "qwen-fast", "heavyweight_model": "gpt-heavy"}
    assert document["api_keys"]["backup"] == document["api_keys"]["primary"]
    checked = fresh.json("config", "check", environ=environ)
    assert [each["name"] for each in checked["channels"] if each["usable"]][:1] == ["litellm"]


def test_a_proxy_that_is_locked_is_left_to_the_person(fresh: Omni, stack: ExitStack) -> None:
    house = stack.enter_context(serving(House({"/health/liveliness": ALIVE, "/v1/models": "{}"}, key="sk-canary")))
    left = fresh.json("init", environ={"LITELLM_URL": house.url})["to_do"]
    assert len(left) == 3
    assert "LITE_LLM_KEY" in left[0]
    assert "under router" in left[1]
    assert "api_keys.backup" in left[2]


def test_ollama_alone_answers_tasks(fresh: Omni, stack: ExitStack) -> None:
    tags = '{"models": [{"name": "llama3:8b"}, {"name": "qwen3:4b"}]}'
    house = stack.enter_context(serving(House({"/api/tags": tags})))
    fresh("init", "--yes", environ={"OLLAMA_HOST": house.url})
    assert said(fresh)["tiers"] == [{"name": "P1", "light": "qwen3:4b", "channel": "brainstem"}]
    assert said(fresh)["brainstem"] == {"api_base": house.url, "model": "qwen3:4b"}
    del fresh.environ["LITELLM_URL"]
    executors = {each["name"] for each in fresh.json("config", "check")["executors"]}
    assert executors == {"model", "runbook"}


def test_claude_code_alone_takes_everything(fresh: Omni) -> None:
    install(fresh, "claude")
    fresh("init", "--yes")
    assert said(fresh)["mcp_servers"] == {"claude_code": {"types": ["coding", "general"]}}


def test_hands_and_models_are_named_together(fresh: Omni) -> None:
    install(fresh, "claude", "openclaw")
    fresh("init", "--yes", environ=CANARIES)
    assert said(fresh)["mcp_servers"]["model"] == {"adapter": "model"}
    del fresh.environ["LITELLM_URL"]
    checked = fresh.json("config", "check", environ=CANARIES)
    assert {each["name"] for each in checked["executors"]} == {"claude_code", "openclaw", "model", "runbook"}


def test_cliproxyapi_without_a_proxy_is_the_free_tier(fresh: Omni, stack: ExitStack) -> None:
    """It has no variable of its own to say where it is, so this goes past the command line."""
    from omni.cli.init.text import rendered
    from omni.cli.init.wanted import wanted
    from omni.config import load
    from omni.ops.surroundings import Targets, look

    models = '{"data": [{"id": "gemini-flash"}, {"id": "gemini-pro"}]}'
    house = stack.enter_context(serving(House({"/healthz": '{"status":"ok"}', "/v1/models": models})))
    closed = "http://127.0.0.1:1"
    where = Targets(litellm=closed, ollama=closed, openclaw=closed, cliproxyapi=house.url, places={})
    found = look(where, {"PATH": "", **CANARIES})
    file = fresh.home / "config.yaml"
    file.write_text(rendered(wanted(found, {}), found))
    loaded = load(file, environ={"HOME": str(fresh.home), **CANARIES})

    assert [(t.name, t.light, t.heavy, t.cost, t.channel) for t in loaded.config.model_tiers] == [
        ("P1", "gemini-flash", "gemini-pro", "free", "cliproxyapi"),
        ("P2", "openrouter/auto", "openrouter/auto", "paid", "openrouter"),
    ]
    assert list(loaded.config.providers) == ["cliproxyapi", "anthropic", "openrouter"]
    assert [each for each in loaded.warnings if "cannot be used" in each] == []


def test_chinese_is_spoken_where_the_locale_is(fresh: Omni) -> None:
    fresh("init", "--yes", environ={"LANG": "zh_CN.UTF-8"})
    assert said(fresh)["language"] == "zh"


def test_every_line_that_is_offered_counts_once_its_sign_is_gone(fresh: Omni) -> None:
    """The commented keys are a promise: with the signs taken away the file still loads, whole."""
    from omni.config import load

    fresh("init", "--yes")
    text = written(fresh).read_text()
    offered = [
        line for line in text.splitlines() if line.startswith("# ") and line[2:].partition(":")[0].isidentifier()
    ]
    assert len(offered) >= 6
    for line in offered:
        text = text.replace(line, line[2:])
    file = fresh.home / "all.yaml"
    file.write_text(text)
    names = ("LITE_LLM_KEY", "ANTHROPIC_API_KEY", "WEBHOOK_SECRET")
    loaded = load(file, environ={"HOME": str(fresh.home), **dict.fromkeys(names, "something")})
    assert loaded.config.lite_llm_url
    assert list(loaded.config.executors) == ["claude_code", "openclaw", "runbook"]


def test_each_client_gets_the_way_to_this_very_daemon(fresh: Omni) -> None:
    clients = fresh.json("init", "--yes", "--port", "19292")["clients"]
    assert list(clients) == ["claude_code", "cursor", "vscode", "claude_desktop", "openclaw"]
    for name in ("cursor", "claude_desktop"):
        entry = clients[name]["entry"]["mcpServers"]["omni"]
        assert Path(entry["command"]).is_absolute()
        assert {"mcp", str(fresh.data_dir), "19292", str(written(fresh))} <= set(entry["args"])
    assert clients["vscode"]["command"].startswith("code --add-mcp '{")
    for name, url in (("claude_code", "ws://127.0.0.1:19292/ws"), ("openclaw", "http://127.0.0.1:19292/mcp")):
        assert url in clients[name]["command"]
        assert f"token show --data-dir {fresh.data_dir}" in clients[name]["command"]


def test_the_line_for_claude_code_carries_the_token_into_the_entry(fresh: Omni) -> None:
    install(fresh, "claude")
    program(fresh.home / "bin", "claude", "import json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    program(fresh.home / "bin", "omni", "import sys\nfrom omni.cli.main import main\nsys.exit(main(sys.argv[1:]))\n")
    fresh("init", "--yes")
    fresh("token", "rotate")
    token = fresh("token", "show").stdout.strip()
    line = fresh.json("init")["clients"]["claude_code"]["command"]
    assert token not in line
    done = subprocess.run(["sh", "-c", line], env=fresh.environ, capture_output=True, check=True, timeout=60)
    words = json.loads(done.stdout)

    assert words[:3] == ["mcp", "add-json", "omni"]
    assert json.loads(words[3]) == {
        "type": "ws",
        "url": f"ws://127.0.0.1:{fresh.port}/ws",
        "headers": {"Authorization": f"Bearer {token}"},
    }


@pytest.mark.parametrize(("answer", "there"), [(b"y\n", True), (b"\n", True), (b"n\n", False), (b"\x04", False)])
def test_at_a_terminal_it_asks(fresh: Omni, answer: bytes, there: bool) -> None:
    master, slave = pty.openpty()
    environ = {**fresh.environ, "TERM": "xterm"}
    process = subprocess.Popen(
        fresh.command("init"), cwd=fresh.home, env=environ, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    try:
        seen = _read_until(master, b"[Y/n] ")
        os.write(master, answer)
        seen += _read_until(master, b"")
        assert process.wait(30) == 0
    finally:
        process.kill()
        os.close(master)
    assert written(fresh).exists() is there
    assert seen.count(b"runbook:") == 1
    assert (b"Nothing is written" in seen) is not there


def test_a_directory_that_cannot_be_written_is_told(fresh: Omni) -> None:
    written(fresh).parents[1].parent.mkdir(parents=True, exist_ok=True)
    written(fresh).parents[1].write_text("a file")
    document = fresh.json("init", "--yes", code=2)
    assert "cannot be written" in document["error"]["message"]
    assert "--config FILE" in document["error"]["hint"]


def _read_until(terminal: int, wanted: bytes) -> bytes:
    """What a terminal shows up to some words, or to its end."""
    seen, until = b"", time.monotonic() + 30
    while not wanted or wanted not in seen:
        assert time.monotonic() < until, seen
        ready, _, _ = select.select([terminal], [], [], 0.5)
        if not ready:
            continue
        try:
            seen += (more := os.read(terminal, 65_536))
        except OSError:  # the other end is closed
            return seen
        if not more:
            return seen
    return seen
