"""Kill a stage again and again at random moments, run it to its end, and compare every file with an unkilled run's.

    python tests/kill_chains.py --profile smoke --stage finetune --chains 20 --kills 3 --seed 0 \
        -S finetune.max_steps=30 -S finetune.save_steps=5

It works in a copy of the repository in a temporary folder, where the stages before are made once, with DVC. One chain:
the stage is started, killed with all its processes (SIGKILL) at a moment drawn uniformly from the time that an unkilled
run takes, started again, and so on, once to ``--kills`` times; the last run goes to its end. Then every file of the
copy outside of git's and DVC's own folders has to be there as the unkilled run left it, and no other, in ``work`` too.
``-S processes=2`` makes it two processes under ``accelerate launch``. ``--stage`` takes several; a chain is repeated by
its number: ``--only 7``. The exit status is 1 if any chain differs.

With ``--downloads`` the annotations and photos of a small data set are fetched, into ``sources`` of the copy, from a
web server that this program starts (``unreliable_host.py``), some of whose photos are no photos:

    python tests/kill_chains.py --stage fetch --downloads --chains 20

With ``--served``, describe and refine ask a real server too, ``transformers serve`` with the run's own models, by a key
in the environment; describe's answers have to be those of the base model loaded here, and no file may hold the key.
"""

import argparse
import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from project import Project
from ruamel.yaml import YAML
from servers import transformers_serve
from unreliable_host import Host, World

from vsd_utils.common.files import sha256
from vsd_utils.metrics.java.cache import cache_folder

_OTHERS = (".git", "__pycache__", "tmp", "timings.jsonl")  # git's, Python's and DVC's own files; how long it took
PLACES = ("fetch.annotations=sources/vsd", "fetch.photos=sources/photos")
KEY = "KILL_CHAINS_API_KEY"
STAGES = ("fetch", "base", "refiner", "convert", "finetune", "describe", "refine", "evaluate")


class Chain(NamedTuple):
    """What became of one chain: after how many seconds each run was killed, and which files differ."""

    number: int
    killed: list[float]
    different: list[str]


class Stage:
    """One stage in a project where all that it depends on has been made, and what an unkilled run of it leaves."""

    def __init__(self, project: Project, name: str) -> None:
        """Run the stages before ``name``, then ``name`` itself, unkilled."""
        self.project = project
        self.command = f"python -m vsd_utils mend && dvc repro {name}"  # what `make repro` does
        self.cache = project.folder.parent / f"{project.folder.name}-cache"
        stages = YAML(typ="safe", pure=True).load(project.folder / "dvc.yaml")["stages"]
        made = {path: stage for stage, content in stages.items() for path in _paths(content)}
        before = sorted({made[path] for path in stages[name]["deps"] if path in made})
        if before:
            project.run("dvc", "repro", *before)
        self.start_files = self._files()
        self.start_lock = (project.folder / "dvc.lock").read_bytes() if before else None
        self.reset()
        start = time.monotonic()
        self.finish()
        self.seconds = time.monotonic() - start
        self.expected = self.digests()

    def chain(self, number: int, kills: int, seed: int) -> Chain:
        """Run one chain from the beginning; at least its first run is killed."""
        chance = random.Random(f"{seed} {number}")
        shares = [chance.random() for _ in range(chance.randint(1, kills))]
        self.reset()
        start = time.monotonic()
        while not self.kill_after(shares[0] * self.seconds):
            # The machine was slower when the unkilled run was timed.
            self.seconds = time.monotonic() - start
            self.reset()
            start = time.monotonic()
        killed = [shares[0] * self.seconds]
        for share in shares[1:]:
            if self.kill_after(share * self.seconds):
                killed.append(share * self.seconds)
        self.finish()
        found = self.digests()
        names = sorted(found.keys() | self.expected.keys())
        return Chain(number, killed, [name for name in names if found.get(name) != self.expected.get(name)])

    def reset(self) -> None:
        """Take away all that runs of the stage have left, also in DVC's cache and in the cache of scores."""
        for name in self._files() - self.start_files:
            path = self.project.folder / name
            path.unlink()
            # DVC stumbles over an empty folder of its run cache.
            while not any((path := path.parent).iterdir()):
                path.rmdir()
        lock = self.project.folder / "dvc.lock"
        lock.write_bytes(self.start_lock) if self.start_lock else lock.unlink(missing_ok=True)
        shutil.rmtree(self.cache, ignore_errors=True)
        self.cache.mkdir()
        jars = cache_folder() / "jars"
        if jars.is_dir():  # 385 MB
            (self.cache / "jars").symlink_to(jars)

    def kill_after(self, seconds: float) -> bool:
        """Start the stage and kill all its processes after ``seconds``; False if it had ended by then."""
        process = self.project.start("sh", "-c", self.command, VSD_CACHE=str(self.cache))
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            kill_tree(process.pid)
            process.communicate()
            return True
        return False

    def finish(self) -> None:
        """Run the stage to its end; raises ``AssertionError`` with its output where it fails."""
        self.project.run("sh", "-c", self.command, VSD_CACHE=str(self.cache))

    def digests(self) -> dict[str, str]:
        """Digest of every file by its path, but for git's, Python's and DVC's own."""
        names = [name for name in self._files() if not name.startswith(".dvc/")]
        return {name: sha256(self.project.folder / name) for name in names}

    def _files(self) -> set[str]:
        found = (path.relative_to(self.project.folder) for path in self.project.folder.rglob("*") if path.is_file())
        return {path.as_posix() for path in found if not {*path.parts} & {*_OTHERS}}


