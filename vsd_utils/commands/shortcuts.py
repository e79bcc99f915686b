"""Say what this checkout's models lean on: drawn scenes with height, size, order of mention, names or room changed.

    vsd shortcuts                       # 1,008 scenes
    vsd shortcuts --scenes 252
    vsd shortcuts --study seeds         # the models of its reference's runs, several trainings, in place of the one

Nothing is trained. Base model, adapter and adapter before blank images are asked to name the relation in the same
scene with and without the change (``vsd_utils/miniature/shortcuts.py`` says what is changed). Any profile's models can
be asked; those that saw photos see drawings here. Writes ``reports/studies/shortcuts_<profile>`` and a figure of
examples. Killed, it goes on where it was.
"""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

from PIL import Image

from vsd_utils.common import params
from vsd_utils.common.errors import VsdError
from vsd_utils.common.paths import STUDY_REPORTS, WORK
from vsd_utils.common.sections import Params
from vsd_utils.data.annotations import RELATIONS
from vsd_utils.data.photos import index_photos
from vsd_utils.miniature.shortcuts import AS_DRAWN, OBJECT_NAMES, RELATIONS_OF, SUBJECT_NAMES, write_scenes
from vsd_utils.report import figures, provenance, tables
from vsd_utils.studies import asking, cost, experiments, run_scores, shortcuts
from vsd_utils.studies.plan import Study, read_study, runs_of

_CHANGES = {
    "height": "in front of and behind, with both things equally high in the picture, where the nearer one is lower in "
    "training. Which hides the other and how far they are apart sideways still tell",
    "size": "in front of and behind, the nearer thing drawn at 0.7 of its width and height. In training the subject is "
    "the smaller one, as much so in either relation, so size told nothing",
    "order": "the same scene asked the other way round, with the inverse relation: the object's name comes first, and "
    "where boxes are drawn they change colours. In training small things come first always",
    "names": "both things are called what no training scene has, so only the boxes tell which things are meant: "
    + ", ".join((*SUBJECT_NAMES, *OBJECT_NAMES)),
    "room": "a dark wall and a dark floor, as no training scene has",
}
_WORK = "shortcuts"
_SHOWN = ("in front of", "behind", "to the left of")  # relations of the scenes in the figure


class _Training(NamedTuple):
    models: asking.Models
    settings: Params


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take how many scenes, and whose models."""
    parser.add_argument("--scenes", type=int, default=1008, metavar="N", help="of all nine relations alike (1008)")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes and of the resamples (0)")
    parser.add_argument("--study", metavar="NAME", help="ask the models of this study's reference, of every seed")


def run(given: argparse.Namespace) -> int:
    """Draw, ask, write table and figure, say where they are."""
    if given.scenes < 2 * len(RELATIONS) or given.scenes % len(RELATIONS):
        raise VsdError(f"--scenes {given.scenes}: expected a multiple of {len(RELATIONS)}, twice that at least")
    if given.study:
        return _ask_study(given)
    asking.check_models()
    record = provenance.collect()
    made_by = "The run that made the models: " + provenance.sentence(record, record["images"]["test"])
    one = "One training run: how much seeds differ, it does not tell."
    return _ask([_Training(asking.Models(), params.load())], record["profile"], [one, made_by], given)


def _ask_study(given: argparse.Namespace) -> int:
    """Ask the models that the runs of a study's reference have trained; they are made first where DVC has them not."""
    study = read_study(given.study)
    if not isinstance(study, Study) or study.seed != "finetune.seed":
        raise VsdError(f"study {study.name}: --study takes one that trains its reference with several finetune.seed")
    planned = runs_of(study)
    runs = []
    for digest in dict.fromkeys(one.digest for one in planned if one.variant == study.reference):
        # A run is called after the first of the variants that share it.
        made = [one for one in planned if one.digest == digest and experiments.is_made(one)]
        if not made:
            raise VsdError(
                f"study {study.name}: DVC does not have the run {digest} of {study.reference!r} here, so its model is "
                f"not there. Move {run_scores.scores_file(digest)} and those of its other seeds away, if they are "
                f"there; then `vsd study {study.name}` makes it"
            )
        runs.append(made[0])
    with ExitStack() as stack:
        folders = [stack.enter_context(experiments.data_of(one, base=True)) for one in runs]
        trainings = [
            _Training(asking.models_in(folder), cost.params_of(one)) for folder, one in zip(folders, runs, strict=True)
        ]
        made_of = [run_scores.made_of(folder / "dvc.lock", study.last_stage) for folder in folders]
        notes = [
            f"Mean of {len(runs)} trainings, ±: their standard deviation.",
            f"Models: {study.reference!r} of study {study.name}, profile {study.profile}, finetune.seed "
            f"{', '.join(str(one.seed) for one in runs)}; overrides {', '.join(study.overrides) or 'none'}. "
            + "; ".join(
                f"{words} sha256 {', '.join(sorted({one[name] for one in made_of}))}"
                for name, words in (("code", "code"), ("base", "base model"), ("train", "training data"))
            )
            + ".",
        ]
        return _ask(trainings, study.name, notes, given)


