"""Where numbers come from: what every table and figure of the report states below itself."""

from typing import Any

from vsd_utils.common.files import read_json
from vsd_utils.common.paths import BASE_MODEL, CONVERSATIONS, PROVENANCE, REFINER_MODEL
from vsd_utils.data import dataset_info
from vsd_utils.models.checkpoint import Pointer, read_pointer


def collect() -> dict[str, Any]:
    """Collect profile, overrides, seed and digests of the run, its data, its models, and how many items it left out.

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
        "models": {"base": _model(read_pointer(BASE_MODEL)), "refiner": _model(read_pointer(REFINER_MODEL))},
    }


def sentence(record: dict[str, Any], n: int) -> str:
    """Say the whole record and the number ``n`` of described test images in one line, for below a table."""
    changed = f" with {', '.join(record['overrides'])}" if record["overrides"] else ""
    left_out = f", {record['left_out']} unusable images left out" if record["left_out"] else ""
    return (
        f"Profile {record['profile']}{changed}. Data: {record['data']}{left_out}; {n:,} test images. "
        f"Base model: {record['models']['base']}; refiner: {record['models']['refiner']}. "
        f"Seed {record['seed']}, code sha256 {record['code']}, parameters sha256 {record['parameters']}."
    )


def _model(pointer: Pointer) -> str:
    if pointer.source == "hub":
        return f"{pointer.name_or_path} at {str(pointer.revision)[:10]}"
    weights = pointer.sha256.get("model.safetensors", "")[:10]
    made = {
        "trained": "tiny LLaVA-NeXT trained from scratch",
        "package": "SmolLM2-135M-Instruct",
        "random": "a stand-in of the paper's model class with random weights",
        "folder": f"folder {pointer.name_or_path.split('/')[-1]}",
    }[pointer.source]
    return made + (f" (weights sha256 {weights})" if weights else "")
