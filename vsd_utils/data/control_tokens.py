"""Control tokens of language models, such as ``<image>`` and ``</s>``, where annotations hold them as text.

A tokenizer reads such a text as the token itself: an image more in the question, an end in the middle of an answer.
Where the annotations enter no tokenizer is there yet, so there every text of such a form is refused
(``shaped_like_tokens``); before training the base model's own tokenizer is asked (``check``).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tokenizers import Tokenizer

from vsd_utils.common.errors import VsdError, listed
from vsd_utils.common.paths import BASE_MODEL, annotation_file
from vsd_utils.data.annotations import Item, Versions

# <image> </s> <|im_end|> <start_of_turn> <0x0A>; [INST] [/INST] [gMASK] [CLS]. Blanks stand in none of them.
_FORMS = re.compile(r"<[^<>\s]{0,40}\w[^<>\s]{0,40}>|\[/?[A-Za-z]?[A-Z][A-Z_]+\]")


def shaped_like_tokens(item: Item) -> Iterator[tuple[str, str]]:
    """Yield field and found text for every name or caption that holds something of a control token's form."""
    for field, text in item_texts(item):
        if match := _FORMS.search(text):
            yield field, match.group()


def item_texts(item: Item) -> Iterator[tuple[str, str]]:
    """Yield every text of an item that a model may read, with its field: ``("triple_list.0.s", "cup")``, ..."""
    for number, triple in enumerate(item.triple_list):
        yield f"triple_list.{number}.s", triple.s
        yield f"triple_list.{number}.o", triple.o
    for number, caption in enumerate(item.captions):
        yield f"captions.{number}", caption


def control_ids(tokenizer: Tokenizer) -> dict[int, str]:
    """Map the ids of a tokenizer's special and added tokens to the tokens, without those of mere white space."""
    added = tokenizer.get_added_tokens_decoder()
    return {number: token.content for number, token in added.items() if token.special or token.content.strip()}


def check(splits: Mapping[str, Sequence[Versions]], base: Path = BASE_MODEL) -> None:
    """Raise ``VsdError`` for every text of the splits that the base model's tokenizer reads as a control token.

    ``splits`` are the annotations of both versions by split, as ``annotations.load_versions`` reads them; ``base`` is
    the folder with ``tokenizer.json``.
    """
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    control = control_ids(tokenizer)
    texts = [
        (f"{annotation_file(version, split)}, img_id {item.img_id!r}: {field}", text)
        for split, joined in splits.items()
        for versions in joined
        for version, item in zip((1, 2), versions, strict=True)
        for field, text in item_texts(item)
    ]
    encoded = tokenizer.encode_batch([text for _, text in texts], add_special_tokens=False)
    problems = [
        f"{place}: {text!r} holds {control[token]!r}, a control token of the base model. Take it out of the "
        "annotations that fetch reads."
        for (place, text), encoding in zip(texts, encoded, strict=True)
        for token in encoding.ids
        if token in control
    ]
    if problems:
        raise VsdError(listed(problems))
