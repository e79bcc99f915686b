"""Ask a run's models, this checkout's or a study's, task 1 about images that are none of its test images.

Nothing is trained. The base model, the adapter, and the adapter before blank images answer, as section describe of
params.yaml says. What is unfinished when killed is gone on with.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import read_json, remove
from vsd_utils.common.paths import ADAPTER, BASE_MODEL, CONVERSATIONS, PROVENANCE, WORK
from vsd_utils.common.progress import steps
from vsd_utils.common.resume import Row, unfinished_folder
from vsd_utils.common.sections import Params
from vsd_utils.data import samples
from vsd_utils.data.annotations import Item, Versions
from vsd_utils.data.photos import PhotoFolder
from vsd_utils.models import answering, vision_language
from vsd_utils.models.checkpoint import read_pointer
from vsd_utils.models.loading import set_up_torch
from vsd_utils.report.systems import SYSTEMS


class Models(NamedTuple):
    """Say where the models lie, and the conversations that the adapter was trained on: in this checkout."""

    base: Path = BASE_MODEL
    adapter: Path = ADAPTER
    conversations: Path = CONVERSATIONS


def models_in(folder: Path) -> Models:
    """Say where the models lie in the folder of a study's run (``experiments.data_of``)."""
    return Models(folder / "models" / "base", folder / "models" / "adapter", folder / "data" / "conversations")


_OWN = Models()


class Asked(NamedTuple):
    """Hold what models answered: of every pair, image by image, each system's relation and the picture it was shown.

    Systems are "base", "lora" and "lora_blank_image". The pictures lie among unfinished work, which is the caller's to
    ``forget``.
    """

    relations: dict[str, list[str]]
    pictures: list[Path]

    def by_label(self) -> dict[str, list[str]]:
        """Call systems what the tables call them."""
        return {SYSTEMS[system].label: named for system, named in self.relations.items()}


def check_models() -> None:
    """Raise ``VsdError`` where this checkout has no models, or nothing that says what made them."""
    if not ADAPTER.is_dir() or not PROVENANCE.is_file():
        raise VsdError(f"{ADAPTER if PROVENANCE.is_file() else PROVENANCE}: is not there. `dvc repro` makes it")


def ask(name: str, items: Sequence[Item], photos: PhotoFolder | None, settings: Params, models: Models = _OWN) -> Asked:
    """Ask about every pair of ``items``, boxes drawn on the photos, or on an empty canvas without ``photos``.

    ``settings`` are those of the run that made the ``models``. Unfinished work is kept under ``name``.
    """
    p, system_prompt = settings.describe, read_json(models.conversations / "statistics.json")["system_prompt"]
    asking = answering.Settings(
        batch_size=p.batch_size,
        max_new_tokens=p.max_new_tokens,
        no_repeat_ngram_size=p.no_repeat_ngram_size,
        system_prompt=system_prompt,
        task1=p.task1,
    )
    # 1. A picture for each pair.
    what = [asking.model_dump(), settings.convert.model_dump(), [item.model_dump(mode="json") for item in items]]
    place = [
        p.dtype,
        p.quantization,
        settings.float32_matmul_precision,
        photos and str(photos.folder),
        read_pointer(models.base).model_dump(),
    ]
    work = unfinished_folder(name, [what, place], models.adapter)
    pictures = work / "pictures"
    drawn = samples.build(
        (Versions(item, item) for item in items), name.partition("/")[0], photos, settings.convert, pictures
    )
    described = list(steps(drawn, "pictures", len(items)))
    # 2. Questions, and each system's answers.
    asked = [row for row in answering.questions(described) if row["task"] == 1]
    set_up_torch(settings.threads, settings.float32_matmul_precision)
    processor = vision_language.load_processor(models.base)
    base = vision_language.load_model(p.dtype, p.quantization, models.base).eval()

    def answered(model: object, system: str, *, blank: bool = False) -> list[str]:
        unfinished = work / f"{system}.jsonl"
        rows: list[Row] = answering.answer(model, processor, asked, pictures, unfinished, asking, blank=blank)
        return [row["sentences"][0] for row in rows]

    found = {"base": answered(base, "base")}
    adapted = vision_language.load_adapter(base, models.adapter)  # changes base itself
    for system, blank in (("lora", False), ("lora_blank_image", True)):
        found[system] = answered(adapted, system, blank=blank)
    return Asked(found, [pictures / row["image"] for row in asked])


def forget(name: str) -> None:
    """Remove what is kept under ``name``, of earlier questions that were killed too."""
    remove(WORK / name)