def kill_tree(pid: int) -> None:
    """SIGKILL a process and all that it has started, and wait until none is left."""
    try:
        root = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return
    seen: set[psutil.Process] = set()
    while new := {root, *root.children(recursive=True)} - seen:
        # From the first to the last, so that nobody can tell that a child has gone.
        for process in sorted(new, key=lambda one: one.create_time()):
            process.kill()
        seen |= new
    psutil.wait_procs(seen - {root}, timeout=30)


def endpoint_of(url: str, model: Path) -> dict[str, Any]:
    """Parameters of a server whose key is in ``KEY``; one request at a time, for its one stream of random numbers."""
    return {
        "base_url": url,
        "model": str(model),
        "api_key_variable": KEY,
        "requests_at_once": 1,
        "requests_per_minute": None,
        "dollars_per_million_input_tokens": None,
        "dollars_per_million_output_tokens": None,
        "request_fields": {},
    }


def serve_own_models(project: Project, url: str) -> None:
    """Write into the project's params.yaml that a server answers, too, with the models that the project makes."""
    yaml = YAML(typ="safe", pure=True)
    path = project.folder / "params.yaml"
    params = yaml.load(path)
    for section, model in (("describe", "base"), ("refine", "refiner")):
        params[section]["endpoint"] = endpoint_of(url, project.folder / "models" / model)
    yaml.dump(params, path)


def check_served(project: Project, key: str) -> None:
    """Raise ``AssertionError`` where the server's answers are not those of the model here, or a file holds the key."""
    holding = [path for path in project.folder.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
    assert holding == []
    predictions = project.folder / "data" / "predictions"
    raw = [
        [json.loads(line)["raw"] for line in (predictions / f"{name}.jsonl").read_text().splitlines()]
        for name in ("base", "served")
    ]
    assert raw[0] == raw[1]


def _paths(stage: dict[str, list[str | dict[str, object]]]) -> list[str]:
    entries = [entry for kind in ("outs", "metrics", "plots") for entry in stage.get(kind, [])]
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="smoke")
    parser.add_argument("--stage", nargs="+", choices=STAGES, default=["finetune"])
    parser.add_argument("--chains", type=int, default=20)
    parser.add_argument("--kills", type=int, default=3, help="at most so many in a chain")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="+", help="numbers of the chains to run, instead of --chains")
    parser.add_argument("--downloads", action="store_true", help="fetch annotations and photos from a server of ours")
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder, to look at the last chain")
    parser.add_argument("--served", action="store_true", help="describe and refine ask a server too")
    parser.add_argument("-S", dest="overrides", action="append", default=[], metavar="PARAMETER=VALUE")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kill-chains-"))
    numbers = given.only or range(given.chains)
    stack = ExitStack()
    different = 0
    try:
        project = Project.of_this_checkout(folder / "project")
        downloads = stack.enter_context(small_vsd(folder / "host")) if given.downloads else []
        project.run("python", "-m", "vsd_utils", "profile", f"{given.profile}", *downloads, *given.overrides)
        if given.served:
            os.environ[KEY] = secrets.token_hex(16)
            serve_own_models(project, stack.enter_context(transformers_serve(folder / "server.log")))
        for name in given.stage:
            stage = Stage(project, name)
            print(f"{name}, seed {given.seed}: {stage.seconds:.1f} s unkilled, {len(stage.expected)} files", flush=True)
            chains = [show(stage.chain(number, given.kills, given.seed)) for number in numbers]
            same = sum(not chain.different for chain in chains)
            print(f"{name}: {same} of {len(chains)} chains left the bytes of an unkilled run", flush=True)
            different += len(chains) - same
        if given.served:
            check_served(project, os.environ[KEY])
    finally:
        stack.close()
        if given.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if different else 0


@contextmanager
def small_vsd(folder: Path) -> Iterator[list[str]]:
    """Serve a small data set for as long as the context lasts; gives the parameters of a run that fetches it."""
    with Host(delay=0.1) as host:
        world = World(host, folder, photos=120)
        # Always in one way or another, so that every run has to deal with it.
        for number, place in enumerate(world.place.values()):
            if number % 10 == 0:
                host.faults[f"/rak248/{place}"] = [("404!", "page!", "short!")[number // 10 % 3]]
        yield [*world.overrides(), *PLACES, "fetch.skip_invalid=true"]


def show(chain: Chain) -> Chain:
    """Print what became of a chain, and hand it on."""
    moments = ", ".join(f"{moment:.1f}" for moment in chain.killed)
    verdict = f"differs: {', '.join(chain.different)}" if chain.different else "same bytes"
    print(f"chain {chain.number}: killed after {moments} s: {verdict}", flush=True)
    return chain


if __name__ == "__main__":
    sys.exit(main())
