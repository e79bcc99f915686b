"""The report's figures look the same whatever matplotlibrc or style is in force."""

from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from vsd_utils.report import figures


@pytest.mark.parametrize(
    "style", [{"text.usetex": True}, {"axes.facecolor": "black", "savefig.bbox": "tight"}, "ggplot"]
)
def test_a_figure_has_the_default_look(tmp_path: Path, style: str | dict[str, object]) -> None:
    log = tmp_path / "plots/metrics/train/loss.tsv"
    log.parent.mkdir(parents=True)
    log.write_text("step\tloss\n1\t2.0\n2\t1.5\n")
    drawn = []
    for look in ([], style):
        with plt.style.context(look):
            before = dict(plt.rcParams)
            figures.save(figures.losses(tmp_path), "loss", "Profile smoke.", tmp_path)
            assert dict(plt.rcParams) == before
        drawn.append((tmp_path / "loss.png").read_bytes())
    assert drawn[0] == drawn[1]
