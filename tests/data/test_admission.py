"""Images that cannot be used are named all at once, or left out once: then every stage agrees on the others."""

import copy
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from ruamel.yaml import YAML
from tokenizers import Tokenizer

from vsd_utils.commands import preflight
from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import read_json, read_jsonl
from vsd_utils.common.paths import ROOT, annotation_file
from vsd_utils.common.profiles import compose
from vsd_utils.common.sections import Params
from vsd_utils.data import control_tokens
from vsd_utils.data.admission import admit, survey
from vsd_utils.data.annotations import SPLITS, Item, load_items, load_versions
from vsd_utils.evaluate.references import load_references
from vsd_utils.evaluate.scores import Engine, Submission, score_systems
from vsd_utils.evaluate.submissions import export_submission
from vsd_utils.miniature.model import architecture

SIZE = (64, 48)
BOXES = {"s_bbox": [2, 20, 2, 30], "o_bbox": [10, 46, 20, 62]}


def item(img_id: str, **changes: Any) -> dict[str, Any]:
    names = {"s": f"cup {img_id}", "o": "box", "p": "on"}
    captions = [f"cup {img_id} on box", f"there is a cup {img_id} on a box."]
    return {"img_id": img_id, "triple_list": [names | BOXES], "captions": captions} | changes


def photo(folder: Path, name: str, shade: int) -> Path:
    path = folder / name
    Image.effect_noise(SIZE, 60).point(lambda value: (value + shade) % 256).save(path)
    return path


class Broken:
    """Annotations and photos with one unusable image of every kind in the test split."""

    def __init__(self, folder: Path) -> None:
        self.vsd, self.photos = folder / "vsd (1) ä", folder / "photos=1"
        self.photos.mkdir(parents=True)
        self.items = {
            (version, split): [item(f"{split}{number}", **later) for number in range(6)]
            for version, later in ((1, {}), (2, {"captions": ["The box carries a cup."]}))
            for split in SPLITS
        }
        for number, one in enumerate(one for split in SPLITS for one in self.items[1, split]):
            photo(self.photos, f"{one['img_id']}.png", number)
        self.expected: dict[str | None, str] = {}
        self._annotations()
        self._photos()
        for (version, split), items in self.items.items():
            path = annotation_file(version, split, self.vsd)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(items))

    def add(self, img_id: str, said: str, v1: dict[str, Any] | None = None, v2: dict[str, Any] | None = None) -> Path:
        """An image of which ``said`` is complained; returns the path of its photo."""
        for version, changes in ((1, v1), (2, v2)):
            self.items[version, "test"].append(item(img_id, **(changes or {})))
        self.expected[img_id] = said
        return photo(self.photos, f"{img_id}.png", len(self.expected) + 100)

    def _annotations(self) -> None:
        self.add(
            "relation",
            "triple_list.0.p: is not one of the nine",
            {"triple_list": [{**BOXES, "s": "a", "o": "b", "p": "by"}]},
        )
        self.add("silent", "captions: is empty", v2={"captions": []})
        other = {"s": "cup", "o": "box", "p": "in", **BOXES}
        self.add("disagreeing", "is not among the image's triples", v2={"triple_list": [other]})
        self.add("alone", "has no image 'alone'")
        self.items[2, "test"].pop()
        named = {"triple_list": [{"s": "a <image>", "o": "b", "p": "on", **BOXES}]}
        self.add("picture", "triple_list.0.s: holds '<image>'", named, named)
        self.add("ending", "captions.1: holds '</s>'", v2={"captions": ["fine", "the end</s>"]})
        self.add("chat", "captions.0: holds '<|im_end|>'", v1={"captions": ["the <|im_end|> end"]})
        self.add("train0", "stands in the splits train and test")
        photo(self.photos, "train0.png", 0)
        self.items[1, "test"].append("no item")
        self.expected[None] = "the item: Input should be"

    def _photos(self) -> None:
        self.add("missing", "no such photo").unlink()
        self.add("empty", "it is empty").write_bytes(b"")
        cut = self.add("cut", "cannot be read as an image")
        cut.write_bytes(cut.read_bytes()[:-400])
        Image.new("RGB", (50, 50)).save(
            self.add("small", "[10, 46, 20, 62] reaches outside the image of 50 x 50 pixels")
        )
        Image.new("1", (9500, 9500)).save(self.add("bomb", "claims more than 89,478,485 pixels"))
        gone = self.add("gone", "the same picture as that of 'away', byte for byte")
        shutil.copy(gone, self.add("away", "the same picture as that of 'gone', byte for byte"))
        self.add("twofold", "could be the photo of 'twofold'")
        (self.photos / "b").mkdir()
        photo(self.photos, "b/twofold.png", 99)
        for folder in ("c", "d"):  # that nobody asks for
            (self.photos / folder).mkdir()
            (self.photos / folder / "cover.jpg").touch()

    def params(self, **changes: Any) -> Params:
        content = copy.deepcopy(compose(["profile=smoke"]))
        content["fetch"] |= {"source": "folder", "annotations": str(self.vsd), "photos": str(self.photos)} | changes
        return Params.model_validate(content)


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> Broken:
    return Broken(tmp_path_factory.mktemp("broken"))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_every_problem_is_named_at_once(broken) -> None:
    _, lines = survey(broken.params().fetch, every_pixel=True)
    said = "\n".join(lines)
    assert f"{broken.photos}: 1 photos are missing: missing. They come from" in said
    # Who stands in two splits stays with the test, so the image that is left out is the training one.
    for img_id, problem in broken.expected.items():
        assert problem in said or img_id == "missing", img_id
    assert said.endswith("such images are then left out, counted and named in the report.")
    headers = "\n".join(preflight.problems(broken.params()))
    assert [line for line in said.splitlines() if line not in headers] == [
        line for line in said.splitlines() if "cut.png" in line
    ]
    assert preflight.problems(broken.params(skip_invalid=True)) == []


