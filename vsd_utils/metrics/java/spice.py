"""SPICE (Anderson et al., 2016) by the authors' own jar, each distinct caption parsed once, ever.

Nearly all of SPICE's time is CoreNLP's parser, and the jar parses a caption again each time it occurs in a run, even
with its parse cache. So captions that were never parsed here go through the parser first, each once, in portions, so
that progress shows and a kill loses at most one portion; then the jar's classes score with all parses at hand. Scores
are per item and do not depend on what else is in the run, so all systems and tasks share one run, and a comparison
that was scored before is not scored again. One Java does all of it (``spice.js``).
"""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self

from vsd_utils.common.errors import VsdError
from vsd_utils.common.progress import Meter
from vsd_utils.metrics.java.cache import Store, cache_folder
from vsd_utils.metrics.java.jars import fetch_jars, pycocoevalcap_folder
from vsd_utils.metrics.java.runtime import Java, JavaError, environment, find_java

MAX_WORDS = 80
_PORTION = 400
_SCORED_AT_ONCE = 20_000
_FEW = 1_500  # comparisons
_ANSWER = "answer "  # what the script's lines begin with


class SpiceError(VsdError):
    """SPICE cannot run here; the text is the reason to report beside the empty value."""


class Comparison(NamedTuple):
    """A caption and the references that it is compared with, all together."""

    caption: str
    references: tuple[str, ...]


