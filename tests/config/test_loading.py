from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.config.conftest import Configure

from omni.config import ExecutorConfig, data_dir, json_schema, load, log_path, token_path
from omni.domain.errors import ConfigError

# The shape that the first users have on their machines: nothing in it may need a change.
FIRST_USERS_FILE = """
lite_llm_url: "http://localhost:4000"
github_key: "${GITHUB_LITELLM_KEY}"
api_keys:
  primary:
    anthropic: "${ANTHROPIC_API_KEY}"
    openrouter: sk-or-v1-primary-0001
  backup:
    anthropic: sk-ant-backup-0001
    openrouter: "${OPENROUTER_BACKUP}"
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
      api_key: os.environ/OPENAI_API_KEY
litellm_settings:
  num_retries: 2
  drop_params: true
mcp_servers:
  openclaw:
    name: OpenClaw
    url: "ws://127.0.0.1:18789"
  claude_code:
    name: Claude Code
    url: "stdio"
  moltworker:
    url: "https://moltworker.example.workers.dev"
    headers: {Authorization: "Bearer ${MOLTWORKER_TOKEN}"}
  memos:
    url: "stdio"
    command: npx
    args: ["-y", "memos-mcp"]
    env: {MEMOS_PORT: 5230}
fault_handler:
  lite_llm_timeout: 1.0
  consecutive_failures_threshold: 2
  cloud_failure_threshold: 3
  cloud_check_timeout: 10
  check_interval: 30
  brainstem_model: "ollama/qwen:7b"
router:
  complexity_threshold: 60
  lightweight_model: "cli-proxy/gemini-flash"
  heavyweight_model: "openrouter/claude"
"""


def test_the_first_users_file_works_unchanged(configure: Configure) -> None:
    loaded = configure(FIRST_USERS_FILE, {"OPENAI_API_KEY": "sk-openai-1", "MOLTWORKER_TOKEN": "molt-1234"})
    config = loaded.config

    assert config.lite_llm_url == "http://localhost:4000"
    assert config.api_keys.primary == {"openrouter": "sk-or-v1-primary-0001", "openai": "sk-openai-1"}
    assert config.api_keys.backup == {"anthropic": "sk-ant-backup-0001"}
    assert config.model_list[0]["litellm_params"] == {"model": "openai/gpt-4o", "api_key": "sk-openai-1"}
    assert config.litellm_settings == {"num_retries": 2, "drop_params": True}
    assert config.fault_handler.consecutive_failures == 2
    assert config.brainstem.model == "ollama/qwen:7b"
    assert config.mcp_servers["moltworker"].headers == {"Authorization": "Bearer molt-1234"}
    assert config.mcp_servers["memos"].env == {"MEMOS_PORT": "5230"}


def test_the_first_users_executors_take_their_adapter_from_their_name(configure: Configure) -> None:
    executors = configure(FIRST_USERS_FILE).config.executors

    reached = {name: (each.adapter, each.transport) for name, each in executors.items()}
    assert reached == {
        "openclaw": ("openclaw", "bundled"),
        "claude_code": ("claude_code", "bundled"),
        "moltworker": ("moltworker", "bundled"),
    }
    assert executors["claude_code"].types == ("coding",)
    assert executors["claude_code"].title == "Claude Code"
    assert executors["moltworker"].always_on
    assert executors["moltworker"].gpu


def test_a_memory_is_no_executor(configure: Configure) -> None:
    config = configure(FIRST_USERS_FILE).config
    assert "memos" not in config.executors
    assert config.memory is not None
    assert (config.memory.name, config.memory.transport, config.memory.adapter) == ("memos", "stdio", "memos")


def test_the_first_memory_that_is_enabled_is_the_memory(configure: Configure) -> None:
    loaded = configure("""
        mcp_servers:
          memos: {url: "http://127.0.0.1:9/mcp", enabled: false}
          other: {url: "ws://127.0.0.1:9", adapter: memos, options: {hits: 3}}
          third: {command: memory, adapter: memos}
    """)
    assert loaded.config.memory is not None
    assert (loaded.config.memory.name, loaded.config.memory.options) == ("other", {"hits": 3})
    assert [each for each in loaded.warnings if "mcp_servers" in each] == [
        "mcp_servers.third: is not used, because there is one memory, and other stands before it"
    ]


def test_a_memory_needs_a_server_of_its_own(configure: Configure) -> None:
    with pytest.raises(ConfigError, match=r"mcp_servers\.memos: needs a 'url'"):
        configure("mcp_servers: {memos: {}}")
    assert configure("{}").config.memory is None


