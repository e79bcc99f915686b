"""Task 1 by likelihood: the probabilities are those of nine stock forward passes, the picture being read once."""

from pathlib import Path

import pytest
import torch
from tiny_model import write_base, write_samples

from vsd_utils.data.annotations import RELATIONS
from vsd_utils.data.photos import open_photo
from vsd_utils.models import answering, likelihood, vision_language


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("likelihood")
    write_base(root / "base")
    return root


def test_each_relation_has_the_likelihood_of_a_stock_forward_pass(folder, tmp_path) -> None:
    processor = vision_language.load_processor(folder / "base")
    model = vision_language.load_model("float32", base=folder / "base").eval()
    # Two shapes of picture and names of several lengths, so that rows of a batch are padded.
    asked = [row for row in answering.questions(write_samples(tmp_path, 4)) if row["task"] == 1]
    settings = answering.Settings(batch_size=4, max_new_tokens=(4, 4, 4), system_prompt="vicuna", task1="likelihood")
    read: list[int] = []
    hook = model.model.vision_tower.register_forward_hook(lambda *_: read.append(1))
    rows = answering.answer(model, processor, asked, tmp_path, tmp_path / "rows.jsonl", settings)
    hook.remove()
    assert read == [1]  # all pictures once, in one batch
    for row, question in zip(rows, asked, strict=True):
        picture = open_photo(tmp_path / question["image"])
        prompt = answering.render_prompt(processor, question["prompt"], "vicuna")
        start = processor(images=[picture], text=[prompt], add_special_tokens=False, return_tensors="pt")
        sums = []
        for relation in RELATIONS:
            text = f"{prompt} {relation}{processor.tokenizer.eos_token}"
            whole = processor(images=[picture], text=[text], add_special_tokens=False, return_tensors="pt")
            with torch.inference_mode():
                scores = model(**whole).logits[0].log_softmax(-1)
            ids = whole["input_ids"][0]
            assert ids[-1] == processor.tokenizer.eos_token_id
            sums.append(sum(scores[at - 1, ids[at]] for at in range(start["input_ids"].shape[1], len(ids))))
        expected = torch.stack(sums)
        found = torch.tensor([row["probabilities"][relation] for relation in RELATIONS])
        assert torch.allclose(found, expected.softmax(-1), atol=1e-5)
        assert list(row["probabilities"]) == list(RELATIONS)
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["sentences"] == [row["raw"]] == [RELATIONS[int(expected.argmax())]]
        inputs = answering.encode(processor, [picture], [question["prompt"]], "vicuna")
        direct = likelihood.log_likelihoods(model, inputs, likelihood.options(processor))[0]
        assert torch.allclose(direct, expected, rtol=0, atol=1e-4)  # sums of up to -150: 1e-5 of each token
