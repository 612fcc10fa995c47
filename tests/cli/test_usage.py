"""Bad input: what is said, where it goes, and the exit code."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Omni

LOOKS_RIGHT = "019aa5b2-1c3d-7abc-8000-000000000001"

USAGE = [
    (["sttus"], "did you mean omni status?"),
    (["cancel", LOOKS_RIGHT], "there is no command omni cancel; did you mean omni task cancel?"),
    (["task", "list"], "did you mean omni tasks?"),
    (["token", "list"], "there is no command omni token list; omni token has show, rotate, model, new, metrics"),
    (["token", "create"], "did you mean omni token new?"),
    (["token", "roate"], "did you mean omni token rotate?"),
    (["config", "valid"], "omni config has check"),
    (["rotate"], "did you mean omni token rotate?"),
    (["tasks", "list"], "extra argument"),
    (["task", "shwo", LOOKS_RIGHT], "did you mean omni task show?"),
    (["submit", "x", "--priorty", "3"], "did you mean --priority"),
    (["tasks", "--jsno"], "did you mean --json"),
    (["submit", "x", "--priority", "10"], "less than or equal to 9"),
    (["submit", "x", "--wait=soon"], "--wait takes seconds"),
    (["submit"], "missing argument"),
    (["submit", "   "], "no text"),
    (["submit", "@nowhere.txt"], "nowhere.txt cannot be read"),
    (["tasks", "--state", "finished"], "'finished' is not one of"),
    (["tasks", "--limit", "0"], "greater than or equal to 1"),
    (["--port", "99999", "status"], "--port must be a number from 1 to 65535"),
    (["status", "--data-dir"], "--data-dir needs a value"),
    (["tasks", "--cursor", "banana"], "not a task id"),
    (["submit", "x" * 100_001], "longer than 100,000 characters"),
    (["task", "show", "abc"], "six characters"),
    (["task", "show", "banana"], "not a task id"),
    (["task", "resolve", LOOKS_RIGHT, "maybe"], "'maybe' is not one of"),
    (["completion", "tcsh"], "'tcsh' is not one of"),
    (["task", "resolve", LOOKS_RIGHT], "missing argument 'decision'. Choose from: retry, accept, fail\n"),
    (["completion"], "missing argument 'shell'. Choose from: bash, zsh, fish\n"),
    (["token"], "needs a command: show, rotate"),
    ([], "omni needs a command"),
]


@pytest.mark.parametrize(
    ("words", "said"), USAGE, ids=lambda each: " ".join(each)[:40] if isinstance(each, list) else None
)
def test_a_line_that_cannot_be_understood_exits_2_and_names_the_next_command(
    omni: Omni, words: list[str], said: str
) -> None:
    done = omni(*words)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert said.casefold() in done.stderr.casefold()
    assert "\n  next: " in done.stderr
    assert "Traceback" not in done.stderr


def test_an_option_without_its_value_leads_to_the_help_of_its_command(omni: Omni) -> None:
    assert "  next: omni replay --help" in omni("replay", "--html").stderr
    assert "  next: omni task show --help" in omni("task", "show", LOOKS_RIGHT, "--nonsense").stderr


@pytest.mark.parametrize(("tried", "meant"), [("--version", "version"), ("-V", "version"), ("help", "--help")])
def test_what_other_programs_call_it_works_here_too(omni: Omni, tried: str, meant: str) -> None:
    done = omni(tried)
    assert done.returncode == 0, done
    assert done.stdout == omni(meant).stdout


def test_with_json_an_error_is_one_document_with_the_same_exit_code(omni: Omni) -> None:
    error = omni.json("sttus", code=2)
    assert error["schema"] == "omni.error/1"
    assert error["error"]["kind"] == "usage"
    assert "did you mean omni status?" in error["error"]["message"]
    assert error["error"]["hint"] == "omni status --help"


def test_a_broken_configuration_exits_2_and_names_the_key(omni: Omni) -> None:
    (omni.home / "config.yaml").write_text("prot: 1\n")
    for words in (["status"], ["tasks"], ["submit", "x"], ["config", "check"]):
        done = omni(*words)
        assert done.returncode == 2, done
        assert "prot" in done.stderr
        assert "did you mean 'port'" in done.stderr
    assert omni.json("status", code=2)["error"]["kind"] == "config"


def test_a_missing_configuration_file_that_was_named_exits_2(omni: Omni) -> None:
    assert "does not exist" in omni.json("status", "--config", "none.yaml", code=2)["error"]["message"]
    (omni.home / "folder").mkdir()
    assert "folder is no file" in omni.json("status", "--config", "folder", code=2)["error"]["message"]


def test_a_global_option_means_the_same_before_and_after_the_command(omni: Omni, tmp_path: Path) -> None:
    before = omni("--json", f"--data-dir={tmp_path}/there", "config", "show")
    after = omni("config", "show", "--data-dir", f"{tmp_path}/there", "--json")
    assert before.stdout == after.stdout
    assert json.loads(before.stdout)["config"]["data_dir"] == f"{tmp_path}/there"


def test_flags_win_over_the_environment_and_the_environment_over_the_file(omni: Omni) -> None:
    (omni.home / "config.yaml").write_text("port: 1111\nhost: localhost\n")
    config = omni.json("config", "show", environ={"OMNI_PORT": "2222"})["config"]
    assert (config["host"], config["port"]) == ("localhost", 2222)
    assert omni.json("config", "show", "--port", "3333")["config"]["port"] == 3333


def test_secrets_are_masked_in_the_configuration_that_is_shown(omni: Omni) -> None:
    (omni.home / "config.yaml").write_text("lite_llm_key: sk-canary-0123456789\n")
    for words in (["config", "show"], ["config", "show", "--json"], ["config", "check", "--json"]):
        done = omni(*words)
        assert done.returncode == 0, done
        assert "canary" not in done.stdout + done.stderr


def test_the_configuration_schema_is_a_json_schema(omni: Omni) -> None:
    schema = json.loads(omni("config", "schema").stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert "mcp_servers" in schema["$defs"]["Config"]["properties"]


def test_config_check_names_what_cannot_be_used_and_why(omni: Omni) -> None:
    (omni.home / "config.yaml").write_text("mcp_servers:\n  lazy: {url: 'null:', types: [general], enabled: false}\n")
    checked = omni.json("config", "check")
    assert checked["schema"] == "omni.config_check/1"
    lazy = next(e for e in checked["executors"] if e["name"] == "lazy")
    assert not lazy["available"]


def test_config_check_names_the_channels_and_the_keys_that_are_absent(omni: Omni) -> None:
    (omni.home / "config.yaml").write_text("api_keys: {primary: {anthropic: sk-ant-canary}}\n")
    ways = {each["name"]: each for each in omni.json("config", "check")["channels"]}
    assert (ways["anthropic"]["usable"], ways["anthropic"]["absent_keys"]) == (True, ["api_keys.backup.anthropic"])
    said = omni("config", "check").stdout
    assert "channel   anthropic: https://api.anthropic.com; no api_keys.backup.anthropic" in said
    assert "canary" not in said


def test_version_says_what_it_stands_on(omni: Omni) -> None:
    from omni import __version__

    told = omni.json("version")
    assert told["version"] == __version__
    assert set(told["parts"]) >= {"python", "sqlite", "mcp"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_asks_omni(omni: Omni, shell: str) -> None:
    done = omni("completion", shell)
    assert done.returncode == 0, done
    assert "_OMNI_COMPLETE" in done.stdout


def test_a_shell_that_asks_for_completions_gets_the_commands(omni: Omni) -> None:
    asked = {"_OMNI_COMPLETE": "complete_bash", "COMP_WORDS": "omni st", "COMP_CWORD": "1"}
    assert omni(environ=asked).stdout.split() == ["status"]


def test_every_command_explains_itself(omni: Omni) -> None:
    commands = ["serve", "submit", "tasks", "why", "status", "logs", "mcp", "verify", "backup", "version", "completion"]
    commands += ["init"]
    nested = [["task", x] for x in ("show", "tail", "cancel", "retry", "resolve")]
    nested += [["token", "show"], ["token", "rotate"], ["config", "check"], ["config", "show"], ["config", "schema"]]
    for words in [[], *([each] for each in commands), *nested]:
        done = omni(*words, "--help")
        assert done.returncode == 0, done
        assert done.stdout.startswith("Usage: omni")


def test_the_reader_of_a_pipe_may_leave_early(omni: Omni) -> None:
    with omni.start("config", "schema") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # long before the program has anything to write
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_no_colour_and_no_control_characters_off_a_terminal(omni: Omni) -> None:
    done = omni("status")
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr
