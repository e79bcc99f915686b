"""From how many captions on does Java's second compiler pay? SPICE with both compilers against the first alone.

    python benchmarks/spice/compilers.py --vsd FOLDER [--captions 100 400 1600 3200] [--rounds 3]

Captions of the real validation files, drawn at random, each scored against the next; fresh Java and empty caches each
time, the two sides in turn. Stops if any score differs. Prints medians of clock and processor seconds.
"""

import argparse
import random
import resource
import tempfile
import time
from pathlib import Path
from statistics import median
from unittest import mock

from vsd_utils.common.paths import annotation_file
from vsd_utils.data.annotations import load_items
from vsd_utils.metrics.java import spice
from vsd_utils.metrics.java.spice import Pair, Spice


def measure(pairs: list[Pair], few: int) -> tuple[float, float, list[float]]:
    """Clock seconds, processor seconds and scores, with ``few`` as the number below which one compiler has to do."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(spice, "_FEW", few):
        scores = Spice(folder=Path(folder)).scores(pairs)
    clock = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, scores


def main() -> None:
    """Command line; see the module's description."""
    parser = argparse.ArgumentParser(description="SPICE with Java's first compiler alone against both.")
    parser.add_argument("--vsd", type=Path, required=True, help="folder with VSDv1/ and VSDv2/")
    parser.add_argument("--captions", type=int, nargs="+", default=[100, 400, 1600, 3200])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    items = [item for version in (1, 2) for item in load_items(annotation_file(version, "val", given.vsd))]
    captions = sorted({caption for item in items for caption in item.captions})
    print("captions   both: clock (processor)   first alone   ratio")
    for count in given.captions:
        drawn = random.Random(count).sample(captions, count)
        pairs = [Pair(caption, (other,)) for caption, other in zip(drawn, [*drawn[1:], drawn[0]], strict=True)]
        both, first = [], []
        for _ in range(given.rounds):
            both.append(measure(pairs, 0))
            first.append(measure(pairs, 10**9))
            if both[-1][2] != first[-1][2]:
                raise SystemExit("the scores differ")
        (clock, processor), (clock_first, processor_first) = (
            [median(run[column] for run in runs) for column in (0, 1)] for runs in (both, first)
        )
        print(
            f"{count:8}   {clock:.1f} ({processor:.1f})   {clock_first:.1f} ({processor_first:.1f})   "
            f"{clock / clock_first:.2f} ({processor / processor_first:.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
