"""Time SPICE here against pycocoevalcap's own Spice class: same Java, same captions, scores equal item by item.

    python benchmarks/spice/compare.py --vsd FOLDER --output result.json [--images 300] [--rounds 3]

Both sides start a round with empty caches and keep them through it. pycocoevalcap's class is called as its users call
it, once a system for task 2 (against v1) and once a system and rank for task 3 (against v2), with its own parse cache;
only its command line is changed, to the flags and the script engine without which it fails on any Java after 14.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

from pycocoevalcap.spice import spice as peer

from vsd_utils.common.files import write_json
from vsd_utils.common.paths import annotation_file
from vsd_utils.data.annotations import Item, load_items
from vsd_utils.evaluate.baselines import human_submission, template_submission
from vsd_utils.metrics.java.jars import SCRIPT_ENGINE, SPICE_JARS, fetch_jars, pycocoevalcap_folder
from vsd_utils.metrics.java.runtime import Java, environment, find_java
from vsd_utils.metrics.java.spice import Pair, Spice
from vsd_utils.metrics.java.tokenizer import tokenize

OPENED = (
    "java.lang",
    "java.math",
    "java.util",
    "java.util.concurrent",
    "java.net",
    "java.text",
)  # its cache needs them
Call = list[Pair]  # what one call of pycocoevalcap's class scores, in image order


def calls_of(items: list[Item], others: list[Item]) -> dict[str, list[Call]]:
    """For each of three systems its four calls: task 2 against v1, the three ranks of task 3 against v2."""
    gold = {item.img_id: [triple.p for triple in item.triple_list] for item in items}
    always = {item.img_id: ["on"] * len(item.triple_list) for item in items}
    systems = {
        "people": human_submission(items, others),
        "template, gold relation": template_submission(items, gold),
        "template, always on": template_submission(items, always),
    }
    calls: dict[str, list[tuple[list[str], list[tuple[str, ...]]]]] = {}
    for name, (first, third) in systems.items():
        calls[name] = [([row["description"][0] for row in first], [item.captions for item in items])]
        calls[name] += [
            ([row["description"][k] for row in third], [item.captions for item in others]) for k in range(3)
        ]
    texts = [
        t
        for many in calls.values()
        for captions, known in many
        for t in (*captions, *(r for row in known for r in row))
    ]
    tokens = tokenize(texts)
    return {
        name: [
            [Pair(tokens[c], tuple(tokens[r] for r in row)) for c, row in zip(captions, known, strict=True)]
            for captions, known in many
        ]
        for name, many in calls.items()
    }


def peer_scores(calls: list[Call], cache: Path, java: Java) -> list[list[float]]:
    """pycocoevalcap's Spice, one call after the other, its cache in ``cache``."""
    jars = os.pathsep.join(map(str, fetch_jars((*SPICE_JARS, SCRIPT_ENGINE))))
    folder = pycocoevalcap_folder() / "spice"
    class_path = os.pathsep.join([str(folder / "spice-1.0.jar"), str(folder / "lib" / "*"), jars])

    def run(command: list[str], cwd: str) -> None:
        start = command.index(peer.SPICE_JAR) + 1
        opens = [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in OPENED] if java.major > 8 else []
        changed = java.command(8, class_path, "edu.anu.spice.SpiceScorer", *command[start:], options=opens)
        subprocess.run(changed, cwd=cwd, check=True, capture_output=True, env=environment())

    with (
        mock.patch.object(peer, "get_stanford_models", return_value=None),
        mock.patch.object(peer, "CACHE_DIR", str(cache)),
        mock.patch.object(peer.subprocess, "check_call", run),
    ):
        scorer = peer.Spice()
        answers = []
        for call in calls:
            # Keys in image order also when sorted, which is how the class returns its scores.
            known = {f"{n:06}": list(pair.references) for n, pair in enumerate(call)}
            given = {f"{n:06}": [pair.caption] for n, pair in enumerate(call)}
            answers.append([row["All"]["f"] for row in scorer.compute_score(known, given)[1]])
    return answers


def our_scores(calls: list[Call], cache: Path, java: Java) -> list[list[float]]:
    """All calls in one go."""
    flat = iter(Spice(java, folder=cache).scores([pair for call in calls for pair in call]))
    return [[next(flat) for _ in call] for call in calls]


