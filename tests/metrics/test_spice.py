"""SPICE against pycocoevalcap's own class, run directly, and against values computed with the stock jar."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import sha256
from vsd_utils.common.paths import ROOT, annotation_file
from vsd_utils.data.annotations import Item, load_items
from vsd_utils.evaluate.references import fact_of
from vsd_utils.evaluate.sentence_scores import Engine, SentenceTask, score_sentences
from vsd_utils.metrics.java.cache import Store, cache_folder
from vsd_utils.metrics.java.jars import SCRIPT_ENGINE, SPICE_JARS, JarError, fetch_jars, pycocoevalcap_folder
from vsd_utils.metrics.java.runtime import JavaError, find_java
from vsd_utils.metrics.java.spice import Candidate, Spice, SpiceError
from vsd_utils.metrics.java.tokenizer import tokenize

OTHER_JAVA = Path("/usr/bin/java")
NAMED = (  # full of what CoreNLP's steps for entities and numbers look for; SPICE reads nothing of what they find
    Candidate("two men in paris on july 4 1999", ("2 men in france on independence day", "a couple of men")),
    Candidate("a dozen of the 1,000 red cars at 5 pm", ("twelve of a thousand cars in the evening",)),
    Candidate("john smith paid $ 20 to the university of oxford", ("one third of 20 percent", "microsoft corp.")),
)


@pytest.fixture(scope="module")
def pairs(real_vsd: Path) -> list[tuple[Item, Item]]:
    first, second = (load_items(annotation_file(version, "val", real_vsd)) for version in (1, 2))
    return list(zip(first, second, strict=True))


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """An empty parse cache; the archives stay in the user's."""
    return tmp_path_factory.mktemp("spice")


@pytest.fixture(scope="module")
def some(pairs) -> list[Candidate]:
    """People's v2 captions against v1's, 40 images, as the COCO evaluator would give them to SPICE, then ``NAMED``."""
    chosen = pairs[100:140]
    tokens = tokenize(c for pair in chosen for item in pair for c in item.captions)
    return [*(Candidate(tokens[b.captions[0]], tuple(tokens[c] for c in a.captions)) for a, b in chosen), *NAMED]


@pytest.fixture(scope="module")
def scored(some, cache) -> list[float]:
    """A portion of 30, so that several are parsed."""
    return Spice(folder=cache, portion=30).scores(some)


def test_equal_to_the_stock_class_item_by_item(some, scored, tmp_path) -> None:
    from pycocoevalcap.spice import spice as peer

    java = find_java(OTHER_JAVA if OTHER_JAVA.is_file() else None)
    spice = pycocoevalcap_folder() / "spice"
    jars = fetch_jars((*SPICE_JARS, SCRIPT_ENGINE))
    class_path = os.pathsep.join(map(str, [spice / "spice-1.0.jar", spice / "lib" / "*", *jars]))

    def run(command, cwd) -> None:
        arguments = command[command.index(peer.SPICE_JAR) + 1 :]
        cache = arguments.index("-cache")
        del arguments[cache : cache + 2]  # what it keeps there needs packages that Java closed after 8
        given = java.command(4, class_path, "edu.anu.spice.SpiceScorer", *arguments)
        subprocess.run(given, cwd=cwd, check=True, capture_output=True)

    with (
        mock.patch.object(peer, "get_stanford_models"),  # would download from elsewhere
        mock.patch.object(peer, "CACHE_DIR", str(tmp_path)),
        mock.patch.object(peer.subprocess, "check_call", run),  # "java -jar" fails on any Java after 14
    ):
        known = {f"{n:03}": list(pair.references) for n, pair in enumerate(some)}
        mean, each = peer.Spice().compute_score(known, {f"{n:03}": [pair.caption] for n, pair in enumerate(some)})
    assert scored == [row["All"]["f"] for row in each]
    assert sum(scored) / len(scored) == pytest.approx(mean, abs=1e-12)


@pytest.mark.skipif(not OTHER_JAVA.is_file(), reason="no other Java here")
def test_the_same_scores_on_another_java(some, scored, tmp_path) -> None:
    assert Spice(find_java(OTHER_JAVA), folder=tmp_path).scores(some[-6:]) == scored[-6:]


def test_what_was_parsed_is_never_parsed_again(some, scored, cache) -> None:
    # CoreNLP's models do not fit into this memory, so this fails if the parser is started at all.
    small = Spice(folder=cache, heap_gb=0.2)
    swapped = [Candidate(pair.references[0], (pair.caption,)) for pair in some]
    assert len(small.scores(swapped)) == len(some)
    assert small.scores(some[::-1]) == scored[::-1]
    with pytest.raises(SpiceError, match=r"OutOfMemoryError.*more memory"):
        small.scores([Candidate("a zebra beside a piano", ("a piano",))])