class Spice:
    """Scores comparisons of a caption and its references; holds the cache and, while in use, one running Java."""

    def __init__(
        self,
        java: Java | None = None,
        *,
        heap_gb: float = 4.0,
        folder: Path | None = None,
        jars: Path | None = None,
        portion: int = _PORTION,
    ) -> None:
        """Start and fetch nothing yet.

        ``folder`` keeps parses and scores (default: ``spice`` in the cache folder), ``jars`` the archives.
        ``portion`` is how many captions are parsed between two commits. The parser takes all cores that Java sees; the
        jar's ``-threads`` changes nothing about it.
        """
        self._java, self.heap_gb, self.portion = java, heap_gb, portion
        self.folder = folder or cache_folder() / "spice"
        self._jars = jars
        self._few = False  # whether what is asked for is over before Java's slower compiler pays
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None

    @property
    def java(self) -> Java:
        """Return the Java in use; raises ``JavaError`` when there is none."""
        if self._java is None:
            self._java = find_java()
        return self._java

    def scores(self, comparisons: Sequence[Comparison]) -> list[float]:
        """Score each comparison, in order: F-score in 0..1; an empty caption gets 0, no references an error.

        Of a caption with more than ``MAX_WORDS`` words only the first ``MAX_WORDS`` count: the parser's time grows
        with the cube of the length. Raises ``SpiceError`` with the reason when SPICE cannot run.
        """
        try:
            return self._scores(
                [
                    Comparison(_cut(comparison.caption), tuple(map(_cut, comparison.references)))
                    for comparison in comparisons
                ]
            )
        except SpiceError:
            raise
        except (VsdError, OSError) as error:
            raise SpiceError(f"SPICE cannot run: {error}") from None
        finally:
            self.close()

    def _scores(self, comparisons: list[Comparison]) -> list[float]:
        if any(not comparison.references for comparison in comparisons):
            raise SpiceError("SPICE cannot run: a caption has no reference.")
        store = Store(self.folder / "known.sqlite", "scores")
        keys = {
            comparison: json.dumps([comparison.caption, comparison.references])
            for comparison in dict.fromkeys(comparisons)
        }
        known = store.get(keys.values())
        new = [comparison for comparison, key in keys.items() if key not in known]
        self._few = len(new) < _FEW
        parses = self._parse(
            list(dict.fromkeys(text for comparison in new for text in (*comparison.references, comparison.caption)))
        )
        meter = Meter("SPICE, captions scored", len(new))
        for start in range(0, len(new), _SCORED_AT_ONCE):
            part = new[start : start + _SCORED_AT_ONCE]
            texts = dict.fromkeys(text for comparison in part for text in (*comparison.references, comparison.caption))
            scored = self._ask({"score": part, "tuples": {text: parses[text] for text in texts}}, len(part))
            found = {keys[comparison]: repr(float(score)) for comparison, score in zip(part, scored, strict=True)}
            store.put(found)
            known |= found
            meter.at(start + len(part))
        return [float(known[keys[comparison]]) for comparison in comparisons]

    def _parse(self, captions: list[str]) -> dict[str, Any]:
        """Parse captions into what SPICE takes from a parse: lists of one to three words."""
        store = Store(self.folder / "known.sqlite", "parses")
        known = store.get(captions)
        new = [caption for caption in captions if caption not in known]
        meter = Meter("SPICE, captions parsed for the first time", len(captions), len(captions) - len(new))
        for start in range(0, len(new), self.portion):
            part = new[start : start + self.portion]
            answer = self._ask({"parse": part}, len(part))
            found = {caption: json.dumps(tuples) for caption, tuples in zip(part, answer, strict=True)}
            store.put(found)
            known |= found
            meter.at(len(captions) - len(new) + start + len(part))
        return {caption: json.loads(known[caption]) for caption in captions}

    def _ask(self, request: dict[str, Any], count: int) -> list[Any]:
        """Put one request to Java; its answer has ``count`` values."""
        process = self._process or self._start()
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        except OSError:
            raise self._died(process) from None
        # Java and the jars may print lines of their own.
        for line in process.stdout:
            if line.startswith(_ANSWER):
                values: list[Any] = json.loads(line.removeprefix(_ANSWER))
                if len(values) != count:
                    raise SpiceError(f"SPICE cannot run: Java answered {len(values)} of {count} captions.")
                return values
        raise self._died(process)

    def _start(self) -> subprocess.Popen[str]:
        jars = fetch_jars(folder=self._jars)
        spice = pycocoevalcap_folder() / "spice"
        separator = ";" if self.java.system.startswith("Windows") else ":"
        class_path = separator.join([str(spice / "spice-1.0.jar"), str(spice / "lib" / "*"), *map(str, jars)])
        script = str(Path(__file__).with_name("spice.js"))
        # About a tenth of the time each (benchmarks/spice): the parallel collector, told to give up early when memory
        # is too small, and short headers for the parser's many small objects, which Java has since 25.
        options = ["-XX:+UseParallelGC", "-XX:GCTimeLimit=50", "-XX:GCHeapFreeLimit=25"]
        options += ["-XX:+UseCompactObjectHeaders"] * (self.java.major >= 25)
        # A third less processor time for a hundred captions, as much for 1,600, more beyond (benchmarks/spice).
        options += ["-XX:TieredStopAtLevel=1"] * self._few
        main = "org.mozilla.javascript.tools.shell.Main"
        command = self.java.command(self.heap_gb, class_path, main, script, options=options)
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            encoding="utf-8",
            errors="replace",
            env=environment(),
        )
        return self._process

    def _died(self, process: subprocess.Popen[str]) -> SpiceError:
        code = process.wait()
        assert self._log
        self._log.seek(0)
        lines = [line.strip() for line in self._log if not line.startswith(("[main] INFO", "WARNING", "\tat "))]
        last = " / ".join(lines[-3:])[-300:]
        hint = " Give Java more memory (heap_gb)." if "OutOfMemoryError" in last or code in (-9, 137) else ""
        return SpiceError(f"SPICE cannot run: Java {self.java.version} ended with status {code}: {last}.{hint}")

    def close(self) -> None:
        """End the running Java, if any; the next call starts another."""
        process, self._process = self._process, None
        if process:
            process.kill()
            process.communicate()
        if self._log:
            self._log.close()
            self._log = None

    def __enter__(self) -> Self:
        """Serve ``with``, which closes at its end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def spice_problem(java: Java | None = None) -> str | None:
    """Say why SPICE cannot run here, None when it can; fetches the archives that are missing."""
    try:
        java = java or find_java()
        fetch_jars()
    except (JavaError, VsdError) as error:
        return str(error)
    return None


def _cut(caption: str) -> str:
    words = caption.split()
    return caption if len(words) <= MAX_WORDS else " ".join(words[:MAX_WORDS])