def forget_scores(cache: Path) -> None:
    """Leave only the parses, as they are when new predictions of known captions are scored."""
    import sqlite3

    with sqlite3.connect(cache / "known.sqlite") as database:
        database.execute("DELETE FROM scores")


def one_round(systems: dict[str, list[Call]], java: Java, scratch: Path) -> dict[str, Any]:
    """Seconds of both sides, cold and warm; raises when any item's scores differ."""
    first = next(iter(systems.values()))
    everything = [call for calls in systems.values() for call in calls]
    times: dict[str, float] = {}
    processor: dict[str, float] = {}

    def timed(name: str, work: Any, *arguments: Any) -> Any:
        start, used = time.perf_counter(), processor_seconds()
        answer = work(*arguments, java)
        times[name] = round(time.perf_counter() - start, 2)
        processor[name] = round(processor_seconds() - used, 2)
        print(f"{name}: {times[name]} s, processor {processor[name]} s", file=sys.stderr, flush=True)
        return answer

    ours_one, ours_all, theirs = scratch / "ours-1", scratch / "ours-3", scratch / "theirs"
    theirs.mkdir()
    # One system, then the other two with what the first left behind: pycocoevalcap's cache serves them as it would.
    answers = timed("theirs, cold, one system", peer_scores, first, theirs)
    answers += timed("theirs, cold, two more", peer_scores, everything[len(first) :], theirs)
    mine = timed("ours, cold, one system", our_scores, first, ours_one)
    assert mine == answers[: len(first)], "scores differ"
    mine = timed("ours, cold, three systems", our_scores, everything, ours_all)
    assert mine == answers, "scores differ"
    assert timed("theirs, warm, three systems", peer_scores, everything, theirs) == answers
    forget_scores(ours_all)
    assert timed("ours, parses known, three systems", our_scores, everything, ours_all) == answers
    assert timed("ours, scores known, three systems", our_scores, everything, ours_all) == answers
    return {
        "seconds": times,
        "processor seconds": processor,
        "ratios": ratios(times),
        "processor ratios": ratios(processor),
    }


def processor_seconds() -> float:
    """Of this process and the ended ones that it started; on a shared machine fairer than the clock."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def ratios(times: dict[str, float]) -> dict[str, float]:
    """How many times longer pycocoevalcap's class takes."""
    whole = times["theirs, cold, one system"] + times["theirs, cold, two more"]
    warm = times["theirs, warm, three systems"]
    found = {
        "cold, one system": times["theirs, cold, one system"] / times["ours, cold, one system"],
        "cold, three systems": whole / times["ours, cold, three systems"],
        "warm, parses known": warm / times["ours, parses known, three systems"],
        "warm, scores known": warm / max(times["ours, scores known, three systems"], 0.01),
    }
    return {name: round(ratio, 2) for name, ratio in found.items()}


def _spread(values: list[float]) -> list[float]:
    return [min(values), round(median(values), 2), max(values)]


def main() -> None:
    """Run the rounds and write every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vsd", type=Path, required=True, help="folder with VSDv1/val.json and VSDv2/newvsd_val.json")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--images", type=int, default=0, help="the first so many images only (0: all 2,927)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--java", type=Path)
    given = parser.parse_args()
    java = find_java(given.java)
    items, others = (load_items(annotation_file(n, "val", given.vsd))[: given.images or None] for n in (1, 2))
    systems = calls_of(items, others)
    pairs = [pair for calls in systems.values() for call in calls for pair in call]
    rounds = []
    for _ in range(given.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            rounds.append(one_round(systems, java, Path(scratch)))
    spread = {
        kind: {name: _spread([done[kind][name] for done in rounds]) for name in rounds[0][kind]}
        for kind in ("ratios", "processor ratios")
    }
    result = {
        "images": len(items),
        "pairs": len(pairs),
        "captions": sum(1 + len(pair.references) for pair in pairs),
        "distinct captions": len({text for pair in pairs for text in (pair.caption, *pair.references)}),
        "java": java.version,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "min, median, max": spread,
        "rounds": rounds,
    }
    write_json(given.output, result)
    print(json.dumps(spread, indent=1))


if __name__ == "__main__":
    main()
