from __future__ import annotations

from pathlib import Path

import pytest
from tests.config.conftest import Configure

from omni.config import url_problem
from omni.domain.errors import ConfigError

# what is written, the line of the fault, the key path, and what the message must say
FAULTS = {
    "unknown key": ("a: 1", 1, "a", "unknown key"),
    "near miss": ("host: ::1\nprot: 1", 2, "prot", "did you mean 'port'?"),
    "nested near miss": (
        "mcp_servers:\n  memo:\n    url: 'null:'\n    max_concurency: 2",
        4,
        "mcp_servers.memo.max_concurency",
        "did you mean 'max_concurrency'?",
    ),
    "the hidden field": ("secret_paths: [a]", 1, "secret_paths", "unknown key"),
    "number wanted": ("\n\nport: many", 3, "port", "expected a whole number, got 'many'"),
    "number too large": ("port: 70000", 1, "port", "expected a whole number <= 65535, got 70000"),
    "negative time": ("fault_handler:\n  check_interval: -1", 2, "fault_handler.check_interval", "> 0"),
    "not finite": ("fault_handler: {dwell_s: .nan}", 1, "fault_handler.dwell_s", "finite"),
    "mapping wanted": ("limits: 5", 1, "limits", "expected a mapping, got 5"),
    "list wanted": ("allowed_workdirs: /srv", 1, "allowed_workdirs", "expected a list"),
    "list of text": (
        "mcp_servers: {a: {command: x, args: [[y]]}}",
        1,
        "mcp_servers.a.args[0]",
        "expected text",
    ),
    "choice": ("language: fr", 1, "language", "expected one of en, zh, got 'fr'"),
    "near choice": ("budget:\n  at_cap: degrad", 2, "budget.at_cap", "did you mean 'degrade'?"),
    "adapter": (
        "mcp_servers: {a: {adapter: claude}}",
        1,
        "mcp_servers.a.adapter",
        "did you mean 'claude_code'?",
    ),
    "missing name": ("tiers:\n  - light: x", 2, "tiers[0]", "the key 'name' is missing"),
    "missing variable": ("host: ::1\nlog_level: ${LEVEL}", 2, "log_level", "the variable LEVEL is not set"),
    "missing variable in a url": (
        "lite_llm_url: http://${H}:4000",
        1,
        "lite_llm_url",
        "variable H is not set",
    ),
    "absent secret in a list": (
        "mcp_servers:\n  a:\n    command: x\n    args:\n    - --key\n    - ${API_KEY}",
        6,
        "mcp_servers.a.args[1]",
        "cannot be left out",
    ),
    "key with a line end": (
        'api_keys:\n  backup:\n    anthropic: "sk-1\\n"',
        3,
        "api_keys.backup.anthropic",
        "no key holds blanks, line ends or letters beyond ASCII",
    ),
    "key in other letters": ("lite_llm_key: 密钥", 1, "lite_llm_key", "no key holds blanks"),
    "bad url": ("lite_llm_url: localhost:4000", 1, "lite_llm_url", "is not a URL of the form http://host"),
    "bad port in url": ("lite_llm_url: http://h:99999", 1, "lite_llm_url", "is not a URL"),
    "metadata url": (
        "mcp_servers:\n  m:\n    url: http://169.254.169.254/latest",
        3,
        "mcp_servers.m.url",
        "link-local or metadata address",
    ),
    "metadata url of a moltworker": (
        "mcp_servers:\n  moltworker:\n    url: wss://169.254.169.254/",
        3,
        "mcp_servers.moltworker.url",
        "link-local or metadata address",
    ),
    "status page at a metadata address": (
        "mcp_servers:\n  moltworker:\n    url: wss://m.example.org\n    options: {status_url: 'http://169.254.169.254/'}",
        4,
        "mcp_servers.moltworker.options.status_url",
        "link-local or metadata address",
    ),
    "moltworker without an address": (
        "mcp_servers: {moltworker: {}}",
        1,
        "mcp_servers.moltworker.url",
        "a Moltworker has an address",
    ),
    "moltworker in the clear": (
        "mcp_servers: {moltworker: {url: 'ws://m.example.org'}}",
        1,
        "mcp_servers.moltworker.url",
        "unencrypted; use https:// or wss://",
    ),
    "ws for a proxy": ("lite_llm_url: ws://h", 1, "lite_llm_url", "http://host or https://host"),
    "file url": ("mcp_servers: {m: {url: 'file:///etc', tool: t}}", 1, "mcp_servers.m.url", "is not a URL"),
    "api base of a model": (
        "model_list:\n- model_name: m\n  litellm_params:\n    model: x\n    api_base: http://[fe80::1]/",
        5,
        "model_list[0].litellm_params.api_base",
        "link-local",
    ),
    "model without a name": ("model_list: [{litellm_params: {model: x}}]", 1, "model_list[0]", "model_name"),
    "stdio without a command": ("mcp_servers: {m: {url: stdio, tool: t}}", 1, "mcp_servers.m", "'command'"),
    "url and command": (
        "mcp_servers: {m: {url: 'ws://h', command: x}}",
        1,
        "mcp_servers.m.command",
        "not both",
    ),
    "placeholder": (
        "mcp_servers:\n  m:\n    url: 'null:'\n    arguments:\n      a: ['x {descripton}']",
        5,
        "mcp_servers.m.arguments.a[0]",
        "unknown placeholder {descripton}; did you mean 'description'?",
    ),
    "format specification": (
        "mcp_servers: {m: {url: 'null:', arguments: '{__class__}'}}",
        1,
        "mcp_servers.m.arguments",
        "unknown placeholder",
    ),
    "no auth outside": ("host: 0.0.0.0\nauth: none", 2, "auth", "loopback address only"),
    "bad host": ("host: 'http://x'", 1, "host", "expected an address"),
    "provider kind": ("providers:\n  mine: {api_base: 'http://h'}", 2, "providers.mine", "'kind' is missing"),
    "tier channel": ("tiers: [{name: a, channel: litelm}]", 1, "tiers[0].channel", "did you mean 'litellm'?"),
    "tiers twice": ("tiers: [{name: a}, {name: a}]", 1, "tiers[1].name", "a name of its own"),
    "no tier runs": ("tiers: [{name: a, runs_tasks: false}]", 1, "tiers", "at least one tier"),
    "runbook without argv": ("runbook: {r: {timeout_s: 3}}", 1, "runbook.r", "needs 'argv'"),
    "runbook as a string": ("runbook: {r: {argv: df -h}}", 1, "runbook.r.argv", "expected a list"),
    "both names": (
        "fault_handler:\n  consecutive_failures: 2\n  consecutive_failures_threshold: 3",
        3,
        "fault_handler.consecutive_failures_threshold",
        "means the same as 'consecutive_failures'",
    ),
}


