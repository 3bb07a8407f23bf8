"""The examples of docs/python-client.md do what the page says."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs/python-client.md"
EXAMPLE = re.compile(r"(<!-- not run[^>]*-->\n)?```python\n(.*?)```", re.DOTALL)


def test_the_examples_run(server, wav, tmp_path, monkeypatch, capsys: pytest.CaptureFixture[str]):
    shutil.copy(wav, tmp_path / "talk.wav")
    monkeypatch.chdir(tmp_path)
    found = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))
    assert len(found) >= 9
    names: dict[str, object] = {"__name__": "example"}
    for skipped, code in found:
        program = compile(code, str(PAGE), "exec")
        if not skipped:
            exec(program, names)
    asyncio.run(names["caption"]())
    said = capsys.readouterr().out
    assert "hello\nhello 0.25" in said
    assert "WO IST DER BAHNHOF?" in said
    assert "nothing.wav: no such file BAD_AUDIO" in said
    assert (tmp_path / "talk.vtt").read_text().startswith("WEBVTT")
    assert "-->" in (tmp_path / "talk.srt").read_text()
