"""Work out what a whole run takes: by stage its operations, the bytes it reads from memory, and what has to fit.

Each number says where it is from: counted on files, arithmetic, an estimate, or an assumption. Nothing was measured.
"""

import math
from typing import Any, NamedTuple

from vsd_utils.common.errors import VsdError
from vsd_utils.common.paths import BASE_MODEL
from vsd_utils.common.sections import Finetune, Params
from vsd_utils.data.splits import source_files
from vsd_utils.data.token_counts import best_grid, image_tokens
from vsd_utils.models.checkpoint import NAME, read_pointer
from vsd_utils.planning import costs
from vsd_utils.planning.batches import Batches, batches
from vsd_utils.planning.costs import PHOTO_BYTES, PICTURE_BYTES, SAVED_TRAINED_BYTES
from vsd_utils.planning.workload import Workload, workload

SYSTEMS = 3  # that describe asks: base, adapter, adapter with blank images
REFINE_TOKENS = {
    "set": (220, 70),
    "sentence": (110, 20),
    "grammar": (0, 0),
}  # of a chat and of its answer, by prompt; estimates


class Number(NamedTuple):
    """Hold one line of a plan: what, how much, and where that is from."""

    name: str
    value: float
    unit: str
    source: str


class Stage(NamedTuple):
    """Hold what a stage takes of the GPUs: operations, bytes read while it writes text, bytes that have to fit."""

    operations: float
    read: float
    memory: float


class RunCosts(NamedTuple):
    """Hold the numbers of a run for a reader, and by stage (finetune, describe, refine) what hours follow from."""

    numbers: list[Number]
    stages: dict[str, Stage]
    work: Workload


class _Inputs(NamedTuple):
    """Hold what every stage is reckoned from: parameters, model, work, and means over the photos."""

    params: Params
    model: costs.VisionLanguage
    work: Workload
    image_tokens: list[int]
    tiles: float

    @property
    def image(self) -> float:
        return sum(self.image_tokens) / len(self.image_tokens)

    @property
    def prefix(self) -> float:
        """Count what all conversations about a picture begin with: the text before it and the picture."""
        return self.image + self.work.text_before

    @property
    def longest(self) -> float:
        return max(self.image_tokens) + max(self.work.text_tokens.values())


