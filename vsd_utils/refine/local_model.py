"""The text-only chat model that rewrites sentences: loaded, its chats rendered, its answers sampled.

A model comes from a folder or the hub, as safetensors only.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jinja2 import TemplateError
from pydantic import BaseModel, ConfigDict, Field
from transformers import AutoModelForCausalLM, AutoTokenizer

from vsd_utils.common.errors import VsdError
from vsd_utils.models.checkpoint import location
from vsd_utils.models.loading import DTYPES, quantized
from vsd_utils.refine.chat_answers import Prompt

Chat = Sequence[Mapping[str, str]]
TOP_K = 50  # transformers' own default
# Stands for the system message where a chat is rendered to see what becomes of that; no template writes it by itself.
_PROBE = "Here stands what the system says"


class Settings(BaseModel):
    """Say how rewrites are sampled: ``candidates`` for each sentence ("sentence") or for the three together ("set").

    ``ask_hopeless`` has them sampled also for rows for which none could be accepted (``selection.hopeless``).
    ``accept_any`` has three of them taken, whatever they say (``selection.choose_any``).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: Prompt
    candidates: int = Field(ge=1)
    temperature: float = Field(gt=0)
    top_p: float = Field(gt=0, le=1)
    max_new_tokens: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    ask_hopeless: bool
    accept_any: bool = False
    seed: int = Field(ge=0)


def load(
    folder: Path,
    dtype: Literal["float32", "bfloat16"],
    quantization: Literal["none", "8bit", "4bit"],
    device: str,
) -> tuple[Any, Any]:
    """Load the model (in evaluation mode, on ``device``) and tokenizer that ``<folder>/model.json`` points to.

    Only safetensors are read and no code of the model's repository runs. The tokenizer pads on the left, with its end
    token where it has no padding token.
    Raises ``VsdError`` when the model cannot be found, a file of it has changed, it is no chat model, or it does not
    say how an answer ends.
    """
    name, revision = location(folder)
    tokenizer = _tokenizer(name, revision)
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            name,
            revision=revision,
            dtype=DTYPES[dtype],
            quantization_config=quantized(quantization, dtype),
            device_map={"": device},
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:  # the libraries raise many kinds for what can be wrong with somebody's files
        raise VsdError(
            f"the refiner {name} cannot be loaded: {_first_line(error)}\n"
            "Check refiner.name and refiner.revision, that its files were downloaded, and that it fits into memory."
        ) from None
    if missing := sorted(info["missing_keys"]) + sorted(map(str, info["mismatched_keys"])):
        raise VsdError(
            f"the refiner {name} is not a whole model: {len(missing)} weights are missing or of another shape, "
            f"{missing[0]} for one.\nDownload its files again."
        )
    _set_end(name, model, tokenizer)
    return model.eval(), tokenizer


def _tokenizer(name: str, revision: str | None) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False, padding_side="left")
    except Exception as error:
        raise VsdError(
            f"the refiner's tokenizer cannot be loaded from {name}: {_first_line(error)}\n"
            "Beside its weights, a model needs tokenizer.json and tokenizer_config.json. Check refiner.name and "
            "refiner.revision, and that its files were downloaded."
        ) from None
    if not tokenizer.chat_template:
        raise VsdError(
            f"the refiner {name} has no chat template, so it is no chat model or its files are not all there.\n"
            "Name a model that was tuned to follow instructions (refiner.name), or put its chat_template.jinja beside "
            "its tokenizer.json."
        )
    render([[{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]], tokenizer)
    return tokenizer


def _set_end(name: str, model: Any, tokenizer: Any) -> None:
    """Give the tokenizer a padding token where it has none; raise ``VsdError`` if no token ends an answer."""
    ends = end_tokens(model, tokenizer)
    if not ends:
        raise VsdError(
            f"the refiner {name} names no token that ends an answer, so every answer would run on to the limit.\n"
            "Set eos_token in its tokenizer_config.json or eos_token_id in its generation_config.json."
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else ends[0]


def end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """List the ids of the tokens that end an answer, ascending; empty if neither model nor tokenizer names one."""
    named = model.generation_config.eos_token_id
    ids = {tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])}
    return sorted(ids - {None})


def render(chats: Sequence[Chat], tokenizer: Any) -> list[str]:
    """Render chats with the tokenizer's template, up to where the model's answer begins.

    Some templates refuse a system message and some leave it out without a word. For those its text is put in front of
    the first message of the user. Raises ``VsdError`` if the template can render the chat in neither form.
    """
    return [_rendered(chat if _shows_system(chat, tokenizer) else _without_system(chat), tokenizer) for chat in chats]


