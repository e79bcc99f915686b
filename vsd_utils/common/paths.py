"""Where everything lies, in the order in which the pipeline writes it.

Every path is under the checkout that this package belongs to, so notebooks work from any folder.
"""

from pathlib import Path

from vsd_utils.common.errors import VsdError

ROOT = Path(__file__).resolve().parents[2]

PARAMS = ROOT / "params.yaml"
CONF = ROOT / "conf"
DVC_STAGES = ROOT / "dvc.yaml"
STUDIES = ROOT / "studies"
NOTEBOOKS = ROOT / "notebooks"

DATA = ROOT / "data"
PREFLIGHT = DATA / "preflight.json"
PROVENANCE = DATA / "provenance.json"
ANNOTATIONS = DATA / "annotations"
IMAGES = DATA / "images"
CLEAN_NOTEBOOKS = DATA / "notebooks"
SAMPLES = DATA / "samples"
CONVERSATIONS = DATA / "conversations"
PREDICTIONS = DATA / "predictions"
REFINED = DATA / "refined"
SUBMISSIONS = DATA / "submissions"
SCORES = DATA / "scores"
TABLES = DATA / "tables"
EXECUTED_NOTEBOOKS = DATA / "executed"

MODELS = ROOT / "models"
BASE_MODEL = MODELS / "base"
REFINER_MODEL = MODELS / "refiner"
ADAPTER = MODELS / "adapter"

REPORTS = ROOT / "reports"
METRICS = REPORTS / "metrics.json"
TRAINING = REPORTS / "training"
FIGURES = REPORTS / "figures"
REPORT_TABLES = REPORTS / "tables"
REPORT_NOTEBOOKS = REPORTS / "notebooks"
STUDY_REPORTS = REPORTS / "studies"

# Unfinished work (training checkpoints, half of the predictions). DVC empties a stage's outputs before it runs the
# stage, so what a killed run should find again cannot lie in them.
WORK = ROOT / "work"
SETTINGS = WORK / "settings"  # what IPython and matplotlib would keep in, and read from, the home folder


def annotation_file(version: int, split: str, root: Path = ANNOTATIONS) -> Path:
    """Build the path of one annotation file, named as the VSD authors name it (``zhaoyucs/VSD``, ``dataset/``)."""
    return root / ("VSDv1" if version == 1 else "VSDv2") / (f"{split}.json" if version == 1 else f"newvsd_{split}.json")


def user_path(written: str) -> Path:
    """Find a folder as a user writes it in params.yaml: ``~`` is the home folder, a relative path is the checkout's.

    In the temporary copies of a checkout that DVC makes (``dvc exp run --temp`` or ``--queue``) a relative path starts
    at the checkout that was copied, so that it names the same folder. Raises ``VsdError`` for the home of a user whom
    nobody knows.
    """
    try:
        return checkout() / Path(written).expanduser()
    except RuntimeError as error:
        raise VsdError(f"{written}: {error} Write the whole path.") from None


def checkout() -> Path:
    """Give the checkout, of which ``ROOT`` may be one of DVC's temporary copies."""
    for parent in ROOT.parents:
        if parent.parts[-3:] == (".dvc", "tmp", "exps"):
            return parent.parents[2]
    return ROOT