def test_three_tiers_follow_from_the_router_when_none_are_written(configure: Configure) -> None:
    tiers = configure(FIRST_USERS_FILE).config.model_tiers

    assert [(t.name, t.heavy, t.cost, t.runs_tasks) for t in tiers] == [
        ("P1", "cli-proxy/gemini-flash", "free", True),
        ("P2", "openrouter/claude", "paid", True),
        ("P3", "ollama/qwen:7b", "free", False),
    ]


def test_without_any_configuration_there_is_one_executor_that_can_report_on_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    loaded = load(None, environ={"HOME": str(tmp_path)})

    assert loaded.path is None
    assert loaded.warnings == []
    assert list(loaded.config.executors) == ["runbook"]
    runbook = loaded.config.executors["runbook"]
    assert (runbook.adapter, runbook.needs_cloud, runbook.local) == ("runbook", False, True)
    assert loaded.config.runbook_commands["system_report"].builtin == "system_report"
    assert loaded.config.allowed_workdirs == (str(tmp_path),)


def test_flags_win_over_environment_over_file_over_defaults(configure: Configure) -> None:
    text = "port: 1111\nlite_llm_url: http://file:1\n"

    assert configure("").config.port == 18765
    assert configure(text).config.port == 1111
    assert configure(text, {"OMNI_PORT": "2222"}).config.port == 2222
    assert configure(text, {"OMNI_PORT": "2222"}, port=3333).config.port == 3333
    assert configure(text, {"OMNI_PORT": "2222"}, port=None).config.port == 2222
    assert configure(text, {"LITELLM_URL": "http://env:2"}).config.lite_llm_url == "http://env:2"
    assert configure(text, {"OMNI_HOST": "::1"}).config.host == "::1"
    assert configure(text, {"OMNI_PORT": ""}).config.port == 1111


def test_the_github_key_of_the_file_wins_over_the_environment(configure: Configure) -> None:
    environ = {"GITHUB_LITELLM_KEY": "from-environment"}

    assert configure("github_key: from-file", environ).config.github_key == "from-file"
    fallback = configure("github_key: ${NOT_SET}", environ)
    assert fallback.config.github_key == "from-environment"
    assert "from-environment" in fallback.secrets


def test_a_dotted_flag_reaches_a_nested_key(configure: Configure) -> None:
    loaded = configure("fault_handler: {check_interval: 30}", None, **{"fault_handler.check_interval": 5})

    assert loaded.config.fault_handler.check_interval == 5


def test_the_file_is_looked_for_where_it_was_named_then_in_the_environment_then_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, port in {"named.yaml": 1001, "environment.yaml": 1002, "config.yaml": 1003}.items():
        (tmp_path / name).write_text(f"port: {port}\n")
    monkeypatch.chdir(tmp_path)
    environ = {"OMNI_CONFIG": str(tmp_path / "environment.yaml")}

    assert load(tmp_path / "named.yaml", environ=environ).config.port == 1001
    assert load(environ=environ).config.port == 1002
    assert load(environ={}).config.port == 1003


def test_the_platforms_configuration_directory_is_the_last_place_looked_at(tmp_path: Path) -> None:
    import subprocess
    import sys

    (tmp_path / "xdg" / "omni").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    script = """
from omni.config import load, user_file
user_file().parent.mkdir(parents=True, exist_ok=True)
user_file().write_text("port: 1004")
print(load().config.port)
"""
    environ = {
        **os.environ,
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "xdg"),
        "OMNI_CONFIG": "",
    }
    environ["PYTHONPATH"] = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path / "empty",
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "1004"


@pytest.mark.parametrize("by_variable", [True, False])
def test_a_file_that_was_named_and_is_missing_is_an_error(tmp_path: Path, by_variable: bool) -> None:
    missing = tmp_path / "none.yaml"
    environ = {"OMNI_CONFIG": str(missing)} if by_variable else {}
    with pytest.raises(ConfigError) as caught:
        load(None if by_variable else missing, environ=environ)
    assert str(missing) in caught.value.message
    assert "--config" in caught.value.hint


def test_relative_paths_of_the_file_start_at_the_file(configure: Configure, tmp_path: Path) -> None:
    config = configure("data_dir: state\nallowed_workdirs: [work, '~/more', /srv]\n").config

    assert config.data_dir == str(tmp_path / "state")
    assert config.allowed_workdirs == (str(tmp_path / "work"), str(tmp_path / "more"), "/srv")


def test_the_data_directory_comes_from_the_flag_then_the_environment(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "OMNI_DATA_DIR": "~/env"}

    assert data_dir("~/flag", environ) == tmp_path / "flag"
    assert data_dir("", environ) == tmp_path / "env"
    assert data_dir("", {}).is_absolute()
    assert {token_path(tmp_path).parent, log_path(tmp_path).parent} == {tmp_path}


