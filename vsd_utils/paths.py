"""Where everything lies, in the order in which the pipeline writes it.

Every path is under the checkout that this package belongs to, so notebooks work from any folder.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PARAMS = ROOT / "params.yaml"
NOTEBOOKS = ROOT / "notebooks"

DATA = ROOT / "data"
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

# Unfinished work (training checkpoints, half of the predictions). DVC empties a stage's outputs before it runs the
# stage, so what a killed run should find again cannot lie in them.
WORK = ROOT / "work"
SETTINGS = WORK / "settings"  # what IPython and matplotlib would keep in, and read from, the home folder


def annotation_file(version: int, split: str, root: Path = ANNOTATIONS) -> Path:
    """Path of one annotation file, named as the VSD authors name it (``zhaoyucs/VSD``, ``dataset/``)."""
    return root / ("VSDv1" if version == 1 else "VSDv2") / (f"{split}.json" if version == 1 else f"newvsd_{split}.json")
