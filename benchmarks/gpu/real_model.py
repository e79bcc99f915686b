"""Train and ask a model of the paper's exact configuration, with random weights, and set the plan beside it.

    python benchmarks/gpu/real_model.py --output result.json          # one GPU of 80 GB, under ten minutes
    python benchmarks/gpu/real_model.py --shrunk --steps 3 --output check.json  # the script itself, on a CPU

Speed and memory do not depend on what the weights are. Data: drawn scenes of 640 x 480 pixels, 2,340 image tokens each,
with the paper's questions and answers, each picture read once (finetune.packing=shared_image). Reported: examples a
second over the steady steps, the rate of operations that this means against a large matrix product of the same run,
peak memory, answers a second, and the plan's numbers.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration, TrainerCallback

from vsd_utils.common.profiles import compose
from vsd_utils.common.sections import Params, Shrunk
from vsd_utils.data.conversations import converse, training_row
from vsd_utils.data.images import draw_boxes
from vsd_utils.data.prompts import IMAGE
from vsd_utils.data.samples import PicturedTriple, Sample
from vsd_utils.finetune.dataset import trainer_data
from vsd_utils.finetune.packing.attention import use_shared_image_attention
from vsd_utils.finetune.recipe import SHARED_IMAGE, finetune_recipe
from vsd_utils.finetune.trainer import make_trainer
from vsd_utils.miniature.model.architecture import make_tokenizer
from vsd_utils.miniature.model.stand_ins import published_processor, smaller_config
from vsd_utils.miniature.scenes.dataset import captions
from vsd_utils.miniature.scenes.scene import compose as compose_scene
from vsd_utils.miniature.scenes.scene import render
from vsd_utils.models.answering import complete, encode
from vsd_utils.models.loading import device
from vsd_utils.planning import costs

WARM_UP = 3  # steps before the steady ones
SIZE = (640, 480)
SCENES = 48


class Clock(TrainerCallback):
    """Notes when each step ends."""

    def __init__(self) -> None:
        """Start with no step."""
        self.ends: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Wait for the device, then note the time."""
        _wait()
        self.ends.append(time.perf_counter())


