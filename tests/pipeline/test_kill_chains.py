"""A stage that is killed again and again leaves the bytes of one that was not; ``kill_chains.py`` runs more of it."""

import pytest
from kill_chains import Stage
from project import Project


@pytest.fixture(scope="module")
def finetune(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    copy = project.copy(tmp_path_factory.mktemp("kill-chains") / "project", "refiner")
    copy.run("python", "-m", "vsd_utils", "profile", "smoke", "finetune.max_steps=8", "finetune.save_steps=2")
    return Stage(copy, "finetune")


@pytest.mark.parametrize("number", range(2))
def test_a_chain_of_kills_leaves_the_bytes_of_an_unkilled_run(finetune: Stage, number: int) -> None:
    assert len(finetune.expected) > 300
    chain = finetune.chain(number, kills=3, seed=0)
    assert chain.killed
    assert chain.different == []