def test_a_damaged_cache_changes_no_score(some, scored, cache, tmp_path, capfd) -> None:
    damaged = Path(shutil.copy(cache / "known.sqlite", tmp_path))
    os.truncate(damaged, damaged.stat().st_size // 2 // 4096 * 4096)
    assert Spice(folder=tmp_path).scores(some[-8:]) == scored[-8:]
    assert f"{damaged}: this cache file is damaged" in capfd.readouterr().err


def test_hostile_captions_leave_the_others_alone(some, scored, cache) -> None:
    texts = [
        "",
        " ",
        "\n",
        '"',
        "''",
        "é 日本語 😀",
        "\ud800",
        "\x00\u2028",
        "x" * 10_000,
        ". " * 5_000,
        "a\\u0022b",
        "<a",
    ]
    words = " ".join(["dog"] * 2_000)
    hostile = [Candidate(text, ("a dog on a mat", text)) for text in texts] + [
        Candidate("a dog on a mat", (text,)) for text in texts
    ]
    mixed = [pair for both in zip(hostile, some, strict=False) for pair in both]
    given = [*mixed, Candidate(words, ("a dog",)), Candidate("", ("",)), *mixed[:4]]
    scores = Spice(folder=cache).scores(given)
    assert scores[1 : len(mixed) : 2] == scored[: len(hostile)]
    assert scores[-4:] == scores[:4]
    assert all(0 <= score <= 1 for score in scores)
    assert scores[0] == 0  # an empty caption


KILLED = """
import sys
from pathlib import Path
from vsd_utils.metrics.java.spice import Candidate, Spice
nouns, adjectives = "dog cat cup box".split(), "red old big wet".split()
captions = [f"a {adjective} {noun} on the table" for noun in nouns for adjective in adjectives]
Spice(folder=Path(sys.argv[1]), portion=2).scores([Candidate(caption, ("a dog",)) for caption in captions])
"""


def test_a_kill_loses_one_portion_at_most(tmp_path) -> None:
    captions = [f"a {a} {n} on the table" for n in ("dog", "cat", "cup", "box") for a in ("red", "old", "big", "wet")]
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT)
    store = Store(tmp_path / "known.sqlite", "parses")
    while process.poll() is None:
        if len(store.get(captions)) >= 4:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    kept = store.get(captions)
    assert len(kept) >= 4
    small = Spice(folder=tmp_path, heap_gb=0.2)
    assert len(small.scores([Candidate(caption, tuple(kept)) for caption in kept])) == len(kept)


def test_no_spice_is_an_empty_value_with_a_reason(tmp_path) -> None:
    task = {"one": SentenceTask([["a dog on a mat"]] * 2, [["a dog"]] * 2, [("dog", "mat", frozenset({"on"}))] * 2)}
    without = score_sentences(task, Engine(java="/nowhere/java", cache=tmp_path))["one"]
    assert "does not run" in without.missing["spice"]
    assert "does not run" in without.missing["bleu4"]
    assert without.measures.keys() == {"relation_in_sentence"}
    with pytest.raises(VsdError, match="no reference"):
        SentenceTask([["a"]], [[]], [("a", "b", frozenset())])


def test_archives_are_checked_and_offline_is_said(tmp_path, monkeypatch) -> None:
    engine = SCRIPT_ENGINE
    with pytest.raises(JarError, match=engine.coordinates):
        fetch_jars((engine._replace(digest="0" * 64),), tmp_path)
    assert list(tmp_path.iterdir()) == []
    damaged = tmp_path / engine.name
    damaged.write_bytes(bytes(engine.size))
    assert fetch_jars((engine,), tmp_path) == [damaged]
    assert sha256(damaged) == engine.digest
    damaged.unlink()
    damaged.mkdir()
    assert fetch_jars((engine,), tmp_path) == [damaged]
    (elsewhere,) = fetch_jars((engine,), damaged / "jars")  # below a file no folder can be made
    assert sha256(elsewhere) == engine.digest
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(JarError, match=rf"{engine.name} \(SHA-256 {engine.digest}\) into that folder"):
        fetch_jars((engine,), tmp_path)
    with pytest.raises(SpiceError, match="stanford-corenlp"):
        Spice(folder=tmp_path / "spice", jars=tmp_path / "jars").scores([Candidate("a", ("b",))])


def test_java_is_named_or_found(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert find_java().major == 25
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(JavaError, match="comes from JAVA_HOME"):
        find_java()


FORMS = ("the {s} is {p} the {o}.", "there is a {s} {p} the {o}.", "there is a {s} on the {o}.")
TABLE = {
    ("v1", FORMS[0]): (63.99, 85.85),
    ("v1", FORMS[1]): (64.01, 85.86),
    ("v2", FORMS[0]): (51.19, 51.49),
    ("v2", FORMS[1]): (51.20, 51.50),
    ("v1", FORMS[2]): (48.63, 70.31),
    ("v1", "person"): (39.83, 53.26),
    ("v2", "person"): (42.51, 42.86),
}


@pytest.mark.slow
def test_the_whole_validation_files(pairs) -> None:
    """Minutes when nothing was parsed before, so only where a benchmark or an evaluation has."""
    triples = [first.triple_list[0] for first, _ in pairs]
    tasks = {}
    for version, form in TABLE:
        side = int(version == "v2")
        if form == "person":
            sentences = [pair[1 - side].captions[0] for pair in pairs]
        else:
            sentences = [form.format(s=t.s, o=t.o, p=t.p) for t in triples]
        references = [pair[side].captions for pair in pairs]
        tasks[json.dumps((version, form))] = SentenceTask(
            [[s] for s in sentences], references, [fact_of(a) for a, _ in pairs]
        )
    tokens = tokenize(
        t for task in tasks.values() for rows in (task.sentences, task.references) for row in rows for t in row
    )
    record = cache_folder() / "spice" / "known.sqlite"
    distinct = set(tokens.values())
    if not record.is_file() or len(Store(record, "parses").get(distinct)) < len(distinct):
        pytest.skip("the validation captions were not parsed here before")
    found = score_sentences(tasks)
    for (version, form), expected in TABLE.items():
        measures = found[json.dumps((version, form))].measures
        values = (measures["spice"].value, measures["spice_per_reference_max"].value)
        assert tuple(round(value, 2) for value in values) == expected, (version, form)
