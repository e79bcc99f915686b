"""Ask this checkout's models about another data set: task 1 on Visual Relationship Detection (VRD).

    vsd vrd sources/vrd                                      # boxes on an empty canvas, all annotated images
    vsd vrd sources/vrd --images 300                         # of so many, drawn by seed
    vsd vrd sources/vrd --photos sources/vrd/photos          # only those whose photo lies there, on it

The folder holds the release's annotations_test.json, objects.json, predicates.json and image_metadata_test.json, which
users get from its authors (Lu et al., ECCV 2016; for research only, so nothing of it is here). Nothing is trained:
base model, adapter and adapter before blank images are asked, and regressions that saw this run's training annotations
and no image. ``vsd_utils/data/vrd.py`` says which predicates are read as which relation. Writes
``reports/studies/vrd_<profile>`` (or ``..._photos``) and its ``_differences``. Killed, it goes on where it was.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from vsd_utils.common import params
from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import read_json, remove, sha256
from vsd_utils.common.paths import (
    ADAPTER,
    BASE_MODEL,
    CONVERSATIONS,
    PROVENANCE,
    STUDY_REPORTS,
    annotation_file,
    user_path,
)
from vsd_utils.common.progress import steps
from vsd_utils.common.resume import Row, unfinished_folder
from vsd_utils.common.sections import Params
from vsd_utils.data import samples, vrd
from vsd_utils.data.annotations import Triple, Versions, load_items
from vsd_utils.data.photos import PhotoFolder, index_photos
from vsd_utils.data.vrd import LabelledImage
from vsd_utils.evaluate import several_labels
from vsd_utils.evaluate.baselines import predict_relations
from vsd_utils.models import answering, vision_language
from vsd_utils.models.checkpoint import read_pointer
from vsd_utils.models.loading import limit_threads
from vsd_utils.report import provenance, tables
from vsd_utils.report.systems import SYSTEMS

_LORA = SYSTEMS["lora"].label


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the data set's folder, its photos if any, and how many images."""
    parser.add_argument("folder", help="with the annotations of VRD's test half")
    parser.add_argument("--photos", metavar="FOLDER", help="ask about the images whose photo lies there, on the photo")
    parser.add_argument("--images", type=int, metavar="N", help="as many images, drawn by seed (all)")
    parser.add_argument("--seed", type=int, default=0, help="of the images that are drawn and of the resamples (0)")


def run(given: argparse.Namespace) -> int:
    """Ask, write the tables, say where they are."""
    if given.images is not None and given.images < 1:
        raise VsdError(f"--images {given.images}: expected 1 at least. Or leave it out, for all images")
    settings = params.load()
    if not ADAPTER.is_dir() or not PROVENANCE.is_file():
        raise VsdError(f"{ADAPTER if PROVENANCE.is_file() else PROVENANCE}: is not there. `dvc repro` makes it")
    record = provenance.collect()
    folder = user_path(given.folder)
    reading = vrd.load(folder)
    photos = index_photos(user_path(given.photos)) if given.photos else None
    images = [image for image in reading.images if photos is None or image.item.img_id in photos.paths]
    if not images:
        raise VsdError(f"{given.photos}: holds no photo of the images in {folder}")
    images = vrd.drawn(images, given.images or len(images), given.seed)
    train = [triple for item in load_items(annotation_file(1, "train")) for triple in item.triple_list]
    predicted, work = _answers(images, photos, settings)
    predicted |= {name.replace("_", " "): labels for name, labels in _without_image(train, images).items()}
    count = sum(len(image.labels) for image in images)
    several = sum(len(labels) > 1 for image in images for labels in image.labels)
    notes = [
        "Share of pairs of which the relation named is one that is annotated, in %; in brackets 95 % bootstrap "
        f"intervals over images; empty below {several_labels.FEWEST} pairs. A relation's column: pairs with this "
        "relation alone.",
        "Nothing was trained or chosen on this data. The regressions see box geometry, names or both, never an image, "
        "and saw the same training annotations as the adapter.",
        f"Data: VRD (Lu et al., ECCV 2016), {folder.name}/annotations_test.json (sha256 "
        f"{sha256(folder / 'annotations_test.json')[:10]}): {count:,} pairs of {len(images):,} of "
        f"{len(reading.images):,} images, {'on their photos' if photos else 'boxes on an empty canvas'}; {several:,} "
        f"pairs with several relations, any of which is right. {reading.other_predicates:,} relations of the file have "
        f"predicates that name no place, {reading.unusable_boxes:,} have empty boxes. Seed {given.seed}.",
        "Predicates by relation: " + "; ".join(f"{name}: {', '.join(words)}" for name, words in vrd.predicates()),
        "The run that made the models: " + provenance.sentence(record, record["images"]["test"]),
    ]
    name = f"vrd_{record['profile']}" + ("_photos" if photos else "")
    table = several_labels.accuracy_table(predicted, images, train, given.seed)
    tables.write(name, "Task 1 on another data set", table, notes, STUDY_REPORTS)
    compared = several_labels.differences(predicted, images, _LORA, given.seed)
    paired = tables.paired_table(compared, dict.fromkeys(compared, len(images)))
    tables.write(f"{name}_differences", "Task 1 on another data set, differences", paired, notes, STUDY_REPORTS)
    remove(work)
    print(f"written: {STUDY_REPORTS / name}.md, .csv, .tex; _differences")
    return 0


def _without_image(train: Sequence[Triple], images: Sequence[LabelledImage]) -> dict[str, list[str]]:
    return predict_relations(train, [triple for image in images for triple in image.item.triple_list])


def _answers(
    images: Sequence[LabelledImage], photos: PhotoFolder | None, settings: Params
) -> tuple[dict[str, list[str]], Path]:
    """Ask base model, adapter and adapter before blank images.

    Gives by label a relation for each pair, and the folder of unfinished work, which is the caller's to remove.
    """
    p, system_prompt = settings.describe, read_json(CONVERSATIONS / "statistics.json")["system_prompt"]
    asking = answering.Settings(
        batch_size=p.batch_size, max_new_tokens=p.max_new_tokens, system_prompt=system_prompt, task1=p.task1
    )
    # 1. A picture for each pair.
    items = [image.item for image in images]
    what = [asking.model_dump(), settings.convert.model_dump(), [item.model_dump(mode="json") for item in items]]
    place = [p.dtype, p.quantization, photos and str(photos.folder), read_pointer(BASE_MODEL).model_dump()]
    work = unfinished_folder("vrd", [what, place], ADAPTER)
    drawn = samples.build((Versions(item, item) for item in items), "vrd", photos, settings.convert, work / "pictures")
    described = list(steps(drawn, "pictures", len(items)))
    # 2. Questions, and each system's answers.
    asked = [row for row in answering.questions(described) if row["task"] == 1]
    limit_threads(settings.threads)
    processor = vision_language.load_processor()
    base = vision_language.load_model(p.dtype, p.quantization).eval()

    def answered(model: object, system: str, *, blank: bool = False) -> list[str]:
        unfinished = work / f"{system}.jsonl"
        rows: list[Row] = answering.answer(model, processor, asked, work / "pictures", unfinished, asking, blank=blank)
        return [row["sentences"][0] for row in rows]

    found = {SYSTEMS["base"].label: answered(base, "base")}
    adapted = vision_language.load_adapter(base, ADAPTER)  # changes base itself
    for system, blank in (("lora", False), ("lora_blank_image", True)):
        found[SYSTEMS[system].label] = answered(adapted, system, blank=blank)
    return found, work