def _shows_system(chat: Chat, tokenizer: Any) -> bool:
    if all(turn["role"] != "system" for turn in chat):
        return True
    probe = [{**turn, "content": _PROBE} if turn["role"] == "system" else turn for turn in chat]
    try:
        return _PROBE in _applied(probe, tokenizer)
    except (TemplateError, ValueError, TypeError):
        return False


def _without_system(chat: Chat) -> list[Mapping[str, str]]:
    said = [turn["content"] for turn in chat if turn["role"] == "system"]
    turns = [turn for turn in chat if turn["role"] != "system"]
    return [{**turns[0], "content": "\n\n".join([*said, turns[0]["content"]])}, *turns[1:]]


def _rendered(chat: Chat, tokenizer: Any) -> str:
    try:
        return _applied(chat, tokenizer)
    except (TemplateError, ValueError, TypeError) as error:
        raise VsdError(
            f"the refiner's chat template ({tokenizer.name_or_path}) cannot render a chat of user and assistant: "
            f"{_first_line(error)}\n"
            "Put the chat_template.jinja that was published with the model beside its tokenizer.json."
        ) from None


def _applied(chat: Chat, tokenizer: Any) -> str:
    text: str = tokenizer.apply_chat_template(list(chat), add_generation_prompt=True, tokenize=False)
    return text


def _first_line(error: Exception) -> str:
    text = (str(error).strip() or "no message").splitlines()[0]
    return text if isinstance(error, OSError | ValueError | TemplateError) else f"{type(error).__name__}: {text}"


def generate(
    chats: Sequence[Sequence[dict[str, str]]], model: Any, tokenizer: Any, settings: Settings, seed: int
) -> list[list[str | None]]:
    """Sample ``settings.candidates`` answers to every chat; in place of one that was cut off stands None.

    What all chats begin with (system message, examples) is run through the model once for all of them, and what the
    candidates of a chat begin with, once for them. ``model.generate`` alone, given the chats padded on the left and
    ``num_return_sequences``, wrote the same answers in three times the time: 177 s instead of 60 s for 50 images of
    three sentences, 27 of them open to a rewrite, with four candidates a sentence, by SmolLM2-135M on one thread of a
    CPU; 107 s instead of 42 s on two. Raises ``VsdError`` if the tokenizer is not the model's.
    """
    if not chats:
        return []
    # 1. The chats as token ids; a tokenizer of another model would index past the embeddings.
    texts = render(chats, tokenizer)
    ids = [tokenizer(text, add_special_tokens=False).input_ids for text in texts]
    known = model.get_input_embeddings().weight.shape[0]
    if unknown := {token for row in ids for token in row if token >= known}:
        raise VsdError(
            f"the refiner knows {known} tokens, but its tokenizer writes number {max(unknown)}: they do not belong "
            "together. Put the tokenizer's files that were published with the model beside its weights."
        )
    # 2. One batch (chats, tokens), padded between what all begin with and the rest.
    common = 0
    while common < min(map(len, ids)) - 1 and len({row[common] for row in ids}) == 1:
        common += 1
    width = max(map(len, ids)) - common
    # The padding stands between the common beginning and the rest, so that the former lies at the same place in all.
    padded = [row[:common] + [tokenizer.pad_token_id] * (width + common - len(row)) + row[common:] for row in ids]
    mask = [[1] * common + [0] * (width + common - len(row)) + [1] * (len(row) - common) for row in ids]
    prompt, attention = torch.tensor(padded, device=model.device), torch.tensor(mask, device=model.device)
    # 3. Sample: the beginning is read once for all, each chat once for its candidates (chats x candidates, tokens).
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
            temperature=settings.temperature,
            top_p=settings.top_p,
            top_k=TOP_K,
            repetition_penalty=1.0,
            max_new_tokens=settings.max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=sorted(ends),
        )
    # 4. Back to texts, chat by chat; an answer without an end token was cut off.
    answers: list[str | None] = []
    for row in output[:, prompt.shape[1] :].tolist():
        whole = any(token in ends for token in row)
        answers.append(tokenizer.decode(row, skip_special_tokens=True).strip() if whole else None)
    return [answers[i : i + settings.candidates] for i in range(0, len(answers), settings.candidates)]


def _read(model: Any, prompt: torch.Tensor, attention: torch.Tensor, common: int) -> Any:
    """Run all prompt tokens but the last, which the library's ``generate`` reads itself; return their keys and values.

    ``prompt`` and ``attention`` are of shape (chats, tokens), the first ``common`` tokens the same in all chats; each
    layer's keys and values are of shape (chats, heads, tokens - 1, head's width).
    """
    # 1. What all chats begin with: of one chat (1, common tokens), then repeated for each.
    cache = None
    if common:
        cache = model(prompt[:1, :common], use_cache=True, logits_to_keep=1).past_key_values
        cache.batch_repeat_interleave(len(prompt))
    # 2. The rest of each chat (chats, tokens - 1 - common); padding takes up no position.
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
