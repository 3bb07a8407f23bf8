from __future__ import annotations

import shutil

import pytest

from legonn_core.interface.card import MarginalBands
from legonn_core.interface.reference import ModuleRef
from legonn_core.modules.check import check
from legonn_core.modules.registry import read_card
from legonn_core.train.bands import MARGIN, band, main
from tests.support.tiny import ENGLISH, GERMAN, GERMAN_TEXT, SPEECH
from tests.support.training import write_training_data


def test_a_band_holds_nearly_all_items_and_the_golden_output():
    shares = [0.4 + 0.001 * step for step in range(101)]
    assert band(shares, 0.45) == MarginalBands(round(0.401 - MARGIN, 3), round(0.499 + MARGIN, 3))
    assert band(shares, 0.9).blank_high == 0.9
    assert band(shares, 0.1).blank_low == 0.1
    assert band([0.0, 1.0], 0.5) == MarginalBands(0.0, 1.0)
    with pytest.raises(ValueError, match="no items"):
        band([], 0.5)


@pytest.mark.parametrize("ref", [GERMAN, SPEECH], ids=str)
def test_the_tool_writes_a_band_that_its_module_passes(tiny_store, tmp_path, capsys, ref):
    store = tmp_path / "store"
    shutil.copytree(tiny_store, store)
    write_training_data(tmp_path, tiny_store)
    lines = [f"{de}\t{en}" for de, en in zip(GERMAN_TEXT, ENGLISH, strict=False)]
    (tmp_path / "dev.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    path = tmp_path / ("set.tsv" if ref == SPEECH else "dev.tsv")
    assert main([str(ref), "--store", str(store), "--path", str(path)]) == 0
    assert "of the rows blank" in capsys.readouterr().out
    found = read_card(store, ModuleRef(ref.name, ref.version)).bands
    assert found is not None
    report = check(store, ref)
    assert found.blank_low <= report.blank_share <= found.blank_high
