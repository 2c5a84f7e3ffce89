from __future__ import annotations

import numpy as np
import pytest

from benchmarks.catalogues import ASKED, FILES_PER_LOCAL, _asking, _catalogue, _locals, intervals

pytestmark = pytest.mark.fast

FILES = 100


def test_other_files_are_asked_for_in_each_run_and_all_answers_are_right(tmp_path):
    blocks = intervals(FILES)
    numbers = np.arange(FILES)
    catalogue = _catalogue(tmp_path / "c.sqlite", numbers, numbers, blocks)
    ask = _asking(catalogue, _locals(blocks, FILES))
    runs = [ask(), ask()]
    for answers in runs:
        assert len(answers) == ASKED
        for first, parents in answers.items():
            held = {int(uuid[:8], 16) for uuid in parents}
            assert held == set(range(first, first + FILES_PER_LOCAL))
    assert len(runs[0].keys() | runs[1].keys()) == FILES - FILES_PER_LOCAL + 1
