"""The service's file of variables: private, plain, and beneath the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from omni.config import load
from omni.config.environment import VARIABLE, keep, read_env_file, with_env_file
from omni.domain.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "private" / "service.env"


def written(file: Path, text: str, mode: int = 0o600) -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


def test_a_file_says_one_variable_a_line(file: Path) -> None:
    text = "# keys\n\nA=1\nexport B = two words \nC='quoted'\nD=\"x=y\"\nE=\n"
    assert read_env_file(written(file, text)) == {"A": "1", "B": "two words", "C": "quoted", "D": "x=y", "E": ""}


def test_a_file_that_is_not_there_says_nothing(file: Path) -> None:
    assert read_env_file(file) == {}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_may_read_is_refused_with_the_mend(file: Path, mode: int) -> None:
    with pytest.raises(ConfigError) as refused:
        read_env_file(written(file, "A=1\n", mode))
    assert refused.value.hint == f"chmod 600 {file}"


@pytest.mark.parametrize("line", ["A", "1A=x", "A B=x", "=x"])
def test_a_line_that_is_none_is_named_and_not_quoted(file: Path, line: str) -> None:
    with pytest.raises(ConfigError, match="line 2") as refused:
        read_env_file(written(file, f"OK=1\n{line}-secret\n"))
    assert "secret" not in refused.value.message


def test_what_is_kept_is_private_and_joins_what_is_there(file: Path) -> None:
    keep(file, {"A": "1", "B": "2"})
    keep(file, {"B": "3"})
    assert read_env_file(file) == {"A": "1", "B": "3"}
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("value", ["", "'a'", '"a"', '"', ' a"', "a ", "\ta", "#a", "a=b", "$(a) %h `b` \\", "ключ"])
def test_what_is_kept_is_read_back_as_it_was(file: Path, value: str) -> None:
    keep(file, {"A": value})
    keep(file, {"B": "1"})
    assert read_env_file(file) == {"A": value, "B": "1"}


@pytest.mark.parametrize("end", ["\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_a_value_of_several_lines_becomes_no_second_variable(file: Path, end: str) -> None:
    keep(file, {"A": "1"})
    for value in (f"secret{end}LD_PRELOAD=x", f"secret{end}", end):
        with pytest.raises(ConfigError, match="PEM") as refused:
            keep(file, {"PEM": value})
        assert "secret" not in refused.value.message
    assert read_env_file(file) == {"A": "1"}


def test_a_value_that_is_no_text_is_refused_and_leaves_nothing_behind(file: Path) -> None:
    file.parent.mkdir()
    with pytest.raises(ConfigError, match="no text"):
        keep(file, {"A": "secret\udcff"})
    assert not list(file.parent.iterdir())


def test_the_environment_outweighs_the_file_and_without_one_nothing_changes(file: Path) -> None:
    keep(file, {"A": "file", "B": "file"})
    assert with_env_file({VARIABLE: str(file), "A": "shell"})["A"] == "shell"
    assert with_env_file({VARIABLE: str(file)})["B"] == "file"
    assert with_env_file({"A": "shell"}) == {"A": "shell"}


def test_a_configuration_finds_its_secrets_in_the_file_and_hides_them(file: Path, tmp_path: Path) -> None:
    keep(file, {"MY_API_KEY": "sk-in-the-file"})
    config = tmp_path / "config.yaml"
    config.write_text("lite_llm_url: http://127.0.0.1:4000\nlite_llm_key: ${MY_API_KEY}\n")
    loaded = load(config, environ={VARIABLE: str(file), "HOME": str(tmp_path)})
    assert loaded.config.lite_llm_key == "sk-in-the-file"
    assert "sk-in-the-file" in loaded.secrets
    assert load(config, environ={"HOME": str(tmp_path)}).absent == ("MY_API_KEY",)