def main() -> None:
    """Measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=30, help="steady steps")
    parser.add_argument("--shrunk", action="store_true", help="a small model of the same classes, to try the script")
    given = parser.parse_args()
    params = Params.model_validate(compose(["profile=paper", f"finetune.max_steps={WARM_UP + given.steps}"]))
    with tempfile.TemporaryDirectory() as folder:
        record = measure(params, given.shrunk, Path(folder))
    given.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


def measure(params: Params, shrunk: bool, folder: Path) -> dict[str, Any]:
    """Make model and rows, train, ask, and compare."""
    settings = params.finetune
    config = costs.configuration("hub", params.base.name)
    # 1. Rows as the convert stage makes them.
    samples = [_sample(number, folder) for number in range(SCENES)]
    conversations = [row for sample in samples for row in converse(sample, params.convert.task2_captions)]
    rows = [training_row(row, params.convert.system_prompt) for row in conversations]
    tokenizer = make_tokenizer([f"{row.question} {row.answer}" for row in conversations], 1_000)
    processor = published_processor(config, tokenizer)
    # 2. The exact model, on the device, with random weights in bfloat16.
    if shrunk:
        config = smaller_config(config, Shrunk(width=64, layers=2, heads=4, tokens=1_000), tokenizer)
    else:
        config["image_token_index"] = tokenizer.convert_tokens_to_ids(IMAGE)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device()):
        model = LlavaNextForConditionalGeneration(LlavaNextConfig(**config))
    torch.set_default_dtype(torch.float32)
    weights = sum(weight.numel() for weight in model.parameters())
    # 3. The recipe, but for validation and checkpoints; each picture is read once for all its conversations.
    values = {**settings.model_dump(), "seed": params.seed}
    recipe = finetune_recipe(values, folder / "work")
    recipe.training.eval_strategy = recipe.training.save_strategy = "no"
    data = trainer_data({"train": rows, "val": rows[:1]}, folder, processor, values)._replace(val=None)
    assert settings.packing == SHARED_IMAGE  # what is counted below is of packs
    use_shared_image_attention(model)
    trainer = make_trainer(model, processor, recipe.training, data, lora=recipe.peft_config(model))
    clock = Clock()
    trainer.add_callback(clock)
    trainer.train()
    seconds = clock.ends[-1] - clock.ends[WARM_UP - 1]
    # Over all packs several times, so the mean of them is what a step holds.
    batch = len(rows) / len(data.train) * settings.gradient_accumulation_steps
    examples = (len(clock.ends) - WARM_UP) * batch / seconds
    peak = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None
    # 4. What the plan says of the same rows.
    sizes = costs.vision_language(config)
    row = max(trainer.data_collator([one])["input_ids"].shape[1] for one in data.train)
    # All tokens over all pictures: a picture with what is said about it, as if that were one conversation.
    tokens = sum(trainer.data_collator([one])["input_ids"].shape[1] for one in data.train) / SCENES
    operations = costs.training_operations(sizes, tokens, 5, settings.r, settings.activation_checkpointing)
    operations /= len(rows) / SCENES
    planned = costs.finetune_bytes(sizes.decoder, params.base, settings, row)
    product = _product_rate()
    record = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "torch": torch.__version__,
        "weights": weights,
        "packing": settings.packing,
        "conversations a step": batch,
        "steady steps": len(clock.ends) - WARM_UP,
        "tokens of a batch, at most": row,
        "tokens of a picture with its conversations": tokens,
        "examples a second": examples,
        "operations a second of training, 10^12": examples * operations / 1e12,
        "operations a second of a matrix product, 10^12": product / 1e12,
        "share of the matrix product": examples * operations / product,
        "peak memory, GiB": peak,
        "planned memory, GiB": planned / 2**30,
    }
    return record | _ask(trainer.model, processor, samples, folder, params)


def _ask(model: Any, processor: Any, samples: list[Sample], folder: Path, params: Params) -> dict[str, Any]:
    from vsd_utils.data.photos import open_photo
    from vsd_utils.models.answering import questions

    model.eval()
    asked = [row for row in questions(samples) if row["task"] == 2][: params.describe.batch_size]
    new = params.describe.max_new_tokens[1]
    times = []
    for _ in range(3):
        pictures = [open_photo(folder / row["image"]) for row in asked]
        inputs = encode(processor, pictures, [row["prompt"] for row in asked], params.convert.system_prompt)
        _wait()
        start = time.perf_counter()
        complete(model, processor, inputs, new)
        _wait()
        times.append(time.perf_counter() - start)
    return {"answers a second": len(asked) / min(times), "answers in a batch": len(asked), "new tokens": new}


def _sample(number: int, folder: Path) -> Sample:
    scene = compose_scene(0, "train", number)
    scale = SIZE[0] / 256
    boxes = [tuple(round(edge * scale) for edge in box) for box in (scene.subject_bbox, scene.object_bbox)]
    name = f"{number}.jpg"
    draw_boxes(render(scene, SIZE), boxes[0], boxes[1], 0.006).save(folder / name, "JPEG", quality=92, subsampling=0)
    triple = PicturedTriple(
        subject=scene.subject,
        object=scene.object,
        relation=scene.relation,
        subject_bbox=boxes[0],
        object_bbox=boxes[1],
        image=name,
    )
    short, long = captions(scene)
    return Sample(id=str(number), size=SIZE, triples=(triple,), captions_v1=tuple(short), captions_v2=tuple(long))


def _product_rate(width: int = 8_192) -> float:
    """Measure the operations a second of a large bfloat16 matrix product; a smaller one on a CPU."""
    width = width if torch.cuda.is_available() else 1_024
    left, right = (torch.randn(width, width, dtype=torch.bfloat16, device=device()) for _ in range(2))
    for _ in range(3):
        left @ right
    _wait()
    start = time.perf_counter()
    for _ in range(20):
        left @ right
    _wait()
    return 20 * 2 * width**3 / (time.perf_counter() - start)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
