"""``--engine`` and what it rules out."""

from __future__ import annotations

from typing import get_args

import pytest

from trio_ws._engines import DEFAULT_ENGINE, Engine
from trio_ws.cli.connecting import destination_of
from trio_ws.cli.engine import engine_of
from trio_ws.cli.failures import Usage
from trio_ws.cli.options.engine import EngineName

from .helpers import client_options


def test_every_engine_has_its_name() -> None:
    assert tuple(EngineName) == get_args(Engine)
    assert EngineName(DEFAULT_ENGINE) is EngineName.BUILT_IN


@pytest.mark.parametrize("name", EngineName)
def test_what_is_not_given_rules_nothing_out(name: EngineName) -> None:
    assert engine_of(name, compress=False, stall=None) == name


def test_options_that_only_the_built_in_engine_knows() -> None:
    assert engine_of(EngineName.BUILT_IN, compress=True, stall="0") == "built-in"
    with pytest.raises(Usage, match="--some-thing is not supported by --engine trio-websocket"):
        engine_of(EngineName.TRIO_WEBSOCKET, some_thing="x")


def test_it_is_handed_on_to_connect() -> None:
    options = client_options(engine=EngineName.TRIO_WEBSOCKET)
    assert destination_of(options).options["engine"] == "trio-websocket"
    with pytest.raises(Usage, match="--compress"):
        destination_of(client_options(engine=EngineName.TRIO_WEBSOCKET, compress=True))
