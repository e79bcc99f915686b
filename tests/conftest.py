from pathlib import Path

import pytest
from hypothesis import settings
from project import Project

from vsd_utils.common.paths import ROOT

REAL_VSD = ROOT.parent / "shared" / "vsd"
REAL_VRD = ROOT.parent / "shared" / "vrd"


@pytest.fixture(scope="session")
def real_vsd() -> Path:
    """The authors' validation annotations, which carry no licence and so lie beside the project, not in it."""
    if not REAL_VSD.is_dir():
        pytest.skip(f"the real annotations are not at {REAL_VSD}")
    return REAL_VSD


@pytest.fixture(scope="session")
def real_vrd() -> Path:
    """The test half of Visual Relationship Detection, of which 30 photos; it too lies beside the project."""
    if not REAL_VRD.is_dir():
        pytest.skip(f"the real annotations are not at {REAL_VRD}")
    return REAL_VRD


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of this checkout in which the pipeline has run in its smallest profile; leave it as it is found."""
    project = Project.of_this_checkout(tmp_path_factory.mktemp("project"))
    project.run("dvc", "exp", "run", "-S", "profile=smoke")
    return project


# The same examples everywhere, so that a change is what makes a test fail.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the file that takes longest: with ``make test`` the others run beside it."""
    items.sort(key=lambda item: item.path.name != "test_smoke.py")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: minutes when SPICE has not parsed the real captions here before")
    config.addinivalue_line("markers", "rehearsal: minutes, on photos not ours to pass on: make test-rehearsal")
