"""Copies state what they are meant to; the learned checker never sees what it scores; tables say what was counted."""

import random
from pathlib import Path

import numpy as np
import pytest

from vsd_utils.__main__ import main
from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import write_json
from vsd_utils.common.paths import annotation_file
from vsd_utils.data import conversations, samples
from vsd_utils.data.annotations import RELATIONS, Item, load_versions
from vsd_utils.evaluate import audit_edits, template_check
from vsd_utils.evaluate.audit_captions import folded
from vsd_utils.evaluate.audit_edits import EDITS, OPPOSITES, SYNONYMS, edit_captions
from vsd_utils.evaluate.audit_ranking import ranking_table
from vsd_utils.evaluate.audit_scores import HeldOutCheckers, held_out_checkers, score_edits
from vsd_utils.evaluate.audit_tables import preference_table
from vsd_utils.evaluate.sentence_scores import Engine
from vsd_utils.metrics.relation_checker import statement, states_relation
from vsd_utils.metrics.relation_learned import Claim, mask, train_checker


def image(number: int, subject: str, relation: str, object_: str, *texts: str) -> Item:
    triple = {"s": subject, "o": object_, "p": relation, "s_bbox": [0, 9, 0, 9], "o_bbox": [0, 9, 0, 9]}
    return Item.model_validate({"img_id": f"i{number}", "triple_list": [triple], "captions": texts})


NOUNS = ("cat", "dog", "box", "tree", "car", "cup", "owl", "mat", "man", "bed")


@pytest.fixture(scope="module")
def items() -> list[Item]:
    """Ninety images, ten of each relation, each with three captions."""
    drawn = random.Random(0)
    made = []
    for number in range(90):
        s, o = drawn.sample(NOUNS, 2)
        p = RELATIONS[number % 9]
        made.append(
            image(
                number,
                s,
                p,
                o,
                f"the {s} is {p} the {o}.",
                f"there is the {s} {p} the {o}",
                f"one {s} {p} one {o}",
            )
        )
    # From these the number of each noun is known.
    made.append(
        image(90, "cat", "on", "dog", *(f"there is a {n}" for n in NOUNS), *(f"there is an {n}" for n in NOUNS))
    )
    return made  # fmt: skip


@pytest.fixture(scope="module")
def edited(items) -> list[audit_edits.EditedCaption]:
    known = [item.captions for item in items]
    return edit_captions(items, known, known, 0)


def test_a_copy_states_what_it_is_meant_to(items, edited) -> None:
    known = [item.captions for item in items]
    assert len(edited) > 60
    for one in edited:
        assert folded(one.original) not in map(folded, one.references)
        assert states_relation(one.original, one.subject, one.object, one.relation)
        has_no = {
            "opposite relation": one.relation in ("in", "next to"),
            "names swapped": one.relation == "next to",
            "negation": one.original.startswith("there is the"),
        }
        assert set(one.copies) == {edit for edit in EDITS if not has_no.get(edit)}, one
        for edit, relation in one.relations.items():
            assert statement(one.copies[edit], one.subject, one.object).relations == {relation}
        assert one.relations["another relation"] not in (one.relation, OPPOSITES.get(one.relation))
        assert not states_relation(one.copies.get("names swapped", ""), one.subject, one.object, one.relation)
        assert statement(one.copies["another object"], one.subject, one.object).refusal == "no_object"
        assert SYNONYMS[one.relation] in one.copies["synonym"]
    assert edit_captions(items, known, known, 0) == edited
    assert edit_captions(items, known, known, 1) != edited


def test_the_checker_never_sees_what_it_scores(items) -> None:
    checkers = held_out_checkers(items, seed=0)
    assert len(checkers.checkers) == 3
    for item in items:
        trained_on = checkers.of(item.img_id).images
        assert item.img_id not in trained_on
        assert len(trained_on) > 50
    wrong = HeldOutCheckers(checkers.checkers, {img_id: (part + 1) % 3 for img_id, part in checkers.part_of.items()})
    claims = [(item.img_id, Claim(item.captions[0], "a", "b")) for item in items]
    with pytest.raises(VsdError, match="was trained on"):
        wrong.relations(claims)
    with pytest.raises(VsdError, match=r"was trained on 1 of the images[^.]*\ni4\nTrain it on"):
        held_out_checkers(items[:5], 0, train=items[4:])


def test_the_checker_reads_who_is_where_and_is_the_same_each_time(items) -> None:
    checker = train_checker(items[:60])
    claims = [Claim(item.captions[0], item.triple_list[0].s, item.triple_list[0].o) for item in items[60:90]]
    gold = [item.triple_list[0].p for item in items[60:90]]
    assert checker.relations(claims) == gold
    exchanged = checker.relations([claim.exchanged() for claim in claims])
    assert all(a != g or g == "next to" for a, g in zip(exchanged, gold, strict=True))
    assert {(g, a) for g, a in zip(gold, exchanged, strict=True)} >= {("behind", "in front of"), ("on", "under")}
    again = train_checker(items[:60])
    assert np.array_equal(again.probabilities(claims), checker.probabilities(claims))
    assert checker.relations([Claim("the sun is on the sea", "cat", "dog"), Claim("cat", "cat", "dog")])[0] is None
    assert checker.relations([Claim("the cat is not on the dog", "cat", "dog")]) == [None]
    assert checker.relations([Claim("the no is on the dog", "no", "dog")]) == ["on"]
    with pytest.raises(VsdError, match="two relations at least"):
        train_checker([item for item in items if item.triple_list[0].p == "on"])


