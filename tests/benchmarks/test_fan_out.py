"""One message to many."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from benchmarks import fan_out
from benchmarks.fan_out_servers import KINDS

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there = find_spec("uvloop") is not None and find_spec("websockets") is not None
    # Whom it compares with, only the extra `bench` installs.
    kinds = [kind for kind in KINDS if there or kind != "websockets"]
    monkeypatch.setattr(fan_out, "_SECONDS", 0.05)
    monkeypatch.setattr(fan_out, "_PAIRS", 1)
    # The tests that follow may use every processor.
    monkeypatch.setattr("os.sched_setaffinity", lambda *_: None)
    fan_out.main(["--members", "20", "--output", str(tmp_path), "--kinds", *kinds])
    page = (tmp_path / "fan-out.md").read_text()
    assert page in capsys.readouterr().out
    rows = [
        line for line in page.splitlines() if line.startswith(("| trio-ws, ", "| `websockets`"))
    ]
    assert len(rows) == len(kinds)
    for row in rows:
        assert len(row.split("|")) == 9
        assert " 0 |" not in row
    assert "| 20 members | 64 B | 1 KB |" in page
    assert "100 members in 10 topics" in page
    assert "joins and leaves a second" in page
