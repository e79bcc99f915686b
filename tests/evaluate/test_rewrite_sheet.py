"""The sheet hides who wrote a sentence; what a person fills in is set beside the checkers."""

import pandas as pd
import pytest

from vsd_utils.common.errors import VsdError
from vsd_utils.data.annotations import RELATIONS, Item
from vsd_utils.evaluate.rewrite_sheet import JUDGEMENT, judged_table, make_sheet
from vsd_utils.metrics.relation_learned import train_checker
from vsd_utils.report import tables


def rows(accepted: bool = True) -> list[dict]:
    made = []
    for number in range(40):
        original = [f"the cat is {word} the dog, {number}" for word in ("on", "under", "near")]
        sentences = [f"a cat sits on the dog, {number}", original[0], f"a cat and a dog, {number}"]
        made.append(
            {
                "img_id": f"i{number}",
                "subject": "cat",
                "object": "dog",
                "label": "on",
                "accepted": accepted,
                "original": original,
                "sentences": sentences,
            }
        )
    return made


def test_a_sheet_hides_the_writers_and_the_key_names_them() -> None:
    sheet, key = make_sheet(rows(), 0)
    assert len(sheet) == len(key) == 75
    assert key["written by"].value_counts().to_dict() == {"refiner": 50, "tuned model": 25}
    assert set(sheet.columns) == {"number", "subject", "object", "relation", "sentence", JUDGEMENT}
    originals = {text for row in rows() for text in row["original"]}
    by = dict(zip(sheet["sentence"], key["written by"], strict=True))
    assert {text for text, writer in by.items() if writer == "tuned model"} == {
        *by
    } & originals  # a kept one is no rewrite
    assert make_sheet(rows(), 0)[0].equals(sheet)
    assert not make_sheet(rows(), 1)[0].equals(sheet)
    with pytest.raises(VsdError, match="no rewrite was accepted"):
        make_sheet(rows(accepted=False), 0)


def test_a_filled_sheet_beside_the_checkers(tmp_path) -> None:
    triple = {"s": "cat", "o": "dog", "s_bbox": [0, 9, 0, 9], "o_bbox": [0, 9, 0, 9]}
    learned = train_checker(
        [
            Item.model_validate(
                {"img_id": f"t{n}", "triple_list": [triple | {"p": p}], "captions": [f"a cat {p} a dog"]}
            )
            for n, p in enumerate(RELATIONS * 5)
        ]
    )
    sheet, key = make_sheet(rows(), 0)
    truly = ["yes" if " on the dog" in text else "no" for text in sheet["sentence"]]
    tables.write("filled", "a title", sheet.assign(**{JUDGEMENT: truly}), ["a note"], tmp_path)
    path = tmp_path / "filled.csv"
    path.write_text(path.read_text().replace("# a note", '"# a note"'))  # as a spreadsheet saves it
    found = judged_table(tables.read_rows("filled", tmp_path), key.to_dict("records"), learned).set_index("written by")
    assert found["sentences"].to_dict() == {"tuned model": "25", "refiner": "50"}
    said = pd.Series(truly)[key["written by"] == "refiner"].eq("yes").mean()
    assert found.loc["refiner", "person"] == found.loc["refiner", "rules"] == f"{100 * said:.1f}"
    assert found["kappa, rules"].tolist() == ["1.00", "1.00"]
    half = sheet.assign(**{JUDGEMENT: ["yes", *["perhaps"] * 74]}).to_dict("records")
    with pytest.raises(VsdError, match="rows 2, 3, "):
        judged_table(half, key.to_dict("records"), learned)
    with pytest.raises(VsdError, match="no column sentence"):
        judged_table(sheet.drop(columns="sentence").to_dict("records"), key.to_dict("records"), learned)
    with pytest.raises(VsdError, match="the sheet has 74 rows, the key 75"):
        judged_table(half[1:], key.to_dict("records"), learned)
