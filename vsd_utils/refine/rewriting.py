"""Drawing rewrites from a text-only chat model.

Batches are fixed by the order of the rows and every batch has its own seed, so a run that was killed and resumed gives
the same rows as one that was not. The draw depends on ``batch_size``: the rows of a batch share one random stream.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from transformers import LogitsProcessor, LogitsProcessorList

from vsd_utils.common.errors import VsdError
from vsd_utils.refine.chat_answers import Prompt, read
from vsd_utils.refine.local_model import end_tokens, render
from vsd_utils.refine.selection import check, choose, hopeless, refined

# Each pair is a sentence and a rewrite of it; the second turns the order round, so that the model sees it may.
EXAMPLES = (
    ("the cup is behind the laptop.", "A cup can be seen behind the laptop."),
    ("there is a dog to the right of the car.", "To the right of the car stands a dog."),
)
REFINE_SYSTEM = "Rewrite the sentence."
REFINE_SENTENCE = "Sentence: {sentence}\nSame meaning, other words:"
REFINE_SYSTEM_SET = (
    "You rewrite descriptions of where things are. You keep every fact and both objects' names, add nothing, and vary "
    "wording, word order and sentence structure as much as you can."
)
REFINE_SET = (
    "Three sentences about the same two things, of which this is true: the {subject} is {relation} the {object}.\n"
    "{sentences}\n"
    "Rewrite them as three sentences that are as different from each other as possible. Every one has to say that the "
    "{subject} is {relation} the {object} (or the same from the {object}'s side), and has to use the words "
    '"{subject}" and "{object}". Answer with the three sentences alone, one a line, without numbers.'
)


# transformers' own default for top_k.
_MOST_LIKELY = 50


class _Nucleus(LogitsProcessor):  # type: ignore[misc]
    """Temperature, the 50 most likely tokens, and of these the first that together reach ``top_p``.

    transformers' own top-p sorts the whole vocabulary for every token, a quarter of the time of a small model on a CPU.
    """

    def __init__(self, temperature: float, top_p: float) -> None:
        self.temperature, self.top_p = temperature, top_p

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores of shape (sequences, vocabulary) with all other tokens at minus infinity."""
        values, tokens = (scores / self.temperature).topk(min(_MOST_LIKELY, scores.shape[-1]))
        share = values.softmax(-1)
        values = values.masked_fill(share.cumsum(-1) - share >= self.top_p, float("-inf"))
        return torch.full_like(scores, float("-inf")).scatter(-1, tokens, values)