def test_files_that_cannot_be_read_are_never_left_out(broken, tmp_path) -> None:
    source = tmp_path / "vsd"
    shutil.copytree(broken.vsd, source)
    val, test = (annotation_file(1, split, source) for split in ("val", "test"))
    val.write_text("[")
    test.unlink()
    annotation_file(2, "train", source).write_text(json.dumps([item("other")]))
    changes = {"annotations": str(source), "photos": str(tmp_path / "nowhere"), "skip_invalid": True}
    said = preflight.problems(broken.params(**changes))
    assert said[0].startswith(f"{val}: not JSON, line 1")
    assert said[1].startswith(f"{test}: no such annotation file. Take it from dataset/")
    assert said[2].startswith(f"{tmp_path / 'nowhere'}: no such folder of photos")
    assert said[3] == "split train: no image is left that can be used"


def test_a_canvas_as_large_as_its_boxes_say_has_a_limit(broken, tmp_path) -> None:
    source = tmp_path / "vsd"
    shutil.copytree(broken.vsd, source)
    huge = item(
        "huge", triple_list=[{"s": "a", "o": "b", "p": "on", "s_bbox": [0, 9, 0, 9], "o_bbox": [0, 99999, 0, 9]}]
    )
    for version in (1, 2):
        path = annotation_file(version, "val", source)
        path.write_text(json.dumps([*json.loads(path.read_text()), huge]))
    settings = broken.params(annotations=str(source), photos=None).fetch
    (unusable,) = admit(settings, ["val"], every_pixel=True).unusable["val"]
    assert unusable == ("huge", ("img_id 'huge': no photo is as large as its boxes, 9 x 99999",))


