from pathlib import Path

import pytest

from vsd_utils.paths import ROOT

REAL_VSD = ROOT.parent / "shared" / "vsd"


@pytest.fixture(scope="session")
def real_vsd() -> Path:
    """The authors' validation annotations, which carry no licence and so lie beside the project, not in it."""
    if not REAL_VSD.is_dir():
        pytest.skip(f"the real annotations are not at {REAL_VSD}")
    return REAL_VSD


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: minutes when SPICE has not parsed the real captions here before")