class Settings(BaseModel):
    """How rewrites are drawn: ``candidates`` for each sentence ("sentence") or for the three together ("set")."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: Prompt
    candidates: int = Field(ge=1)
    temperature: float = Field(gt=0)
    top_p: float = Field(gt=0, le=1)
    max_new_tokens: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    seed: int = Field(ge=0)


def conversations(row: Mapping[str, Any], prompt: Prompt) -> list[list[dict[str, str]]]:
    """The chats that ask for rewrites of a row: one for each distinct sentence, or one for the three together."""
    sentences = [sentence for sentence in dict.fromkeys(row["sentences"]) if sentence]
    if prompt == "set":
        shown = "\n".join(f"- {sentence}" for sentence in sentences)
        names = {"{subject}": row["subject"], "{relation}": row["label"], "{object}": row["object"]}
        text = "".join(names.get(part, shown if part == "{sentences}" else part) for part in _parts(REFINE_SET))
        return [[{"role": "system", "content": REFINE_SYSTEM_SET}, {"role": "user", "content": text}]]
    turns = [{"role": "system", "content": REFINE_SYSTEM}]
    for sentence, rewrite in EXAMPLES:
        turns.append({"role": "user", "content": REFINE_SENTENCE.replace("{sentence}", sentence)})
        turns.append({"role": "assistant", "content": rewrite})
    asked = (REFINE_SENTENCE.replace("{sentence}", sentence) for sentence in sentences)
    return [[*turns, {"role": "user", "content": text}] for text in asked]


def _parts(template: str) -> list[str]:
    """The template cut at its placeholders, so that a name which looks like one is left alone."""
    return template.replace("{", "\0{").replace("}", "}\0").split("\0")


def refine(
    rows: Sequence[Mapping[str, Any]], model: Any, tokenizer: Any, settings: Settings, done: AbstractSet[str]
) -> Iterator[list[dict[str, Any]]]:
    """Yield the refined rows batch by batch, without those whose id is in ``done``.

    ``rows`` are task 3 predictions with "label", the relation that the same model predicted for the pair. Give the
    same rows again after an interruption: a batch of which only a part is done is drawn again, and gives the same.
    Raises ``VsdError`` for a row without these fields.
    """
    for row in rows:
        check(row)
    for start in range(0, len(rows), settings.batch_size):
        batch = rows[start : start + settings.batch_size]
        if all(row["id"] in done for row in batch):
            continue
        open_rows = [row for row in batch if hopeless(row) is None]
        chats = [(row["id"], chat) for row in open_rows for chat in conversations(row, settings.prompt)]
        digest = hashlib.sha256(f"{settings.seed} {batch[0]['id']}".encode()).digest()
        texts = generate(
            [chat for _, chat in chats], model, tokenizer, settings, int.from_bytes(digest[:8], "big") >> 1
        )
        answers: dict[str, list[str | None]] = {row["id"]: [] for row in batch}
        for (identity, _), of_chat in zip(chats, texts, strict=True):
            answers[identity] += of_chat
        yield [_judged(row, answers[row["id"]], settings.prompt) for row in batch if row["id"] not in done]


def _judged(row: Mapping[str, Any], answers: Sequence[str | None], prompt: Prompt) -> dict[str, Any]:
    readings = [read(answer, prompt, [row["subject"], row["object"]]) for answer in answers]
    return refined(row, choose(row, [sentence for reading in readings for sentence in reading.sentences]), readings)


def generate(
    chats: Sequence[Sequence[dict[str, str]]], model: Any, tokenizer: Any, settings: Settings, seed: int
) -> list[list[str | None]]:
    """Sample ``settings.candidates`` answers to every chat; in place of one that was cut off stands None.

    What all chats begin with (system message, examples) is run through the model once for all of them, and what the
    candidates of a chat begin with, once for them. Raises ``VsdError`` if the tokenizer is not the model's.
    """
    if not chats:
        return []
    texts = render(chats, tokenizer)
    ids = [tokenizer(text, add_special_tokens=False).input_ids for text in texts]
    known = model.get_input_embeddings().weight.shape[0]
    if unknown := {token for row in ids for token in row if token >= known}:
        raise VsdError(
            f"the refiner knows {known} tokens, but its tokenizer writes number {max(unknown)}: they do not belong "
            "together. Put the tokenizer's files that were published with the model beside its weights."
        )
    common = 0
    while common < min(map(len, ids)) - 1 and len({row[common] for row in ids}) == 1:
        common += 1
    width = max(map(len, ids)) - common
    # The padding stands between the common beginning and the rest, so that the former lies at the same place in all.
    padded = [row[:common] + [tokenizer.pad_token_id] * (width + common - len(row)) + row[common:] for row in ids]
    mask = [[1] * common + [0] * (width + common - len(row)) + [1] * (len(row) - common) for row in ids]
    prompt, attention = torch.tensor(padded, device=model.device), torch.tensor(mask, device=model.device)
    ends = {*end_tokens(model, tokenizer), tokenizer.pad_token_id}
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.inference_mode(), torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        cache = _read(model, prompt, attention, common)
        cache.batch_repeat_interleave(settings.candidates)
        prompt = prompt.repeat_interleave(settings.candidates, 0)
        output = model.generate(
            input_ids=prompt,
            attention_mask=attention.repeat_interleave(settings.candidates, 0),
            past_key_values=cache,
            do_sample=True,
            logits_processor=LogitsProcessorList([_Nucleus(settings.temperature, settings.top_p)]),
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            repetition_penalty=1.0,
            max_new_tokens=settings.max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=sorted(ends),
        )
    answers: list[str | None] = []
    for row in output[:, prompt.shape[1] :].tolist():
        whole = any(token in ends for token in row)
        answers.append(tokenizer.decode(row, skip_special_tokens=True).strip() if whole else None)
    return [answers[i : i + settings.candidates] for i in range(0, len(answers), settings.candidates)]


def _read(model: Any, prompt: torch.Tensor, attention: torch.Tensor, common: int) -> Any:
    """Keys and values of all prompt tokens but the last, which the library's ``generate`` reads itself."""
    cache = None
    if common:
        cache = model(prompt[:1, :common], use_cache=True, logits_to_keep=1).past_key_values
        cache.batch_repeat_interleave(len(prompt))
    if prompt.shape[1] - 1 > common:
        rest = slice(common, prompt.shape[1] - 1)
        positions = (attention.cumsum(1) - 1).clamp(min=0)[:, rest]
        seen = attention[:, : rest.stop]
        read = model(
            prompt[:, rest],
            attention_mask=seen,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache = read.past_key_values
    return cache
