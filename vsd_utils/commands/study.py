"""Answer a question by a study: make the runs that are missing, and join all into a table.

    vsd study loss_reduction          # make what is missing, write reports/studies/loss_reduction.md, .csv, .tex, .png
    vsd study loss_reduction --join   # make nothing: only join what is there
    vsd study --all                   # every study of studies/, one after another
    vsd study adapters --profile paper --plan --gpu H100        # with another profile; only say what it takes

A study is a file in studies/ (``vsd_utils/studies/plan.py`` says what is in it). Each run is an experiment of DVC in a
copy of the checkout, which keeps params.yaml, data and report as they are; stages that runs share are made once. With
--jobs 2 two runs are made at a time, and what DVC says of each is in work/studies. Killed, it goes on with the runs
that it was making, the stage under way from its start. The scores of a run lie in reports/studies/runs, by a digest of
its parameters: what is there is not made again until it is deleted.

Runs of a pretrained base model are planned first: what they take on this machine's GPU is shown, and the study is
refused where one does not fit. With --profile its tables are named after study and profile.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Lock

from vsd_utils.commands.mend import mend
from vsd_utils.commands.plan import this_gpu
from vsd_utils.common.errors import VsdError
from vsd_utils.common.paths import BASE_MODEL, STUDY_REPORTS
from vsd_utils.common.sections import Params
from vsd_utils.evaluate.definitions import definitions
from vsd_utils.evaluate.sentence_scores import Engine
from vsd_utils.planning import gpu_hours
from vsd_utils.report import figures
from vsd_utils.report import tables as report_tables
from vsd_utils.studies import cost, effects, experiments, figure, run_scores, tables
from vsd_utils.studies.multiverse import Multiverse
from vsd_utils.studies.plan import Run, Study, read_study, runs_of, study_names
from vsd_utils.studies.question import Question
from vsd_utils.studies.tables import Records


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the studies and whether to make runs."""
    parser.add_argument("name", nargs="?", help="the study's file in studies/, without .yaml")
    parser.add_argument("--all", action="store_true", help="every study")
    parser.add_argument("--join", action="store_true", help="make no run, only the tables of those that are there")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time (1)")
    parser.add_argument("--profile", metavar="NAME", help="in place of the study's own")
    parser.add_argument("--plan", action="store_true", help="make no run, say what those that are missing take")
    parser.add_argument(
        "--gpu", metavar="NAME", help="to plan for, one of vsd_utils/planning/gpus.yaml (this machine's)"
    )
    parser.add_argument("--heap-gb", type=float, default=4.0, help="most memory for SPICE's Java in GiB (4)")


def run(given: argparse.Namespace) -> int:
    """Make, join, say where the tables are."""
    if bool(given.name) == given.all:
        raise VsdError(f"name a study, or --all for every one: {', '.join(study_names())}")
    if given.jobs < 1:
        raise VsdError(f"--jobs {given.jobs}: expected 1 at least")
    for name in study_names() if given.all else [given.name]:
        study = read_study(name, profile=given.profile)
        planned = runs_of(study)
        missing = _missing(planned)
        if given.plan or not given.join:
            _plan(study, missing, given)
        if given.plan:
            continue
        if not given.join:
            _make(study, missing, Engine(heap_gb=given.heap_gb), given.jobs)
        _join(study, planned)
    return 0


def _missing(planned: list[Run]) -> dict[str, Run]:
    """Find the runs that have no scores yet, by digest; of variants that differ in the system alone, one."""
    missing: dict[str, Run] = {}
    for one in planned:
        if not run_scores.read_run(one.digest):
            missing.setdefault(one.digest, one)
    return missing