@pytest.fixture(scope="module")
def checkout(broken, tmp_path_factory) -> Path:
    """A copy of the project in which fetch and convert have run on what is left of the broken data."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("vsd_utils", "conf", "notebooks"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    content = broken.params(skip_invalid=True).model_dump(mode="json")
    YAML(typ="safe", pure=True).dump(content, root / "params.yaml")
    settings = broken.params().base.tiny
    texts = [text for rows in broken.items.values() for one in rows if "img_id" in one for text in one["captions"]]
    architecture.make_processor(architecture.make_tokenizer(texts, 400), settings).save_pretrained(root / "models/base")
    for command in (["preflight"], ["fetch"], ["clean-notebooks"], ["run-notebook", "convert"]):
        words = [sys.executable, "-m", "vsd_utils", *command]
        done = subprocess.run(words, cwd=root, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return root


def test_all_stages_agree_on_what_is_left(broken, checkout, tmp_path) -> None:
    data = checkout / "data"
    record, left_out = read_json(data / "annotations/source.json"), read_json(data / "annotations/left_out.json")
    problems = {row["img_id"]: "; ".join(row["problems"]) for row in left_out["test"] + left_out["train"]}
    assert problems.keys() == broken.expected.keys()
    for img_id, said in broken.expected.items():
        assert said in problems[img_id], img_id
    assert record["left_out"] == {"train": 1, "val": 0, "test": len(broken.expected) - 1}
    assert read_json(data / "preflight.json") == {"missing": []}

    good = {split: [f"{split}{number}" for number in range(6)] for split in SPLITS}
    good["train"].remove("train0")
    good["test"].append("train0")
    assert record["images"] == {split: len(ids) for split, ids in good.items()}
    gold = {version: annotation_file(version, "test", data / "annotations") for version in (1, 2)}
    for split, ids in good.items():
        for version in (1, 2):
            path = annotation_file(version, split, data / "annotations")
            assert [one.img_id for one in load_items(path)] == ids  # strict, as every stage reads
        assert [row["id"] for row in read_jsonl(data / f"samples/{split}.jsonl")] == ids
    asked = {row["id"].split("#")[0] for row in read_jsonl(data / "conversations/train.jsonl")}
    assert asked == {*good["train"]}
    notebook = (data / "executed/01_convert_data.ipynb").read_text()
    assert f"left out: {record['left_out']}" in notebook

    items = load_items(gold[1])
    rows = [
        {"id": f"{one.img_id}#0", "task": task, "sentences": [text] * (3 if task == 3 else 1)}
        for one in items
        for task, text in ((1, "on"), (2, one.captions[0]), (3, one.captions[1]))
    ]
    files = export_submission(rows, items, tmp_path / "mine")
    references = load_references(gold[1], gold[2])
    engine = Engine(spice=False)
    scored = score_systems({"mine": Submission(*files)}, references, engine=engine, resamples=9).systems
    assert scored["mine"].scores["task1"]["accuracy"] == 100
    assert [row["img_id"] for row in scored["mine"].items] == good["test"]


def test_no_text_of_a_conversation_is_read_as_a_control_token(broken, checkout) -> None:
    base = checkout / "models/base"
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    control = control_tokens.control_ids(tokenizer)
    assert {*control.values()} == {"<unk>", "<s>", "</s>", "<pad>", "<image>"}
    rows = read_jsonl(checkout / "data/conversations/train.jsonl")
    texts = [message["content"] for row in rows for message in (*row["prompt"], *row["completion"])]
    assert len(texts) == 5 * 3 * 2  # images, tasks, question and answer
    ids = {token for text in texts for token in tokenizer.encode(text, add_special_tokens=False).ids}
    assert not ids & control.keys()

    # What looks like no control token and is one of this very model is refused before training, with its place.
    tokenizer.add_special_tokens(["cup val3"])
    (checkout / "own").mkdir(exist_ok=True)
    tokenizer.save(str(checkout / "own/tokenizer.json"))
    joined = load_versions(*(annotation_file(version, "val", checkout / "data/annotations") for version in (1, 2)))
    control_tokens.check({"val": joined}, base)
    with pytest.raises(VsdError) as caught:
        control_tokens.check({"val": joined}, checkout / "own")
    said = str(caught.value).splitlines()
    assert len(said) == 4  # a name in both versions, two captions
    assert "VSDv1/val.json, img_id 'val3': triple_list.0.s: 'cup val3' holds 'cup val3', a control token" in said[0]


# Of LLaMA and Vicuna, LLaVA, Qwen and other chat models, T5, Gemma, Mistral, BERT, ChatGLM, DeepSeek.
FAMILIES = [
    *("<unk>", "<s>", "</s>", "<pad>", "<image>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>"),
    *("<|start_header_id|>", "<extra_id_0>", "<start_of_turn>", "<bos>", "[INST]", "[/INST]", "[CLS]", "[MASK]"),
    *("[gMASK]", "<\uff5cend\u2581of\u2581sentence\uff5c>", "<|vision_start|>", "<0x0A>", "<tool_call>", "<unused7>"),
]
PLAIN = ["a < b > c", "<3 cups", "3>2", "he is 5'2\" [sic]", "a [red] cup", "--> box", "a <", "i <3 u > all", "[A] cup"]


@pytest.mark.parametrize("text", FAMILIES)
def test_control_tokens_of_all_families_are_seen(text) -> None:
    one = item("7", captions=["fine", f"a cup{text}on a box"])
    assert list(control_tokens.shaped_like_tokens(Item.model_validate(one))) == [("captions.1", text)]


@pytest.mark.parametrize("text", PLAIN)
def test_text_stays_text(text) -> None:
    assert not list(control_tokens.shaped_like_tokens(Item.model_validate(item("7", captions=[text]))))


def test_nothing_real_is_refused(real_vsd) -> None:
    settings = Params.model_validate(compose(["profile=boxes", f"fetch.annotations={real_vsd}"])).fetch
    admission, lines = survey(settings, every_pixel=True)
    assert (len(admission.usable["val"]), admission.unusable["val"], lines) == (2927, [], [])
