"""Options that are fields, and the environment behind them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from trio_ws.cli.signature import takes

Argument = typer.Argument
Option = typer.Option


@dataclass(frozen=True, kw_only=True)
class Base:
    url: Annotated[str, Argument(help="Where to.")]
    port: Annotated[int, Option(help="Which.")] = 1


@dataclass(frozen=True, kw_only=True)
class Options(Base):
    words: Annotated[tuple[str, ...], Argument(help="What.")] = ()
    header: Annotated[tuple[str, ...], Option("--header", "-H")] = ()
    loud: Annotated[bool, Option("--loud")] = False
    named: Annotated[str, Option(envvar="ELSEWHERE")] = ""


given: list[Options] = []
app = typer.Typer()


@app.command()
@takes(Options)
def speak(options: Options) -> None:
    """Say it."""
    given.append(options)


@app.command()
def other() -> None:
    """So that the first has a name."""


def spoken(*arguments: str, **environment: str) -> Options:
    result = CliRunner(env=environment).invoke(app, ["speak", *arguments])
    assert result.exit_code == 0, result.output
    return given.pop()


def test_fields_are_options() -> None:
    assert spoken("x") == Options(url="x")
    assert spoken("x", "a", "b", "--port", "2", "-H", "c", "--header", "d", "--loud") == Options(
        url="x", words=("a", "b"), port=2, header=("c", "d"), loud=True
    )


def test_the_command_keeps_its_name_and_its_words() -> None:
    assert speak.__name__ == "speak"
    assert speak.__doc__ == "Say it."
    names = list(inspect.signature(speak).parameters)
    assert names == ["url", "port", "words", "header", "loud", "named"]


def test_what_is_missing_is_a_usage_error() -> None:
    assert CliRunner().invoke(app, ["speak"]).exit_code == 2
    assert CliRunner().invoke(app, ["speak", "x", "--port", "y"]).exit_code == 2


def test_the_environment_is_asked_for_what_is_not_given() -> None:
    variables = {"TRIO_WS_LOUD": "1", "TRIO_WS_HEADER": "a\n\nb: c\n"}
    assert spoken("x", **variables) == Options(url="x", loud=True, header=("a", "b: c"))
    assert spoken("x", "-H", "d", **variables) == Options(url="x", loud=True, header=("d",))


def test_a_commands_own_variable_comes_first() -> None:
    variables = {"TRIO_WS_SPEAK_PORT": "2", "TRIO_WS_SPEAK_HEADER": "a", "TRIO_WS_HEADER": "b"}
    assert spoken("x", **variables) == Options(url="x", port=2, header=("a",))


def test_a_variable_of_kubernetes_is_not_ours() -> None:
    assert spoken("x", TRIO_WS_PORT="tcp://10.0.0.1:80") == Options(url="x")


def test_an_option_may_have_a_variable_of_its_own() -> None:
    assert spoken("x", ELSEWHERE="a", TRIO_WS_NAMED="b") == Options(url="x", named="a")


def test_what_is_sent_is_never_taken_from_the_environment() -> None:
    variables = {"TRIO_WS_WORDS": "a", "TRIO_WS_SPEAK_WORDS": "b", "TRIO_WS_URL": "c"}
    assert spoken("x", **variables) == Options(url="x")


def test_the_help_does_not_name_every_variable() -> None:
    result = CliRunner().invoke(app, ["speak", "--help"])
    assert "TRIO_WS" not in result.output


@pytest.fixture(autouse=True)
def _nothing_given() -> None:
    given.clear()
