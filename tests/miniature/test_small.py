"""The base model of pretrained parts: reading them, joining them, and what its vision side learns to tell."""

import struct

import numpy as np
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model, LlamaConfig, LlamaForCausalLM

from vsd_utils.common.errors import VsdError
from vsd_utils.common.sections import Small
from vsd_utils.data.annotations import Item, Triple
from vsd_utils.miniature.model.pictures import Pictures
from vsd_utils.miniature.small import dinov2, geometry, onnx_weights, vision
from vsd_utils.miniature.small import joined as joining
from vsd_utils.models import vision_language
from vsd_utils.models.checkpoint import Pointer, write_pointer

TILE = 56
SETTINGS = Small(tile=TILE, views=64, vision_steps=30, vision_batch=16, vision_learning_rate=5e-4)


def varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low]) if not rest else bytes([low | 128]) + varint(rest)


def field(number: int, content: int | bytes) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(name: str, values: np.ndarray, packed: bool) -> bytes:
    shape = [field(1, b"".join(map(varint, values.shape)))] if packed else [field(1, size) for size in values.shape]
    return b"".join([*shape, field(2, 1), field(8, name.encode()), field(9, values.astype("<f4").tobytes())])


def onnx_file(tensors: dict[str, np.ndarray], products: dict[str, str]) -> bytes:
    """An ONNX file as its format says: weights, and matrix products of an input with one of them."""
    nodes = [
        field(1, field(1, b"hidden") + field(1, weight.encode()) + field(3, name.encode()) + field(4, b"MatMul"))
        for name, weight in products.items()
    ]
    weights = [field(5, tensor(name, values, len(name) % 2 == 0)) for name, values in tensors.items()]
    beside = varint(9 << 3 | 5) + struct.pack("<f", 1.0) + varint(10 << 3 | 1) + struct.pack("<d", 1.0)
    return field(1, 7) + field(7, b"".join(nodes + weights) + beside)


def test_weights_of_an_onnx_file_are_read(tmp_path):
    tensors = {"a": np.arange(6.0).reshape(2, 3), "bb": np.zeros((200, 1, 2)), "c": np.float32(3).reshape(())}
    (tmp_path / "net.onnx").write_bytes(onnx_file(tensors, {"/first/MatMul": "a", "/second/MatMul": "elsewhere"}))
    read = onnx_weights.read(tmp_path / "net.onnx")
    assert read.products == {"/first/MatMul": "a"}
    assert read.tensors.keys() == tensors.keys()
    for name, values in tensors.items():
        np.testing.assert_array_equal(read.tensors[name], values)
        assert read.tensors[name].shape == values.shape


@pytest.mark.parametrize("spoil", [lambda whole: b"", lambda whole: whole[:-9], lambda whole: b"\x0f" + whole])
def test_another_file_is_reported(tmp_path, spoil):
    (tmp_path / "net.onnx").write_bytes(spoil(onnx_file({"a": np.ones(3)}, {})))
    with pytest.raises(VsdError, match=r"net\.onnx: not an ONNX file with its weights inside"):
        onnx_weights.read(tmp_path / "net.onnx")
    (tmp_path / "net.onnx").write_bytes(onnx_file({"a": np.ones(3)}, {}))
    with pytest.raises(VsdError, match="so it is not the backbone that was exported"):
        dinov2.read(tmp_path / "net.onnx")


@pytest.fixture(scope="module")
def original():
    """DINOv2 ViT-S/14 with random weights, two layers more than are kept, at the size that it was trained with."""
    torch.manual_seed(0)
    sizes = {"hidden_size": dinov2.WIDTH, "num_attention_heads": dinov2.HEADS, "image_size": 518, "patch_size": 14}
    return Dinov2Model(Dinov2Config(num_hidden_layers=dinov2.LAYERS + 2, **sizes)).eval()


@pytest.fixture(scope="module")
def tower(original, tmp_path_factory):
    """The same as its exporter wrote it: maps turned over and numbered, positions apart."""
    tensors, products = {}, {}
    for number, (name, weight) in enumerate(original.state_dict().items()):
        for theirs, ours in dinov2._RENAMED.items():
            name = name.replace(ours, theirs)
        values = weight.numpy()
        if name == "embeddings.position_embeddings":
            tensors |= {dinov2._CLASS_POSITION: values[:, :1], dinov2._PATCH_POSITIONS: values[:, 1:]}
        elif name.startswith("encoder") and values.ndim == 2:
            tensors[f"onnx::MatMul_{number}"] = np.ascontiguousarray(values.T)
            place = "/backbone/" + name.removesuffix(".weight").replace("layer.", "layer~").replace(".", "/")
            products[place.replace("~", ".") + "/MatMul"] = f"onnx::MatMul_{number}"
        elif name != "embeddings.mask_token":
            tensors["backbone." + name] = values
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    path.write_bytes(onnx_file(tensors, products))
    return dinov2.read(path)


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    """A folder as ``smollm.convert`` writes it, with a small Llama and a small tokenizer."""
    from vsd_utils.data.prompts import TASKS, question
    from vsd_utils.miniature.model.architecture import make_tokenizer

    folder = tmp_path_factory.mktemp("language")
    tokenizer = make_tokenizer([question(task, "red ball", "box") for task in TASKS] * 3, 400)
    tokenizer.add_special_tokens({"pad_token": joining.PAD})
    sizes = {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(1)
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), tie_word_embeddings=True, **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def joined(language, tower):
    processor = joining.make_processor(language, TILE)
    return joining.make_model(language, tower, processor, TILE, seed=0), processor


