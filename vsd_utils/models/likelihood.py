"""Task 1 by likelihood: how probable the model finds each of the nine relations as the whole answer.

The score of a relation is the sum of the log-probabilities of its tokens and of the end token after them; it is not
divided by the number of tokens. A question is read once, the picture too: the nine answers stand behind it in one row,
and a mask keeps each from seeing the others. What was read before, as ``past_key_values``, is not read again.
"""

from collections.abc import Mapping
from typing import Any

import torch

from vsd_utils.common.errors import VsdError
from vsd_utils.data.annotations import RELATIONS
from vsd_utils.data.prompts import messages

Options = Mapping[str, list[int]]


def options(processor: Any) -> dict[str, list[int]]:
    """Give the token ids of each relation as an answer, its end token last, as a conversation for training has them.

    Raises ``VsdError`` for a tokenizer with which an answer cannot be told from the question before it.
    """
    tokenizer = processor.tokenizer
    prompt = messages("?")
    before = _ids(tokenizer, processor.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False))
    found = {}
    for relation in RELATIONS:
        chat = [*prompt, {"role": "assistant", "content": relation}]
        whole = _ids(tokenizer, processor.apply_chat_template(chat, tokenize=False))
        if whole[: len(before)] != before or whole[-1] != tokenizer.eos_token_id:
            raise VsdError(
                f"the tokenizer joins the end of a question and the answer {relation!r}, or writes no end token, so "
                "likelihoods of answers cannot be compared. Set describe.task1=generate."
            )
        found[relation] = whole[len(before) :]
    return found


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    return ids


def log_likelihoods(model: Any, inputs: Any, answers: Options) -> torch.Tensor:
    """Sum the log-probabilities of each answer's tokens after each question: (questions, answers), float32, on the CPU.

    ``inputs`` is a batch of ``answering.encode`` (questions, tokens), padded on the left, or a round of
    ``shared_prefix.ask_rounds``, whose keys and values grow by what is read here.
    """
    inputs = inputs.to(model.device, dtype=model.dtype)
    ids, attention = inputs["input_ids"], inputs["attention_mask"]
    questions, width = ids.shape
    rest = {name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask")}
    cached = rest["past_key_values"].get_seq_length() if "past_key_values" in rest else 0
    # 1. All answers behind every question, one after another (questions, tokens + tokens of all answers).
    behind = torch.tensor([token for answer in answers.values() for token in answer], device=ids.device)
    number = torch.tensor([n for n, answer in enumerate(answers.values()) for _ in answer], device=ids.device)
    place = torch.tensor([p for answer in answers.values() for p in range(len(answer))], device=ids.device)
    packed = torch.cat([ids, behind.expand(questions, -1)], dim=1)
    # 2. Positions: padding takes up none, and every answer begins where the question ends.
    last = attention.sum(1, keepdim=True) - 1
    positions = torch.cat([(attention.cumsum(1) - 1).clamp(min=0), last + 1 + place], dim=1)
    # 3. Who sees whom (questions, 1, tokens to read, tokens): what is before it, but no padding and no other answer.
    total = packed.shape[1]
    answer_of = torch.cat([torch.full((width,), -1, device=ids.device), number])
    itself = torch.eye(total, dtype=torch.bool, device=ids.device)[cached:]
    seen = torch.ones_like(itself).tril(cached)
    seen &= (answer_of == -1) | (answer_of == answer_of[cached:, None])
    real = torch.cat([attention.bool(), torch.ones(questions, len(behind), dtype=torch.bool, device=ids.device)], 1)
    sees = (seen & real[:, None, :]) | itself  # padding too, because a row that sees nothing is no number
    mask = torch.zeros(sees.shape, dtype=model.dtype, device=ids.device)
    mask = mask.masked_fill_(~sees, torch.finfo(model.dtype).min)[:, None]
    # 4. One pass; scores of the last token of the question and of all tokens behind it.
    with torch.inference_mode():
        logits = model(
            input_ids=packed[:, cached:],
            attention_mask=mask,
            position_ids=positions[:, cached:],
            use_cache=False,
            logits_to_keep=len(behind) + 1,
            **rest,
        ).logits
        scores = logits.float().log_softmax(-1)
        # 5. A token is foretold by the one before it: an answer's first by the question's last.
        before = torch.where(place == 0, 0, torch.arange(len(behind), device=ids.device))
        each = scores[:, before, behind]
        summed = torch.zeros(questions, len(answers), device=ids.device).index_add_(1, number, each)
    return summed.cpu()


def probabilities(model: Any, inputs: Any, answers: Options) -> list[dict[str, float]]:
    """Give the probability of each answer to each question of a batch, all of them together being 1."""
    found = log_likelihoods(model, inputs, answers).double().softmax(-1)
    return [dict(zip(answers, map(float, row), strict=True)) for row in found]