def test_a_section_without_a_value_counts_as_left_out(configure: Configure) -> None:
    config = configure("budget:\nmcp_servers:\nhost:\nproviders:\n  anthropic:\n").config

    assert config.budget.daily_usd is None
    assert config.host == "127.0.0.1"
    assert config.providers["anthropic"].kind == "anthropic"
    assert config.providers["anthropic"].api_base == "https://api.anthropic.com"


def test_any_mcp_server_becomes_an_executor_by_its_tool_alone(configure: Configure) -> None:
    config = configure("""
        mcp_servers:
          clock:
            command: uvx
            args: [mcp-server-time, --port, 8080]
            tool: get_current_time
            arguments: {timezone: UTC, note: ["{description}", {id: "{task_id}"}]}
          only_tools:
            url: http://127.0.0.1:9/mcp
          dry:
            url: "null:"
        """).config

    assert config.executors["clock"] == ExecutorConfig(
        name="clock",
        title="clock",
        transport="stdio",
        command="uvx",
        args=("mcp-server-time", "--port", "8080"),
        tool="get_current_time",
        arguments={"timezone": "UTC", "note": ["{description}", {"id": "{task_id}"}]},
    )
    assert config.executors["dry"].transport == "null"
    assert list(config.executors) == ["clock", "dry"]


def test_a_well_known_name_with_a_tool_of_its_own_is_an_ordinary_server(configure: Configure) -> None:
    text = "mcp_servers: {claude_code: {command: claude, args: [mcp, serve], tool: Task}}"
    executor = configure(text).config.executors["claude_code"]

    assert (executor.adapter, executor.transport) == ("", "stdio")


def test_commands_in_the_runbook_bring_its_executor_along(configure: Configure) -> None:
    config = configure("""
        runbook: {disk_report: {argv: [df, -h], timeout_s: 5}}
        mcp_servers: {dry: {url: "null:"}}
        """).config

    assert list(config.executors) == ["dry", "runbook"]
    assert config.executors["runbook"].keywords == ("disk_report",)
    assert config.runbook_commands["disk_report"].argv == ("df", "-h")


def test_servers_of_another_programs_file_are_used_only_where_a_tool_is_named(
    configure: Configure, tmp_path: Path
) -> None:
    (tmp_path / "claude.json").write_text(
        '{"mcpServers": {"git": {"type": "stdio", "command": "uvx", "args": ["mcp-server-git"],'
        ' "env": {"GIT_TOKEN": "${GIT_TOKEN}"}}, "notes": {"command": "notes", "autoApprove": ["all"]}}}'
    )
    config = configure(
        "include_mcp_servers: [claude.json]\nmcp_servers: {git: {tool: git_status, args: [mine]}}",
        {"GIT_TOKEN": "git-canary-1"},
    ).config

    assert list(config.executors) == ["git"]
    git = config.executors["git"]
    assert (git.command, git.args, git.env) == ("uvx", ("mine",), {"GIT_TOKEN": "git-canary-1"})
    assert config.mcp_servers["notes"].command == "notes"


def test_another_programs_file_is_read_as_its_editor_takes_it_and_keeps_its_lines(
    configure: Configure, tmp_path: Path
) -> None:
    file = tmp_path / "mcp.json"
    text = '{\n\t/* two\n\tlines */\n\t"mcpServers": { // mine\n\t\t"git": {"command": "uvx"},\n\t},\n}\n'
    file.write_text(text)
    named = "include_mcp_servers: [mcp.json]"
    assert configure(named).config.mcp_servers["git"].command == "uvx"

    file.write_text(text.replace('"uvx"', '["uvx"]'))
    with pytest.raises(ConfigError, match=r"mcp\.json line 5: mcp_servers\.git\.command"):
        configure(named)


def test_anchors_and_merge_keys_work(configure: Configure) -> None:
    config = configure("""
        mcp_servers:
          one: &base {url: "null:", timeout_s: 5, types: [a]}
          two: {<<: *base, types: [b]}
        """).config

    assert config.mcp_servers["two"].timeout_s == 5
    assert config.mcp_servers["two"].types == ("b",)


def test_the_schema_knows_every_key_and_refuses_unknown_ones() -> None:
    schema = json_schema()
    top = schema["$defs"]["Config"]

    assert top["additionalProperties"] is False
    assert "mcp_servers" in top["properties"]
    assert "secret_paths" not in top["properties"]
    assert "consecutive_failures_threshold" in schema["$defs"]["FaultHandler"]["properties"]
    assert json.loads(json.dumps(schema)) == schema
