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

from vsd_utils.common import params
from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import sha256
from vsd_utils.common.paths import (
    STUDY_REPORTS,
    annotation_file,
    user_path,
)
from vsd_utils.data import vrd
from vsd_utils.data.annotations import Triple, load_items
from vsd_utils.data.photos import index_photos
from vsd_utils.data.vrd import LabelledImage
from vsd_utils.evaluate import several_labels
from vsd_utils.evaluate.baselines import predict_relations
from vsd_utils.report import provenance, tables
from vsd_utils.report.systems import SYSTEMS
from vsd_utils.studies import asking

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
    asking.check_models()
    record = provenance.collect()
    folder = user_path(given.folder)
    reading = vrd.load(folder)
    photos = index_photos(user_path(given.photos)) if given.photos else None
    images = [image for image in reading.images if photos is None or image.item.img_id in photos.paths]
    if not images:
        raise VsdError(f"{given.photos}: holds no photo of the images in {folder}")
    images = vrd.drawn(images, given.images or len(images), given.seed)
    train = [triple for item in load_items(annotation_file(1, "train")) for triple in item.triple_list]
    asked = asking.ask("vrd", [image.item for image in images], photos, settings)
    predicted = asked.by_label() | {
        name.replace("_", " "): labels for name, labels in _without_image(train, images).items()
    }
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
    asking.forget("vrd")
    print(f"written: {STUDY_REPORTS / name}.md, .csv, .tex; _differences")
    return 0


def _without_image(train: Sequence[Triple], images: Sequence[LabelledImage]) -> dict[str, list[str]]:
    return predict_relations(train, [triple for image in images for triple in image.item.triple_list])