def _plan(study: Question, missing: Mapping[str, Run], given: argparse.Namespace) -> None:
    """Show what the missing runs take, and refuse those that do not fit; nothing for a model that is made here."""
    runs = [one for one in missing.values() if cost.needs_a_plan(one)]
    print(f"study {study.name}: {len(missing)} runs to make", file=sys.stderr)
    if not runs:
        if given.plan and missing:
            print("their base model is made here within minutes, so there is nothing to plan", file=sys.stderr)
        return
    named = given.gpu or this_gpu()
    if named is None:
        raise VsdError(
            f"study {study.name}: its base model needs an NVIDIA GPU, and none was found. "
            "The same command with --plan --gpu H100 says what it takes on one"
        )
    gpu = gpu_hours.find_gpu(named)
    table = cost.plan_table(runs, gpu)
    print(table.to_markdown(index=False, disable_numparse=True))
    print(
        f"On one {gpu.name}, all together {table['all, h'].astype(float).sum():.0f} hours: arithmetic, not measured; "
        "stages that runs share are counted in each of them."
    )
    cost.refuse_unfit(study.name, table, gpu)


def _make(study: Question, missing: Mapping[str, Run], engine: Engine, jobs: int) -> None:
    """Make the missing runs, ``jobs`` at a time, and score each as it ends.

    Where one fails, no further is begun, and those under way are made and scored before its error is raised.
    """
    if jobs > 1 and (large := [one for one in missing.values() if cost.needs_a_plan(one)]):
        raise VsdError(f"study {study.name}: --jobs {jobs}, and {large[0].variant!r} has a GPU to itself; leave it out")
    for line in mend() if missing else ():
        print(line, file=sys.stderr)
    if missing and not BASE_MODEL.is_dir():
        # DVC takes dvc.lock's word for what the stages make, and on another processor they may make other bytes.
        print(
            f"{BASE_MODEL} is not there, so runs may each make one. `make repro` first makes it once", file=sys.stderr
        )
    scoring = Lock()

    def make(number: int, one: Run) -> None:
        print(f"study {study.name}: run {number} of {len(missing)}, {one.variant}, seed {one.seed}", file=sys.stderr)
        experiments.make(one, jobs)
        with scoring:
            _score(study, one, engine)

    with ThreadPoolExecutor(jobs) as pool:
        under_way = [pool.submit(make, number, one) for number, one in enumerate(missing.values(), 1)]
        try:
            for ended in as_completed(under_way):
                ended.result()
        except BaseException:  # an interrupt too
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _score(study: Question, one: Run, engine: Engine) -> None:
    params = cost.params_of(one)
    # Of every trained model once, for a table that shows it: not of sixteen that differ in all, or in the refiner.
    kept = isinstance(study, Study) and study.seed == "finetune.seed" and params.base.source == "tiny"
    with experiments.data_of(one, base=kept) as folder:
        record = run_scores.score_run(one, folder, experiments.cost_of(one), engine)
        record |= {"places": _places(folder, params)} if kept else {}
    with experiments.STARTING:  # a run that begins puts aside what is new in the checkout
        run_scores.write_run(record)


def _places(folder: Path, params: Params) -> dict[str, float | str]:
    from vsd_utils.miniature.places import tell_places  # it takes torch, which joining does without

    return tell_places(folder, params)


def _join(study: Study | Multiverse, planned: list[Run]) -> None:
    """Write the study's tables and its figure; raises ``VsdError`` where a run is missing."""
    records = {one.digest: record for one in planned if (record := run_scores.read_run(one.digest))}
    if absent := [one for one in planned if one.digest not in records]:
        raise VsdError(
            f"study {study.name}: {len(absent)} of {len(planned)} runs are not there, the first is "
            f"{absent[0].variant!r}, seed {absent[0].seed}. `vsd study {study.name}` makes them"
        )
    if isinstance(study, Multiverse):
        _join_multiverse(study, planned, records)
    else:
        _join_variants(study, planned, records)


def _join_variants(study: Study, planned: list[Run], records: Records) -> None:
    scores = tables.variant_scores(study, planned, records)
    variants = [
        f"{name}: {', '.join(variant.overrides) or 'no override'}; answers of {variant.system}"
        for name, variant in study.variants.items()
    ]
    differences = tables.difference_table(study, tables.differences(study, scores))
    costs = tables.cost_table(study, planned, records)
    own_skill = sorted({record["places"]["definition"] for record in records.values() if "places" in record})
    line = _line(study, planned, records)
    for name, title, table, notes in (
        (study.name, "", tables.score_table(study, scores), [_MEAN, *_about(study, variants, study.scores)]),
        (f"{study.name}_differences", " Differences", differences, [_TEST.format(study.reference)]),
        (f"{study.name}_cost", " Cost", costs, [_COST, *own_skill]),
    ):
        report_tables.write(name, study.question + title, table, [*notes, line], STUDY_REPORTS)
    figures.save(figure.draw(study, scores), study.name, f"{study.question} {_MEAN} {line}", STUDY_REPORTS)
    print(f"written: {STUDY_REPORTS / study.name}.md, .csv, .tex, .png; _differences, _cost")