@pytest.mark.parametrize(
    ("sentence", "subject", "object_", "masked"),
    [
        ("The cow's ear is on the T.V.!", "cow's ear", "t.v.", "the subjectname is on the objectname"),
        ("a light above roads", "street light", "road", "a subjectname above objectname"),
        ("a sign left of a sign", "sign", "sign", "a subjectname left of a objectname"),
        ("nothing of it", "cat", "dog", ""),
    ],
)
def test_masks(sentence, subject, object_, masked) -> None:
    assert mask(Claim(sentence, subject, object_)) == masked


def test_scores_and_tables_without_java(items, edited, tmp_path) -> None:
    checkers = held_out_checkers(items, seed=0)
    engine = Engine(java=tmp_path / "none")
    audit = score_edits(edited, checkers, engine)
    assert audit.scores.keys() == {"relation_in_sentence", "relation_learned"}
    assert "none" in audit.missing["spice"]
    right, wrong = audit.pairs("relation_in_sentence", "another relation")
    assert (right.tolist(), wrong.tolist()) == ([100.0] * len(edited), [0.0] * len(edited))
    assert len(audit.pairs("relation_in_sentence", "opposite relation", "in")[0]) == 0
    table = preference_table({"v1": audit}, seed=0).set_index("metric")
    assert table.loc["number of captions", "another relation"] == str(len(edited))
    # All of n: the exact interval (Clopper and Pearson 1934) begins at the n-th root of 0.025.
    low = 100 * 0.025 ** (1 / len(edited))
    assert table.loc["relation_in_sentence", "another relation"] == f"100.0 [{low:.1f}, 100.0], ties 0.0"
    ranked = ranking_table(edited, checkers, engine)
    assert ranked.loc["template, the", "relation_in_sentence"] == "100.0 (1)"
    assert ranked.loc["pairs in the wrong order", "relation_in_sentence"] == "0 of 9"
    assert ranked.loc["template, the", "spice"] == ""
    with pytest.raises(VsdError, match="no caption can be edited"):
        score_edits([], checkers, engine)


def test_templates_of_the_real_files_are_read_back(real_vsd: Path) -> None:
    images = load_versions(*(annotation_file(version, "val", real_vsd) for version in (1, 2)))[:400]
    records = [
        conversations.llava_record(one)
        for each in images
        for one in conversations.converse(samples.outline(each, "val", (1, 1)), 0)
    ]
    check = template_check.check_templates(records)
    assert len(check.read_back) == len(records) > 2_000
    assert all(check.read_back)
    table = template_check.share_table(check).set_index(["task", "relation"])
    assert float(table.loc[("1", "all"), "rules"]) > 95
    assert float(table.loc[("2", "all"), "rules"]) > 75
    assert set(table["learned"]) == {""}
    broken = records[0] | {"triple": records[0]["triple"] | {"s": "somebody else"}}
    assert template_check.check_templates([broken]).read_back == [False]


def test_the_command_says_what_is_wrong(tmp_path, capsys) -> None:
    assert main(["audit", "--annotations", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert "VSDv1" in capsys.readouterr().err
    assert main(["audit", "--images", "2"]) == 2
    assert "expected 3 at least" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_command_runs_its_notebook_to_the_same_tables_twice(items, tmp_path, capsys) -> None:
    for version in (1, 2):
        path = annotation_file(version, "val", tmp_path)
        write_json(path, [item.model_dump(mode="json") for item in items])
    written, pages = [], []
    for run in ("one", "two"):
        options = ["--annotations", str(tmp_path), "--output", str(tmp_path / run), "--java", str(tmp_path / "none")]
        assert main(["audit", *options]) == 3
        assert "Not computed: bleu4, " in capsys.readouterr().err
        files = {path.name: path.read_bytes() for path in (tmp_path / run).iterdir()}
        pages.append(files.pop("06_audit.ipynb").decode() + files.pop("06_audit.html").decode())
        written.append(files)
    assert written[0] == written[1]
    # The page names its own folder, and is the same otherwise.
    one, two = (page.replace(str(tmp_path / run), "") for page, run in zip(pages, ("one", "two"), strict=True))
    assert one == two
    names = {"preference", "synonym_preference", "cost", "synonym_cost", "auc", "ranking", "edited_captions"}
    names |= {"relation_checkers", "template_check", "template_check_examples", "not_computed"}
    assert written[0].pop("auc.png").startswith(b"\x89PNG")
    assert written[0].keys() == {f"{name}.{kind}" for name in names for kind in ("md", "csv", "tex")}
    for name, content in written[0].items():
        assert b"VSDv1/val.json" in content, name
        assert b"Seed 0" in content
        assert b"nan" not in content.lower().split()
    assert b"| 1      | all " in written[0]["template_check.md"]