def test_the_tower_sees_what_the_original_sees(original, tower, joined):
    model, _ = joined
    pixels = torch.rand(2, 3, TILE, TILE)
    with torch.inference_mode():
        ours = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states[joining.FEATURE_LAYER]
        # The original brings its positions to another size without antialias, which blurs them less: give it ours.
        small = Dinov2Model(Dinov2Config(**(original.config.to_dict() | {"image_size": TILE}))).eval()
        state = original.state_dict()
        state["embeddings.position_embeddings"] = torch.from_numpy(dinov2.positions_for(tower, TILE))
        small.load_state_dict(state)
        theirs = small(pixels, output_hidden_states=True).hidden_states[dinov2.LAYERS - 1]
    torch.testing.assert_close(ours, theirs)


def test_the_joined_model_is_one_that_the_stages_load(joined, tmp_path):
    model, processor = joined
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    write_pointer(tmp_path, Pointer(name_or_path=".", revision=None, source="joined", sha256={}))
    again = vision_language.load_model("float32", base=tmp_path)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], weight, rtol=0, atol=0)
    tokenizer = vision_language.load_processor(tmp_path).tokenizer
    assert len({tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id}) == 3


def test_a_tile_of_broken_patches_is_refused(language, tower):
    with pytest.raises(VsdError, match="a tile of 50 pixels"):
        joining.make_model(language, tower, joining.make_processor(language, 50), 50, seed=0)


def test_the_geometry_does_not_depend_on_place_or_scale_and_turns_over_with_the_pair():
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 0.4, (50, 2, 2, 2)), axis=3).astype(np.float32)
    boxes = corners.reshape(50, 2, 4)
    first = len(geometry.EDGES)
    for pair in boxes:
        told = geometry.values(pair)
        assert told.shape == (len(geometry.VALUES),)
        assert np.abs(told).max() <= 1
        np.testing.assert_allclose(told[:first], 2 * pair.ravel() - 1)
        np.testing.assert_allclose(geometry.values(2 * pair + 0.1)[first:], told[first:], atol=2e-3)
        across, down, tops, bottoms, size, cover, covered, wide = told[first:]
        turned = [-across, -down, -tops, -bottoms, -size, covered, cover, -wide]
        np.testing.assert_allclose(geometry.values(pair[::-1])[first:], turned, atol=1e-5)


def test_a_code_is_read_back_as_it_was_written():
    code = vision.Code(torch.randn(300, 48), 16, seed=3)
    values = torch.rand(5, 16) * 2 - 1
    read, rest = code.read(code.write(values))
    torch.testing.assert_close(read, values)
    torch.testing.assert_close(rest, torch.zeros(5), atol=1e-4, rtol=0)
    # What lies beside all directions is counted as that.
    beside = torch.linalg.svd(torch.vstack([code.centre, code.directions]))[2][-1] * code.directions[0].norm()
    read, rest = code.read(code.write(values) + 2 * beside)
    torch.testing.assert_close(read, values)
    torch.testing.assert_close(rest, torch.full((5,), 4.0), atol=1e-4, rtol=0)


def test_every_image_token_learns_to_tell_where_the_boxes_are(joined):
    model, processor = joined
    rng = np.random.default_rng(0)
    items = [_item(rng) for _ in range(40)]
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    found = vision.teach_vision(model, processor, Pictures(items, 0, 0.02, 0.05), SETTINGS, seed=0)
    changed = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    # 1. Only what lies between pixels and the language model has learned, and no layer above the one that is read.
    lower = [f"vision_tower.encoder.layer.{number}." for number in range(vision.FROZEN_LAYERS)]
    assert not [name for name in changed if "language_model" in name or any(part in name for part in lower)]
    assert any("multi_modal_projector" in name for name in changed)
    # 2. Even untrained parts with 64 views do better than the mean place, which is off by a fifth.
    assert 0 < found["edge_error"] < 0.19


def _item(rng: np.random.Generator) -> Item:
    top, left = rng.integers(0, 300, 2)
    height, width = rng.integers(20, 300, 2)
    box = [int(top), int(top + height), int(left), int(left + width)]
    return Item(
        img_id="1", triple_list=[Triple(s="cat", o="mat", p="on", s_bbox=box, o_bbox=box)], captions=["a cat on a mat"]
    )
