"""The rehearsal is the paper's run: in its parameters, and on real photos with real boxes and relations."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from project import Project

from vsd_utils.commands import preflight
from vsd_utils.common.files import read_jsonl, write_json
from vsd_utils.common.paths import ROOT, annotation_file
from vsd_utils.common.profiles import compose
from vsd_utils.common.sections import Params
from vsd_utils.data import vrd
from vsd_utils.planning import gpu_hours
from vsd_utils.planning.run_costs import run_costs

REAL_PHOTOS = ROOT.parent / "shared" / "vrd"
# What a rehearsal is less of: the models' source and size, the share of the data, the numbers of steps.
LESS = {
    "profile",
    *("fetch.source", "fetch.scenes", "fetch.images", "base.source", "base.billions", "base.shrunk"),
    *("refiner.source", "refiner.billions", "refiner.shrunk"),
    *("finetune.max_steps", "finetune.eval_steps", "finetune.save_steps", "finetune.val_rows"),
    *("describe.limit", "refine.items", "evaluate.resamples"),
    "refine.ask_hopeless",  # more, so that the refiner has something to rewrite: no relation can be read in noise
}


def flat(tree: dict[str, Any], before: str = "") -> dict[str, Any]:
    """A section's values by dotted name; ``scenes`` and ``shrunk`` as a whole."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        whole = not isinstance(value, dict) or name in ("scenes", "images", "shrunk")
        found |= {f"{before}{name}": value} if whole else flat(value, f"{before}{name}.")
    return found


def test_a_rehearsal_differs_from_the_paper_in_size_alone() -> None:
    paper, rehearsal = (flat(compose([f"profile={name}"])) for name in ("paper", "rehearsal"))
    assert {name for name in paper if paper[name] != rehearsal[name]} == LESS
    assert paper.keys() == rehearsal.keys()


def test_the_paper_for_one_card_of_24_gb_fits_there() -> None:
    params = Params.model_validate(compose(["profile=paper_24gb"]))
    assert gpu_hours.too_large(run_costs(params), gpu_hours.find_gpu("RTX 4090")) == []
    paper, small = (flat(compose([f"profile={name}"])) for name in ("paper", "paper_24gb"))
    batch = "finetune.per_device_train_batch_size", "finetune.gradient_accumulation_steps"
    assert paper[batch[0]] * paper[batch[1]] == small[batch[0]] * small[batch[1]]
    # Which commit to take is for the user to say, before any work.
    assert small["base.revision"] is None
    asked = [problem for problem in preflight.problems(params) if "revision" in problem]
    assert [problem.split(" ")[0] for problem in asked] == ["base.revision"]
    assert "/commits/main" in asked[0]


def vsd_items(folder: Path) -> Iterator[dict[str, Any]]:
    """The photos' annotations in VSD's format: each pair with its relation, and captions invented by a template."""
    for image in vrd.load(folder).images:
        if (folder / "photos" / image.item.img_id).is_file():
            triples = {(triple.s, triple.o): triple.model_dump(mode="json") for triple in image.item.triple_list}
            first = next(iter(triples.values()))
            forms = ("{s} {p} {o}.", "there is a {s} {p} the {o}.", "the {s} is {p} the {o}.")
            captions = [f"invented: {form.format(**first)}" for form in forms]
            yield {"img_id": image.item.img_id, "triple_list": list(triples.values()), "captions": captions}


@pytest.mark.rehearsal
def test_it_runs_on_real_photos(tmp_path: Path) -> None:
    if not REAL_PHOTOS.is_dir():
        pytest.skip(f"no photos at {REAL_PHOTOS}")
    items = list(vsd_items(REAL_PHOTOS))
    assert len(items) >= 24
    parts = {"train": items[:-4], "val": items[-4:-2], "test": items[-2:]}
    annotations = tmp_path / "annotations"
    for split, part in parts.items():
        write_json(annotation_file(1, split, annotations), part)
        long = [item | {"captions": [f"invented: in this photo {item['captions'][2][10:]}"]} for item in part]
        write_json(annotation_file(2, split, annotations), long)
    project = Project.of_this_checkout(tmp_path / "checkout")
    few = ["finetune.max_steps=1", "finetune.gradient_accumulation_steps=1", "finetune.val_rows=1"]
    few += ["describe.limit=1", "describe.max_new_tokens=[2,2,4]", "refine.items=1", "refine.candidates=1"]
    few += ["refine.max_new_tokens=4", "evaluate.spice=false", "evaluate.resamples=0"]
    few += ["finetune.dataloader_num_workers=0", "finetune.per_device_train_batch_size=1"]
    folders = [f"fetch.annotations={annotations}", f"fetch.photos={REAL_PHOTOS / 'photos'}"]
    project.run("python", "-m", "vsd_utils", "profile", "rehearsal", *few, *folders)
    project.run("dvc", "repro")
    # The photos themselves, at the paper's resolution.
    rows = read_jsonl(project.folder / "data/samples/train/samples.jsonl")
    assert {row["id"] for row in rows} == {item["img_id"] for item in parts["train"]}
    tokens = project.json("data/conversations/statistics.json")["tokens"]["image"]
    assert 1_900 < tokens["median"] <= tokens["maximum"] <= 2_928
    assert len(read_jsonl(project.folder / "data/predictions/lora.jsonl")) >= 3
    # No relation can be read in the stand-in's noise, and the refiner is asked to rewrite it all the same.
    [noise] = read_jsonl(project.folder / "data/refined/lora_refined.jsonl")
    assert noise["reason"] == "unclear_original"
    assert noise["readable_answers"] + sum(noise["unreadable_answers"].values()) == 1
    timings = project.run("python", "-m", "vsd_utils", "timings")
    assert "fine-tuning" in timings
    assert "evaluate" in timings
    main = (project.folder / "reports/tables/main.md").read_text()
    assert "stand-in" in main
    shutil.rmtree(project.folder / "models")
