"""Where numbers come from: what every table and figure of the report states below itself."""

from pathlib import Path
from typing import Any

from vsd_utils.common.files import read_json, read_jsonl
from vsd_utils.common.paths import BASE_MODEL, CONVERSATIONS, PREDICTIONS, PROVENANCE, REFINED, REFINER_MODEL
from vsd_utils.data import dataset_info
from vsd_utils.models.checkpoint import Pointer, read_pointer


def collect() -> dict[str, Any]:
    """Collect what a run was made by: profile, overrides, seed, digests, data, models, and how many items it left out.

    Raises ``VsdError`` naming the file when a stage has not written down its part yet.
    """
    source = dataset_info.read()
    statistics = read_json(CONVERSATIONS / "statistics.json")
    return {
        **read_json(PROVENANCE),
        "data": dataset_info.describe(source),
        "annotated_by_people": source["source"] != "scenes",
        "authors_test_split": bool(source.get("authors_files"))
        and not source["own_split"]
        and not source["not_drawn"].get("test")
        and bool(source["photos"]),
        "images": statistics["images"],
        "left_out": sum(source["left_out"].values()),
        "models": _models(),
    }


def _models() -> dict[str, str]:
    """Describe the models by their part in the run; what a server answered is the server's."""
    found = {"base": _model(read_pointer(BASE_MODEL)), "refiner": _model(read_pointer(REFINER_MODEL))}
    if refiner := server_of(REFINED / "lora_refined.jsonl"):
        found["refiner"] = refiner
    if served := server_of(PREDICTIONS / "served.jsonl"):
        found["served"] = served
    return found


def server_of(rows: Path) -> str | None:
    """Name the model and the server of the first of ``rows`` that came from one; None where none did."""
    if not rows.is_file():
        return None
    by = next((row["served_by"] for row in read_jsonl(rows) if "served_by" in row), None)
    return by and f"{by['model']}, answers of the server {by['base_url']}, which need not come out the same again"


# How the adapter's training read its pictures (finetune.packing).
_TRAINED = {
    "none": "Trained on one conversation a row",
    "shared_image": "Trained on each picture once for all its conversations",
}


def sentence(record: dict[str, Any], n: int) -> str:
    """Say the whole record and the number ``n`` of described test images in one line, for below a table."""
    changed = f" with {', '.join(record['overrides'])}" if record["overrides"] else ""
    left_out = f", {record['left_out']} unusable images left out" if record["left_out"] else ""
    models = record["models"]
    served = f"; served model: {models['served']}" if "served" in models else ""
    return (
        f"Profile {record['profile']}{changed}. Data: {record['data']}{left_out}; {n:,} test images. "
        f"Base model: {record['models']['base']}; refiner: {record['models']['refiner']}{served}. "
        f"{_TRAINED[record['packing']]}. "
        f"Seed {record['seed']}, code sha256 {record['code']}, parameters sha256 {record['parameters']}."
    )


def _model(pointer: Pointer) -> str:
    if pointer.source == "hub":
        return f"{pointer.name_or_path} at {str(pointer.revision)[:10]}"
    weights = pointer.sha256.get("model.safetensors", "")[:10]
    made = {
        "trained": "tiny LLaVA-NeXT trained from scratch",
        "joined": "LLaVA-NeXT of DINOv2-S and SmolLM2-135M, joined here",
        "package": "SmolLM2-135M-Instruct",
        "random": "a stand-in of the paper's model class with random weights",
        "folder": f"folder {pointer.name_or_path.split('/')[-1]}",
    }[pointer.source]
    return made + (f" (weights sha256 {weights})" if weights else "")
