"""Say what this checkout's models lean on: drawn scenes in which height, size or order of mention tells nothing.

    vsd shortcuts                       # 1,008 scenes
    vsd shortcuts --scenes 252

Nothing is trained. Base model, adapter and adapter before blank images are asked to name the relation in the same
scene with and without a cue (``vsd_utils/miniature/shortcuts.py`` says what is changed). Any profile's models can be
asked; those that saw photos see drawings here. Writes ``reports/studies/shortcuts_<profile>`` and a figure of examples.
Killed, it goes on where it was.
"""

import argparse

from PIL import Image

from vsd_utils.common import params
from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import remove
from vsd_utils.common.paths import STUDY_REPORTS, WORK
from vsd_utils.data.annotations import RELATIONS
from vsd_utils.data.photos import index_photos
from vsd_utils.miniature.shortcuts import AS_DRAWN, RELATIONS_OF, write_scenes
from vsd_utils.report import figures, provenance, tables
from vsd_utils.studies import asking, shortcuts

_CHANGES = {
    "height": "in front of and behind, with both things equally high in the picture (a viewer with the eye on the "
    "floor), so that height does not tell which is nearer",
    "size": "in front of and behind, the nearer thing drawn at 0.7 of its width and height",
    "order": "the same picture, asked the other way round: the object's name and the red box come first, and the "
    "relation is the inverse",
}
_SHOWN = ("in front of", "behind", "to the left of")  # relations of the scenes in the figure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take how many scenes."""
    parser.add_argument("--scenes", type=int, default=1008, metavar="N", help="of all nine relations alike (1008)")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes and of the resamples (0)")


def run(given: argparse.Namespace) -> int:
    """Draw, ask, write table and figure, say where they are."""
    if given.scenes < 2 * len(RELATIONS) or given.scenes % len(RELATIONS):
        raise VsdError(f"--scenes {given.scenes}: expected a multiple of {len(RELATIONS)}, twice that at least")
    settings = params.load()
    asking.check_models()
    record = provenance.collect()
    # 1. Scenes, each as it is and without each cue, and all answers.
    scenes = WORK / "shortcuts" / "scenes"
    sets = write_scenes(scenes, given.scenes, given.seed)
    keys = [(cue, number) for cue, items in sets.items() for number in items]
    items = [sets[cue][number] for cue, number in keys]
    asked = asking.ask("shortcuts", items, index_photos(scenes), settings)
    answers = {system: dict(zip(keys, named, strict=True)) for system, named in asked.relations.items()}
    pictures = dict(zip(keys, asked.pictures, strict=True))
    # 2. What came of it.
    name = f"shortcuts_{record['profile']}"
    notes = [
        "Relation accuracy in %, in brackets 95 % bootstrap intervals over scenes; difference: without the cue minus "
        "as drawn, on the same scenes, p of a paired randomisation test. One training run: how much seeds differ, it "
        "does not tell. Occlusion is left in all scenes. After Why Far Looks Up (arXiv 2605.30161).",
        *(f"{cue}: {change}." for cue, change in _CHANGES.items()),
        f"Drawn scenes, none of them in training: {given.scenes:,} of seed {given.seed}, on and in passed over.",
        "The run that made the models: " + provenance.sentence(record, record["images"]["test"]),
    ]
    table = shortcuts.table(sets, AS_DRAWN, answers, given.seed)
    tables.write(name, "What names the relation: scenes without a cue", table, notes, STUDY_REPORTS)
    # 3. The first scene of some relations, as the model was shown it.
    rows = []
    for relation in _SHOWN:
        number = next(n for n, item in sets[AS_DRAWN].items() if item.triple_list[0].p == relation)
        shown = []
        for cue in (AS_DRAWN, *RELATIONS_OF):
            if number in sets[cue]:
                triple = sets[cue][number].triple_list[0]
                with Image.open(pictures[cue, number]) as picture:
                    text = f"{'' if cue == AS_DRAWN else 'without '}{cue}\n{triple.s} is {triple.p} {triple.o}"
                    shown.append(shortcuts.Pictured(picture.copy(), f"{text}\nanswer: {answers['lora'][cue, number]}"))
        rows.append(shown)
    figures.save(shortcuts.draw(rows), name, " ".join(notes[1:]), STUDY_REPORTS)
    remove(asked.work)
    remove(scenes)
    print(f"written: {STUDY_REPORTS / name}.md, .csv, .tex, .png")
    return 0
