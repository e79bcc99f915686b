"""Measure how much memory the stages take beside the model: the index of all images, training, answers.

    python benchmarks/memory/measure.py --output benchmarks/memory/result.json

Each part runs in a process of its own, which notes its resident memory when libraries and model are loaded, and its
peak at the end. The images are synthetic, as many as the authors have, each of 64 x 48 pixels; the model is the tiny
one of profile mini, untrained.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

IMAGES = {"train": 20_490, "val": 2_927, "test": 5_855}
STEPS, ANSWERS = 50, 200
LIMIT_GB = 2.0
RELATIONS = ("on", "in", "next to", "under", "above", "behind", "in front of", "to the left of", "to the right of")


def annotated_image(number: int) -> dict[str, Any]:
    """Make one image of the authors' format; captions and triples as many as they have on average."""
    relation = RELATIONS[number % 9]
    triple = {"s": "red ball", "o": "box", "p": relation, "s_bbox": [2, 20, 2, 20], "o_bbox": [22, 46, 22, 60]}
    captions = [f"the red ball is {relation} the box, version {each}." for each in range(6)]
    return {"img_id": str(number), "triple_list": [triple], "captions": captions}


def write_images(folder: Path) -> None:
    """Write the six annotation files and a photo for each image."""
    from PIL import Image

    from vsd_utils.common.paths import annotation_file

    (folder / "photos").mkdir()
    number = 0
    for split, count in IMAGES.items():
        items = [annotated_image(each) for each in range(number, number + count)]
        for version in (1, 2):
            path = annotation_file(version, split, folder)
            path.parent.mkdir(exist_ok=True)
            path.write_text(
                json.dumps([{**item, "captions": item["captions"][: 6 if version == 1 else 1]} for item in items])
            )
        for each in range(number, number + count):
            colour = (each % 256, each // 256 % 256, 128)
            Image.new("RGB", (64, 48), colour).save(folder / "photos" / f"{each}.png")
        number += count


def index(folder: Path) -> Callable[[], None]:
    """Prepare the index: annotations checked and every photo decoded, as stage fetch does."""
    from vsd_utils.common.profiles import compose
    from vsd_utils.common.sections import Fetch
    from vsd_utils.data.admission import survey

    content = compose(["profile=paper"])["fetch"]
    settings = Fetch(**content | {"annotations": str(folder), "photos": str(folder / "photos")})

    def work() -> None:
        admission, problems = survey(settings, every_pixel=True, seed=0)
        assert not problems, problems
        assert sum(map(len, admission.usable.values())) == sum(IMAGES.values())

    return work


def loaded(folder: Path) -> tuple[Any, Any, list[dict[str, Any]], Any]:
    """Make and load the tiny model, and questions about 200 images."""
    import torch

    from vsd_utils.common.profiles import compose
    from vsd_utils.common.sections import Params
    from vsd_utils.data.prompts import TASKS, question
    from vsd_utils.miniature.model import architecture
    from vsd_utils.models import vision_language
    from vsd_utils.models.checkpoint import Pointer, write_pointer

    params = Params.model_validate(compose(["profile=mini"]))
    torch.set_num_threads(1)
    base = folder / "base"
    tokenizer = architecture.make_tokenizer(
        [question(task, "red ball", "box") for task in TASKS] * 3, params.base.tiny.tokens
    )
    architecture.make_model(tokenizer, params.base.tiny, seed=0).save_pretrained(base)
    architecture.make_processor(tokenizer, params.base.tiny).save_pretrained(base)
    write_pointer(base, Pointer(name_or_path=".", revision=None, source="trained", sha256={}))
    asked = [
        {
            "id": str(each),
            "task": each % 3 + 1,
            "image": f"{each}.png",
            "prompt": question(each % 3 + 1, "red ball", "box"),
        }
        for each in range(ANSWERS)
    ]
    return vision_language.load_model("float32", "none", base), vision_language.load_processor(base), asked, params


def train(folder: Path) -> Callable[[], None]:
    """Prepare 50 steps of profile mini: LoRA on batches of 16 rows."""
    from vsd_utils.finetune.dataset import trainer_data
    from vsd_utils.finetune.packing.attention import use_shared_image_attention
    from vsd_utils.finetune.recipe import SHARED_IMAGE, finetune_recipe
    from vsd_utils.finetune.trainer import finetuner, train_to_the_end

    model, processor, asked, params = loaded(folder)
    rows = [
        {
            "image": row["image"],
            "prompt": [{"role": "user", "content": row["prompt"]}],
            "completion": [{"role": "assistant", "content": "the red ball is on the box."}],
        }
        for row in asked
    ]
    values = params.finetune.model_dump() | {
        "seed": 0,
        "max_steps": STEPS,
        "dataloader_num_workers": 0,
        "save_steps": 25,
    }
    data = trainer_data({"train": rows, "val": rows[:16]}, folder / "photos", processor, values)
    if values["packing"] == SHARED_IMAGE:
        use_shared_image_attention(model)
    trainer = finetuner(model, processor, data, finetune_recipe(values, folder / "work"))

    def work() -> None:
        train_to_the_end(trainer)
        assert trainer.state.global_step == STEPS

    return work


def answer(folder: Path) -> Callable[[], None]:
    """Prepare 200 answers in the batches of profile paper, with the lengths of profile mini."""
    from vsd_utils.common.profiles import compose
    from vsd_utils.models import answering

    model, processor, asked, params = loaded(folder)
    size = compose(["profile=paper"])["describe"]["batch_size"]
    lengths = params.describe.max_new_tokens
    settings = answering.Settings(batch_size=size, max_new_tokens=lengths, system_prompt="none", task1="generate")

    def work() -> None:
        rows = answering.answer(model.eval(), processor, asked, folder / "photos", folder / "answers.jsonl", settings)
        assert len(rows) == ANSWERS

    return work


PARTS = {"index": index, "train": train, "answer": answer}


def one_part(name: str, folder: Path) -> dict[str, float]:
    """Do one part in this process; returns the resident memory before it and the process's peak, in GB (10^9 bytes)."""
    work = PARTS[name](folder)
    before = psutil.Process().memory_info().rss
    work()
    unit = 1 if sys.platform == "darwin" else 1024
    return {"loaded": before / 1e9, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9}


def main() -> int:
    """Measure all parts and write the record; the exit status is 1 where one takes more than the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        print(json.dumps(one_part(given.part, given.folder)))
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder)
        record: dict[str, Any] = {
            "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}"
        }
        for part in PARTS:
            command = [sys.executable, __file__, "--part", part, "--folder", name]
            said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            gb = json.loads(said.splitlines()[-1])
            record[part] = {
                key: round(value, 3) for key, value in {**gb, "difference": gb["peak"] - gb["loaded"]}.items()
            }
            print(part, record[part], flush=True)
    if given.output:
        given.output.write_text(json.dumps(record, indent=1) + "\n")
    return int(any(record[part]["difference"] >= LIMIT_GB for part in PARTS))


if __name__ == "__main__":
    sys.exit(main())
