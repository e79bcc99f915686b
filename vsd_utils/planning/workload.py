"""Say how much work a run has before any of it is done: conversations, text tokens and image tokens.

What is counted on the annotation files is exact. A split whose files are not there is reckoned from the sizes of the
authors' splits and from what their validation files hold; text without the real tokenizer is estimated from words. Each
number carries where it is from.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vsd_utils.common.errors import VsdError
from vsd_utils.common.paths import user_path
from vsd_utils.common.progress import steps
from vsd_utils.common.sections import Convert, Fetch
from vsd_utils.data import photos
from vsd_utils.data.annotations import Versions, read_versions
from vsd_utils.data.conversations import Conversation, converse
from vsd_utils.data.prompts import SYSTEM_PROMPTS, TASKS
from vsd_utils.data.samples import outline
from vsd_utils.data.splits import AUTHORS_IMAGES
from vsd_utils.planning.batches import spread, usual_conversations, usual_pictures

# Mean words of question and answer on the authors' validation files, by task.
VAL_WORDS = {1: 42.5, 2: 26.5, 3: 52.0}
TOKENS_A_WORD = 1.35  # of a tokenizer of 32,000 entries on such text; a guess where the tokenizer is not at hand
USUAL_SIZE = (500, 375)  # of a photo, in pixels: 4:3, the most frequent shape of Visual Genome


class Workload(NamedTuple):
    """Hold a run's numbers: by split images and triples, conversations by split and task, mean tokens, and sources.

    ``pictures``: conversations about each training picture, one a triple, in the order of the file; ``text_tokens``:
    question, answer and template, by task, of which ``text_before`` stand before the picture; ``sizes``: width and
    height of photos; ``sources``: where "conversations", "pictures", "text" and "images" are from.
    """

    images: dict[str, int]
    triples: dict[str, int]
    conversations: dict[str, dict[int, int]]
    pictures: list[int]
    text_tokens: dict[int, float]
    text_before: float
    sizes: list[tuple[int, int]]
    sources: dict[str, str]


def workload(files: dict[str, tuple[Path, Path]], fetch: Fetch, convert: Convert, tokenizer: Any = None) -> Workload:
    """Count what the annotation files of each split hold, and reckon the rest.

    ``tokenizer`` is the base model's (``tokenizers.Tokenizer``), None where it is not at hand.
    """
    counted = {split: read_versions(*paths)[0] for split, paths in files.items() if all(map(Path.is_file, paths))}
    rows = {split: _conversations(split, items, convert) for split, items in counted.items()}
    usual = usual_conversations(convert.task2_captions)
    # 1. Images: all of a split, its part of an own split of the val files, at most the share that is asked for.
    own_split = set(files) == {"val"}
    whole = {split: len(counted[split]) if split in counted else AUTHORS_IMAGES[split] for split in AUTHORS_IMAGES}
    shares = fetch.shares.model_dump()
    images = {
        split: round(whole["val"] * shares[split] / sum(shares.values())) if own_split else count
        for split, count in whole.items()
    }
    if fetch.images:
        images = {split: min(count, fetch.images.model_dump()[split]) for split, count in images.items()}
    # Conversations: those of the files, or as many an image as in the files that are there or the authors' val files.
    conversations: dict[str, dict[int, int]] = {}
    for split, count in images.items():
        file = "val" if own_split else split
        tasks = Counter(row.task for row in rows[file]) if file in rows else Counter(usual)
        of = len(counted[file]) if file in counted else AUTHORS_IMAGES["val"]
        conversations[split] = {task: round(count * tasks[task] / of) for task in TASKS}
    triples = {split: tasks[1] for split, tasks in conversations.items()}
    missing = [split for split in files if split not in counted]
    source = "counted on the annotation files" if counted else ""
    if missing:
        source += f"{'; ' if source else ''}{', '.join(missing)} reckoned from the authors' validation files"
    pictures, picture_source = _pictures(rows.get("val" if own_split else "train", []), triples["train"], convert)
    # 2. Tokens of the text.
    text, text_source = _text_tokens([row for split in rows.values() for row in split], convert, tokenizer)
    # 3. Sizes of the photos.
    sizes, size_source = _photo_sizes([item for items in counted.values() for item in items], fetch)
    return Workload(
        images,
        triples,
        conversations,
        pictures,
        text,
        _text_before(convert, tokenizer),
        sizes,
        {"conversations": source, "pictures": picture_source, "text": text_source, "images": size_source},
    )


def _conversations(split: str, items: Sequence[Versions], convert: Convert) -> list[Conversation]:
    samples = (outline(versions, split, USUAL_SIZE) for versions in items)
    return [row for sample in samples for row in converse(sample, convert.task2_captions, convert.task3_captions)]


def _pictures(rows: Sequence[Conversation], number: int, convert: Convert) -> tuple[list[int], str]:
    """Count the conversations about each of ``number`` training pictures; ``rows`` are those of the file, if any."""
    counted = [*Counter(row.image for row in rows).values()]
    if len(counted) == number:
        return counted, "counted: the packs that the training makes"
    if counted:
        return spread(counted, number), "reckoned: evenly spread pictures of the annotation files"
    return spread(usual_pictures(convert.task2_captions), number), "reckoned from the authors' validation files"


def _text_before(convert: Convert, tokenizer: Any) -> float:
    """Count the tokens before a picture: begin token, system prompt and the user's name."""
    text = f"{SYSTEM_PROMPTS[convert.system_prompt]} USER: ".lstrip()
    if tokenizer is None:
        return TOKENS_A_WORD * len(text.split())
    return len(tokenizer.encode(text, add_special_tokens=False).ids) + 1


def _text_tokens(rows: list[Conversation], convert: Convert, tokenizer: Any) -> tuple[dict[int, float], str]:
    frame = f"{SYSTEM_PROMPTS[convert.system_prompt]} USER: \n ASSISTANT: "
    tokens: dict[int, float] = {}
    for task in TASKS:
        texts = [f"{frame}{row.question} {row.answer}" for row in rows if row.task == task]
        if not texts:
            tokens[task] = TOKENS_A_WORD * (VAL_WORDS[task] + len(frame.split()))
        elif tokenizer is None:
            tokens[task] = TOKENS_A_WORD * sum(len(text.split()) for text in texts) / len(texts)
        else:
            encoded = tokenizer.encode_batch(texts, add_special_tokens=False)
            tokens[task] = sum(len(one.ids) for one in encoded) / len(texts) + 2  # begin and end token
    if tokenizer is not None and rows:
        return tokens, "counted with the base model's tokenizer"
    return tokens, f"estimate: {TOKENS_A_WORD} tokens a word, the base model's tokenizer is not at hand"


def _photo_sizes(items: Sequence[Versions], fetch: Fetch) -> tuple[list[tuple[int, int]], str]:
    folder = user_path(fetch.photos) if fetch.photos else None
    if folder is None or not folder.is_dir() or not items:
        width, height = USUAL_SIZE
        return [USUAL_SIZE], f"assumed: all photos {width} x {height}, for none are at hand"
    found = photos.index_photos(folder)
    there = [paths[0] for versions in items if (paths := found.paths.get(versions.v1.img_id))]
    sizes = []
    for path in steps(there, "photos looked at", len(there)):
        try:
            sizes.append(photos.photo_size(folder / path))
        except VsdError:  # the pre-flight tells of it; a plan can do without
            continue
    if not sizes:
        return [USUAL_SIZE], f"assumed: all photos {USUAL_SIZE[0]} x {USUAL_SIZE[1]}, for none are at hand"
    return sizes, f"read from {len(sizes):,} photos"