def _ask(trainings: Sequence[_Training], named: str, made_by: Sequence[str], given: argparse.Namespace) -> int:
    # 1. Scenes, each as it is and without each cue, and all answers of each training's models.
    scenes = WORK / _WORK / "scenes"
    sets, hidden = write_scenes(scenes, given.scenes, given.seed)
    keys = [(cue, number) for cue, items in sets.items() for number in items]
    items = [sets[cue][number] for cue, number in keys]
    photos = index_photos(scenes)
    asked = [asking.ask(f"{_WORK}/{n}", items, photos, one.settings, one.models) for n, one in enumerate(trainings)]
    answers = {
        system: [dict(zip(keys, one.relations[system], strict=True)) for one in asked] for system in asked[0].relations
    }
    answers["base"] = answers["base"][:1]  # no seed changes it
    pictures = dict(zip(keys, asked[0].pictures, strict=True))
    # 2. What came of it.
    name = f"shortcuts_{named}"
    notes = [
        "Relation accuracy in %, in brackets 95 % bootstrap intervals over scenes; difference: changed minus as drawn, "
        "on the same scenes, p of a paired randomisation test after Holm over the relations' rows; named instead: the "
        "wrong relation named most, as a share of the row's answers; hidden: median share of the farther thing's drawn "
        f"pixels that the nearer one covers. {made_by[0]} After Why Far Looks Up (arXiv 2605.30161).",
        *(f"{cue}: {change}." for cue, change in _CHANGES.items()),
        f"Drawn scenes, none of them in training: {given.scenes:,} of seed {given.seed}.",
        *made_by[1:],
    ]
    table = shortcuts.table(sets, hidden, AS_DRAWN, answers, given.seed)
    tables.write(name, "What the answers lean on: scenes with a cue changed", table, notes, STUDY_REPORTS)
    # 3. The first scene of some relations, as the model was shown it.
    rows = []
    for relation in _SHOWN:
        number = next(n for n, item in sets[AS_DRAWN].items() if item.triple_list[0].p == relation)
        shown = []
        for cue in (AS_DRAWN, *RELATIONS_OF):
            if number in sets[cue]:
                triple = sets[cue][number].triple_list[0]
                with Image.open(pictures[cue, number]) as picture:
                    text = f"{cue}{'' if cue == AS_DRAWN else ' changed'}\n{triple.s} is {triple.p} {triple.o}"
                    shown.append(
                        shortcuts.Pictured(picture.copy(), f"{text}\nanswer: {answers['lora'][0][cue, number]}")
                    )
        rows.append(shown)
    figures.save(shortcuts.draw(rows), name, " ".join(notes[1:]), STUDY_REPORTS)
    asking.forget(_WORK)
    print(f"written: {STUDY_REPORTS / name}.md, .csv, .tex, .png")
    return 0