def run_costs(params: Params, work: Workload | None = None) -> RunCosts:
    """Work out a run's numbers from its parameters and from the annotations and photos that are at hand.

    ``work`` is given where it has been counted before. Raises ``VsdError`` for a base model that is made here, and for
    a model without a committed configuration.
    """
    if params.base.source not in ("hub", "folder"):
        raise VsdError(
            f"profile {params.profile}: its base model is made here within minutes, so there is nothing to plan. "
            "Name a profile with a pretrained model: vsd plan profile=paper"
        )
    model = costs.vision_language(costs.configuration(params.base.source, params.base.name))
    work = work or workload(source_files(params.fetch), params.fetch, params.convert, _tokenizer(params))
    tokens = [image_tokens(size, model.tile, model.patch, model.grids) for size in work.sizes]
    grids = [best_grid(size, model.grids) for size in work.sizes]
    tiles = sum(1 + height * width // model.tile**2 for height, width in grids) / len(grids)
    inputs = _Inputs(params, model, work, tokens, tiles)
    made = {"finetune": _finetune(inputs), "describe": _describe(inputs), "refine": _refine(inputs)}
    stages = {name: stage for name, (stage, _) in made.items()}
    numbers = [*_work_numbers(inputs), *(number for _, found in made.values() for number in found)]
    numbers += [
        Number(f"GPU memory of {name}", stage.memory / 2**30, "GiB", "arithmetic; not measured on a GPU")
        for name, stage in stages.items()
    ]
    return RunCosts([*numbers, *_disk_numbers(inputs)], stages, work)


def _finetune(inputs: _Inputs) -> tuple[Stage, list[Number]]:
    settings, work, conversations = inputs.params.finetune, inputs.work, inputs.work.conversations["train"]
    # 1. Steps, and how often they go over the data.
    made = batches(settings, sum(conversations.values()), work.pictures, inputs.params.finetune_seed)
    rows = made.in_batch * settings.gradient_accumulation_steps * inputs.params.processes
    steps = settings.max_steps if settings.max_steps > 0 else math.ceil(made.rows / rows) * settings.num_train_epochs
    passes = steps * rows / made.rows
    # 2. Tokens and operations of those: of pictures with the text before them, and of what stands behind.
    r, recomputed, before = settings.r, settings.activation_checkpointing, inputs.prefix
    tokens = passes * made.pictures * before
    operations = passes * made.pictures * costs.training_operations(inputs.model, before, inputs.tiles, r, recomputed)
    for task, count in conversations.items():
        behind = work.text_tokens[task] - work.text_before
        tokens += passes * count * behind
        operations += passes * count * costs.training_operations(inputs.model, behind, 0, r, recomputed, before)
    # 3. The base model's weights, those that are trained with optimizer, and one batch's activations.
    most = made.most_tokens(max(inputs.image_tokens), work.text_before, max(work.text_tokens.values()))
    memory = costs.finetune_bytes(inputs.model.decoder, inputs.params.base, settings, most)
    return Stage(operations, 0.0, memory), [
        *_batch_numbers(inputs, made),
        Number("optimizer steps", math.ceil(steps), "", f"arithmetic: {_rows(settings, rows)} a step"),
        *_token_numbers(inputs, tokens, passes),
        Number("operations of finetune", operations / 1e18, "10^18", "arithmetic"),
    ]


def _rows(settings: Finetune, rows: int) -> str:
    if settings.packing == "none":
        return f"{rows} rows"
    return f"{rows} pack{'s' if rows > 1 else ''}"


def _batch_numbers(inputs: _Inputs, made: Batches) -> list[Number]:
    """Say what packing makes of the conversations; nothing where each is a row of its own."""
    if inputs.params.finetune.packing == "none":
        return []
    conversations, pictures = sum(inputs.work.conversations["train"].values()), len(inputs.work.pictures)
    source, mean = inputs.work.sources["pictures"], "arithmetic on the packs"
    most = f"at most {made.most_conversations}"
    return [
        Number("packs, each a batch", made.rows, "", source),
        Number(f"conversations in a pack, {most}", conversations / made.rows, "mean", mean),
        Number("pictures in a pack", made.pictures / made.rows, "mean", mean),
        Number("pictures in a pack", made.most_pictures, "most", source),
        Number("times that a picture is read", made.pictures / pictures, "mean", "arithmetic: once for each pack"),
    ]


def _token_numbers(inputs: _Inputs, tokens: float, passes: float) -> list[Number]:
    """Say how many tokens a training reads and, with packing, how many they would be without."""
    said = Number("training tokens", tokens / 1e6, "million", "arithmetic: image and text of each conversation")
    if inputs.params.finetune.packing == "none":
        return [said]
    counted = inputs.work.conversations["train"]
    alone = passes * sum(count * (inputs.image + inputs.work.text_tokens[task]) for task, count in counted.items())
    return [
        said._replace(source=f"arithmetic: a picture read once for a pack, {alone / tokens:.2f} times fewer"),
        Number("training tokens with packing none", alone / 1e6, "million", said.source),
    ]


def _describe(inputs: _Inputs) -> tuple[Stage, list[Number]]:
    settings, text, work = inputs.params.describe, inputs.model.decoder, inputs.work
    weights = costs.weight_bytes(inputs.params.base.billions, settings.quantization, settings.dtype)
    share = min(1.0, settings.limit / work.images["test"]) if settings.limit else 1.0
    # A picture, one for each triple, is read once for all its questions; what follows it, once for each.
    of_picture = costs.generation_operations(text, inputs.prefix, 0)
    vision = inputs.tiles * inputs.model.tile_operations
    operations = SYSTEMS * share * work.triples["test"] * (of_picture + vision)
    read = asked = 0.0
    for task, new in enumerate(settings.max_new_tokens, 1):
        rows = SYSTEMS * share * (work.triples["test"] if task == 1 else work.images["test"])
        tokens = inputs.image + work.text_tokens[task]
        operations += rows * (costs.generation_operations(text, tokens, new) - of_picture)
        # Each new token reads the weights once a batch, and the keys and values of its own row.
        read += rows * new * (weights / settings.batch_size + tokens * text.cache_bytes)
        asked += rows
    cache = settings.batch_size * (inputs.longest + max(settings.max_new_tokens)) * text.cache_bytes
    return Stage(operations, read, weights + cache), [
        Number("questions asked", round(asked), "", f"arithmetic: {SYSTEMS} systems, three tasks"),
        Number("operations of describe", operations / 1e18, "10^18", "arithmetic: answers as long as allowed"),
    ]


def _refine(inputs: _Inputs) -> tuple[Stage, list[Number]]:
    settings, refiner, images = inputs.params.refine, inputs.params.refiner, inputs.work.images["test"]
    if refiner.source == "package":
        return Stage(0.0, 0.0, 0.0), []
    text = costs.decoder(costs.configuration(refiner.source, refiner.name))
    weights = costs.weight_bytes(refiner.billions, settings.quantization, settings.dtype)
    asked, written = REFINE_TOKENS[settings.prompt]
    chats = min(settings.items or images, images) * (1 if settings.prompt == "set" else 3)
    rewrites, at_once = chats * settings.candidates, settings.batch_size * settings.candidates
    operations = rewrites * costs.generation_operations(text, asked, written)
    read = rewrites * written * (weights / at_once + asked * text.cache_bytes)
    memory = weights + at_once * (asked + settings.max_new_tokens) * text.cache_bytes
    return Stage(operations, read, memory), [
        Number("rewrites drawn", rewrites, "", "arithmetic"),
        Number("operations of refine", operations / 1e18, "10^18", f"estimate: {asked} tokens read, {written} written"),
    ]


def _work_numbers(inputs: _Inputs) -> list[Number]:
    work, tokens = inputs.work, inputs.image_tokens
    counted, text, photos = (work.sources[name] for name in ("conversations", "text", "images"))
    tasks = work.conversations["train"]
    return [
        *(Number(f"images, {split}", count, "", counted) for split, count in work.images.items()),
        *(Number(f"training conversations, task {task}", count, "", counted) for task, count in tasks.items()),
        Number("training conversations, all (the paper: 121,339)", sum(tasks.values()), "", counted),
        Number("training pictures, a pair's boxes drawn on each", len(work.pictures), "", counted),
        *(Number(f"text tokens, task {task}", count, "mean", text) for task, count in work.text_tokens.items()),
        Number("image tokens", inputs.image, "mean", photos),
        Number("image tokens", min(tokens), "fewest", photos),
        Number("image tokens", max(tokens), "most", photos),
    ]


def _disk_numbers(inputs: _Inputs) -> list[Number]:
    work, params = inputs.work, inputs.params
    photos = sum(work.images.values()) * PHOTO_BYTES
    pictures = sum(work.triples.values()) * PICTURE_BYTES
    weights = sum(2e9 * model.billions for model in (params.base, params.refiner) if model.source == "hub")
    tuned = SAVED_TRAINED_BYTES * inputs.model.decoder.trained(params.finetune.r)
    return [
        Number("disk: photos", photos / 1e9, "GB", f"estimate: {PHOTO_BYTES / 1e3:.0f} kB a photo"),
        Number("disk: pictures with boxes", pictures / 1e9, "GB", f"estimate: {PICTURE_BYTES / 1e3:.0f} kB a picture"),
        Number("disk: weights of both models", weights / 1e9, "GB", "arithmetic: two bytes a weight"),
        Number("disk: adapter and checkpoints", tuned / 1e9, "GB", f"arithmetic: {SAVED_TRAINED_BYTES} bytes a weight"),
    ]


def _tokenizer(params: Params) -> Any:
    """Load the base model's tokenizer where the base stage has put that of this very model; else None."""
    from tokenizers import Tokenizer

    if not (BASE_MODEL / "tokenizer.json").is_file() or not (BASE_MODEL / NAME).is_file():
        return None
    if read_pointer(BASE_MODEL).name_or_path != params.base.name:
        return None
    return Tokenizer.from_file(str(BASE_MODEL / "tokenizer.json"))