@pytest.mark.parametrize(("text", "line", "path", "says"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_named_with_its_line_its_key_and_the_next_command(
    configure: Configure, text: str, line: int, path: str, says: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        configure(text)
    assert f"config.yaml line {line}: {path}: " in caught.value.message
    assert says in caught.value.message
    assert "omni config check" in caught.value.hint
    assert "omni config schema" in caught.value.hint


BROKEN = {
    "bad yaml": ("a: [1, 2\nb: 3\n", 2, "is not valid YAML"),
    "tab": ("a:\n\tb: 1", 2, "is not valid YAML"),
    "variable between braces": ("\nlimits: {nesting: ${N}}", 2, "in quotes between { } or [ ]"),
    "duplicate key": ("port: 1\nhost: x\nport: 2", 3, "has the key 'port' twice"),
    "nested duplicate": ("limits:\n  nesting: 5\n  nesting: 6", 3, "has the key 'nesting' twice"),
    "foreign tag": ("host: !!python/object/apply:os.getcwd []", 1, "tag"),
    "foreign tag of a scalar": ("\nhost: !env HOME", 2, "tag"),
    "not a mapping": ("- a\n- b", 1, "is not a mapping"),
    "key of a key": ("? [a, b]\n: 1", 1, "key that is not plain text"),
    "deep": ("a: " + "[" * 5000 + "]" * 5000, 1, "is nested deeper"),
    "control character": ("host: 'a\x00b'", 0, "is not valid YAML"),
}


@pytest.mark.parametrize(("text", "line", "says"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_named_with_its_line_and_the_next_command(
    configure: Configure, text: str, line: int, says: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        configure(text)
    assert f"config.yaml line {line}" in caught.value.message or line == 0
    assert says in caught.value.message
    assert "omni config check" in caught.value.hint


def test_an_alias_bomb_is_refused_before_it_unfolds(configure: Configure) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ConfigError, match="unfolds into too much"):
        configure("\n".join(levels))


def test_a_merge_bomb_is_refused_before_it_unfolds(configure: Configure) -> None:
    levels = ["a0: &a0 {x: 1}"]
    levels += [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 40)]
    with pytest.raises(ConfigError, match="unfolds into too much"):
        configure("\n".join(levels))


def test_an_alias_to_itself_is_refused(configure: Configure) -> None:
    with pytest.raises(ConfigError, match="unfolds into too much"):
        configure("a: &a [*a]")


def test_a_huge_file_is_refused_unread(configure: Configure) -> None:
    with pytest.raises(ConfigError, match="larger than 1024 KiB"):
        configure("# " + "x" * 1024 * 1024)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    from omni.config import load

    (tmp_path / "config.yaml").write_bytes(b"host: \xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "config.yaml", environ={})


def test_all_faults_are_told_at_once_in_the_order_of_the_file(configure: Configure) -> None:
    with pytest.raises(ConfigError) as caught:
        configure("prot: 1\nlanguage: fr\nlimits: {nesting: x}\nhosts: a\n")
    lines = [line.split(": ")[1] for line in caught.value.message.splitlines()[1:]]
    assert lines == ["prot", "language", "limits.nesting", "hosts"]


def test_a_wrong_variable_or_flag_is_named_instead_of_a_line(configure: Configure) -> None:
    with pytest.raises(ConfigError, match=r"OMNI_PORT \(environment\): port: expected a whole number, got 'abc'"):
        configure("", {"OMNI_PORT": "abc"})
    with pytest.raises(ConfigError, match=r"--port \(command line\): port: "):
        configure("", None, port="abc")


def test_a_fault_in_an_included_file_is_named_with_that_file(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"mcpServers": {\n"x": {"command": "c",\n"args": "no list"}}}')
    with pytest.raises(ConfigError, match=r"other\.json line 3: mcp_servers\.x\.args: expected a list"):
        configure("include_mcp_servers: [other.json]")


@pytest.mark.parametrize(("content", "says"), [(None, "cannot be read"), ("{}", "no 'mcpServers' block")])
def test_an_included_file_that_cannot_be_used_is_an_error(
    configure: Configure, tmp_path: Path, content: str | None, says: str
) -> None:
    if content is not None:
        (tmp_path / "other.json").write_text(content)
    with pytest.raises(ConfigError, match=says) as caught:
        configure("port: 1\ninclude_mcp_servers:\n  - other.json")
    assert "line 3" in caught.value.message


def test_an_error_never_shows_a_secret(configure: Configure) -> None:
    with pytest.raises(ConfigError) as caught:
        configure("language: ${SECRET_LANGUAGE}", {"SECRET_LANGUAGE": "canary-7f3a"})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_auth_none_is_possible_on_a_loopback_address(configure: Configure, host: str) -> None:
    assert configure(f"host: '{host}'\nauth: none").config.auth == "none"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "mac-mini.local", "127.evil.com", "0"])  # noqa: S104 - refused, never bound
def test_auth_none_is_refused_on_every_other_address(configure: Configure, host: str) -> None:
    with pytest.raises(ConfigError, match="loopback address only"):
        configure(f"host: '{host}'\nauth: none")
    assert configure(f"host: '{host}'").config.auth == "token"


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/",
        "http://169.254.1.1:80",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://0251.0376.0251.0376/",
        "http://169.254.43518/",
        "http://[::ffff:169.254.169.254]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:a9fe:a9fe::]/",
        "http://[::169.254.169.254]/",
        "http://168.63.129.16/",
        "http://\N{CIRCLED DIGIT ONE}69.254.169.254/",
        "http://169\N{IDEOGRAPHIC FULL STOP}254\N{IDEOGRAPHIC FULL STOP}169\N{IDEOGRAPHIC FULL STOP}254/",
        "http://[fe80::1%25eth0]/",
        "http://[fd00:ec2::254]/",
        "http://metadata.google.internal/",
        "http://METADATA.google.internal./",
        "http://100.100.100.200/",
        "http://user@169.254.169.254/",
        "http://224.0.0.1/",
        "http://",
        "http:///path",
        "ftp://host/",
        "//host",
        "http://[::1",
        "http://a b/",
    ],
)
def test_a_url_to_a_forbidden_place_or_of_no_known_form_is_refused(url: str) -> None:
    assert url_problem(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:4000",
        "https://api.anthropic.com",
        "http://[::1]:1/x",
        "http://192.168.1.2",
        "http://mac.local",
    ],
)
def test_a_url_to_an_ordinary_place_is_fine(url: str) -> None:
    assert url_problem(url) == ""