_MEAN = "Mean over seeds; in brackets its 95 % bootstrap interval over images; ±: standard deviation over seeds."
_TEST = (
    "Minus {!r}; in brackets the 95 % interval over images; p two-sided, by the paired bootstrap over images of the "
    "means over seeds, after Holm over this table; * below 0.05. A star is about other images with these trained "
    "models; whether other seeds would show it, the ± of the scores says."
)
_EFFECT = (
    "Mean of the eight runs at a factor's second level minus that of the eight at its first; in brackets its share of "
    "the variance between runs; *: larger than Lenth's simultaneous margin of error (1989), 95 % an outcome, if few "
    "effects are real, and of these test images. Sixteen runs, each with a seed of its own, in which every pair of "
    "factors' levels meets equally often; a factor's effect may be mixed up with three others together."
)
_RUN = "In brackets 95 % bootstrap intervals over images. A difference of two systems is of the same images."
_COST = (
    "Seconds: mean over the runs that made the stage; GiB: their largest. Describe is the base model, the adapter and "
    "the adapter shown blank images together. Empty: DVC had it from before."
)


def _join_multiverse(study: Multiverse, planned: list[Run], records: Records) -> None:
    found = effects.effects(study, planned, records)
    factors = [
        f"{name}: " + "; ".join(f"{level} ({', '.join(its) or 'no override'})" for level, its in levels.items())
        for name, levels in study.factors.items()
    ]
    notes = _about(study, factors, [one.score for one in study.outcomes.values()])
    line = _line(study, planned, records)
    report_tables.write(
        study.name, study.question, effects.effect_table(study, found), [_EFFECT, *notes, line], STUDY_REPORTS
    )
    rows = effects.run_table(study, planned, found, records)
    report_tables.write(f"{study.name}_runs", study.question + " The runs", rows, [_RUN, *notes, line], STUDY_REPORTS)
    figures.save(effects.draw(study, found), study.name, f"{study.question} {_EFFECT} {line}", STUDY_REPORTS)
    print(f"written: {STUDY_REPORTS / study.name}.md, .csv, .tex, .png; _runs")


def _line(study: Study | Multiverse, planned: Sequence[Run], records: Records) -> str:
    """Say what made the numbers: profile, seeds, overrides, images, and digests of code, base model and data."""
    made = {name: sorted({records[one.digest][name] for one in planned}) for name in ("code", "base", "train")}
    several = f" (of {len(made['code'])} versions)" if len(made["code"]) > 1 else ""
    systems = [one.of for one in study.outcomes.values()] if isinstance(study, Multiverse) else [planned[0].system]
    images = sorted({records[planned[0].digest]["images"][system][0] for system in systems})
    return (
        f"Profile {study.profile}; {study.seed} {', '.join(map(str, sorted({one.seed for one in planned})))}; "
        f"overrides of all variants: {', '.join(study.overrides) or 'none'}. The same "
        f"{' or '.join(f'{count:,}' for count in images)} test images for all. Code of the stages sha256 "
        f"{', '.join(made['code'])}{several}; base model {', '.join(made['base'])}; training data "
        f"{', '.join(made['train'])}."
    )


def _about(study: Question, variants: Sequence[str], scores: Sequence[str]) -> list[str]:
    """Say what follows, what was varied, and what the scores mean."""
    meanings = definitions(1, 2)
    said = [("What follows", study.follows), ("What does not", study.does_not_follow)]
    return [
        *(f"{name}: {text}" for name, text in said if text),
        *variants,
        *(f"{score}: {meanings[score.split('.')[0]][score.split('.')[1]]}" for score in dict.fromkeys(scores)),
    ]
