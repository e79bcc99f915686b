"""The systems that the report compares, in its order: what metrics.json calls each, its label and its colour."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class System(NamedTuple):
    """A compared system; ``labels`` adds how many images a label speaks of."""

    label: str
    colour: str


# Okabe and Ito's colours, which readers with any colour vision tell apart.
SYSTEMS = {
    "base": System("base model", "#999999"),
    "lora": System("+ LoRA", "#0072B2"),
    "lora_given_to_refiner": System("+ LoRA, images given to the refiner", "#56B4E9"),
    "lora_refined": System("+ LoRA, refined", "#009E73"),
    "majority": System("majority relation, template", "#E69F00"),
    "lora_blank_image": System("+ LoRA, blank image", "#CC79A7"),
    "served": System("served model, not ours", "#D55E00"),  # describe.endpoint's; the line below tables names it
}
TASK3_ONLY = "the refiner rewrites the sentences of task 3 only; the answers to tasks 1 and 2 are those of + LoRA"


def labels(systems: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Label each of ``systems`` (name to scores) for tables and figures.

    Where only a part of the test images was given to the refiner, the labels of the refined row and of its comparison
    say so, with the number of images.
    """
    shown = {name: SYSTEMS[name].label for name in systems}
    if "lora_given_to_refiner" in systems:
        count = systems["lora_given_to_refiner"]["task3"]["n"]
        images = f"{count} image{'' if count == 1 else 's'}"
        shown["lora_given_to_refiner"] = f"+ LoRA, the {images} given to the refiner"
        shown["lora_refined"] = f"+ LoRA, refined, same {images}"
    return shown


def refinement_note(systems: Mapping[str, Mapping[str, Any]]) -> str:
    """Say which images the refined row is about and why it has or lacks tasks 1 and 2, for below a table."""
    if "lora_given_to_refiner" not in systems:
        return f"refined: all test images were given to the refiner; {TASK3_ONLY}"
    shown = labels(systems)
    return (
        f"'{shown['lora_refined']}' compares with '{shown['lora_given_to_refiner']}' and no other row; neither has "
        f"scores of tasks 1 and 2: {TASK3_ONLY}"
    )
