"""Parameters: four profiles that validate, and no mistake that gets past the start of a run."""

import copy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from pydantic import ValidationError
from ruamel.yaml import YAML

from vsd_utils.common.errors import VsdError
from vsd_utils.common.parameter_problems import RENAMED
from vsd_utils.common.params import SHARED, given, load
from vsd_utils.common.paths import ROOT
from vsd_utils.common.profiles import compose, overrides
from vsd_utils.common.sections import Params

PROFILES = ("boxes", "mini", "paper", "paper_24gb", "rehearsal", "smoke")
MINI = compose(["profile=mini"])
GONE = object()


def changed(place: str, value: Any) -> dict[str, Any]:
    """The mini profile with one value put at a dotted place, or taken away."""
    content = copy.deepcopy(MINI)
    *sections, name = place.split(".")
    part = content
    for section in sections:
        part = part[section]
    if value is GONE:
        del part[name]
    else:
        part[name] = value
    return content


def write(path: Path, content: Any) -> Path:
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    else:
        YAML(typ="safe", pure=True).dump(content, path)
    return path


def test_each_profile_is_valid(tmp_path) -> None:
    assert {path.name for path in (ROOT / "conf/profile").iterdir()} == {f"{name}.yaml" for name in PROFILES}
    for name in PROFILES:
        params = load(write(tmp_path / "params.yaml", compose([f"profile={name}"])))
        assert params.profile == name
        assert overrides(params) == []


def test_the_paper_is_the_base_and_what_the_readme_says_of_it() -> None:
    # Nothing stands between conf/config.yaml and the paper's run, so no value of a smaller profile can leak into it.
    assert YAML(typ="safe", pure=True).load(ROOT / "conf/profile/paper.yaml") == {"profile": "paper"}
    paper = Params.model_validate(compose(["profile=paper"]))
    assert (paper.base.name, paper.refiner.name) == ("llava-hf/llava-v1.6-vicuna-13b-hf", "Qwen/Qwen2-7B-Instruct")
    assert all(len(model.revision) == 40 for model in (paper.base, paper.refiner))
    tuned = paper.finetune
    assert (tuned.lora_dropout, tuned.learning_rate, tuned.num_train_epochs, tuned.max_steps) == (0.05, 2e-4, 1, -1)
    assert (tuned.weight_decay, tuned.dtype, tuned.bf16, tuned.quantization) == (0, "bfloat16", True, "none")
    assert (paper.convert.draw_boxes, paper.convert.task2_captions, paper.threads) == (True, 0, None)
    assert (paper.base.tiny, paper.fetch.scenes) == (None, None)
    assert (paper.refine.items, paper.describe.limit) == (0, 0)

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows_a_step = tuned.per_device_train_batch_size * tuned.gradient_accumulation_steps
    recipe = (tuned.r, tuned.lora_alpha, rows_a_step, tuned.warmup_steps, tuned.lr_scheduler_type)
    assert f"| {', '.join(map(str, recipe))} | LLaVA's own recipe" in readme
    assert "one a triple, one a distinct caption, one an image" in readme
    for place in (paper.fetch.annotations, paper.fetch.photos):
        assert f"`{place}`" in readme


def test_the_committed_params_are_the_sample_profile() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so nothing says what was committed")
    committed = subprocess.run(["git", "show", ":params.yaml"], cwd=ROOT, capture_output=True, check=True, text=True)
    assert YAML(typ="safe", pure=True).load(committed.stdout) == MINI


def test_both_grammars_of_yaml_read_the_same(tmp_path) -> None:
    # DVC reads YAML 1.2, Hydra 1.1 but for numbers; in 1.1 `no` is a boolean.
    files = [ROOT / "params.yaml", ROOT / "conf/config.yaml", *sorted((ROOT / "conf/profile").glob("*.yaml"))]
    assert len(files) == 2 + len(PROFILES)
    for path in files:
        by_hydra = OmegaConf.to_container(OmegaConf.load(path))
        assert typed(YAML(typ="safe", pure=True).load(path)) == typed(by_hydra), path


def typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: typed(inner) for name, inner in value.items()}
    return [typed(inner) for inner in value] if isinstance(value, list) else (type(value).__name__, value)


BROKEN = [
    # place, value, what the message says
    ("finetune.lora_alhpa", 8, "finetune.lora_alhpa is not known"),
    ("finetnue", {}, "finetnue is not known"),
    ("base.tiny.depth", 2, "base.tiny.depth is not known"),
    ("seed", GONE, "seed is missing"),
    ("finetune.num_train_epochs", GONE, "finetune.num_train_epochs is missing"),
    ("refine", GONE, "refine is missing"),
    ("profile", "huge", "profile = 'huge'"),
    ("seed", "0", "seed = '0'"),
    ("seed", -1, "seed = -1"),
    ("finetune.r", 8.5, "finetune.r = 8.5"),
    ("finetune.r", True, "finetune.r = True"),
    ("finetune.learning_rate", "2e-4", "finetune.learning_rate = '2e-4'"),
    ("finetune.learning_rate", float("nan"), "finetune.learning_rate = nan"),
    ("finetune.lora_dropout", 1.5, "finetune.lora_dropout = 1.5"),
    ("finetune.quantization", "2bit", "finetune.quantization = '2bit'"),
    ("finetune.lr_scheduler_type", "cosin", "finetune.lr_scheduler_type = 'cosin'"),
    ("finetune.save_steps", 2.5, "finetune.save_steps = 2.5: a number of steps is whole; below 1 it is a share"),
    ("finetune.eval_steps", 0, "finetune.eval_steps = 0"),
    ("finetune.max_grad_nrom", 0.5, "finetune.max_grad_nrom is not known; neither SFTConfig nor LoraConfig has such"),
    (
        "finetune.max_length",
        512,
        "finetune.max_length is not taken: a row is whole, and finetune.packing",
    ),
    ("finetune.data_seed", 3, "finetune.data_seed is not taken: finetune.seed, else seed, is that of everything"),
    ("finetune.target_modules", "all-linear", "finetune.target_modules is not taken: LoRA goes on all linear maps"),
    ("finetune.gradient_checkpointing", True, "is not taken: transformers renamed it, to finetune.activation_checkpo"),
    ("convert.draw_boxes", "false", "convert.draw_boxes = 'false'"),
    ("convert.box_width", 0, "convert.box_width = 0"),
    ("describe.max_new_tokens", [8, 8], "describe.max_new_tokens"),
    ("describe.max_new_tokens", [8, 8, 0], "describe.max_new_tokens.2 = 0"),
    ("fetch.source", "folder", "annotations must name a folder"),
    ("fetch.scenes", None, "scenes must give a number of images"),
    ("base.source", "folder", "name must be given"),
    ("base.tiny", None, "tiny must give the model's size and training"),
    ("refiner", {**MINI["refiner"], "source": "hub", "name": "x/y", "revision": "main"}, "full commit hash of 40"),
]


@pytest.mark.parametrize(("place", "value", "said"), BROKEN)
def test_a_wrong_parameter_stops_with_its_name(tmp_path, place, value, said) -> None:
    path = write(tmp_path / "params.yaml", changed(place, value))
    with pytest.raises(VsdError) as caught:
        load(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: parameter ")
    assert said in line


def test_all_wrong_parameters_are_named_at_once(tmp_path) -> None:
    content = changed("finetune.r", 0) | {"seed": "x", "sede": 1}
    with pytest.raises(VsdError) as caught:
        load(write(tmp_path / "params.yaml", content))
    assert [name for name in ("seed", "finetune.r", "sede") if f"parameter {name} " in str(caught.value)] == [
        "seed",
        "finetune.r",
        "sede",
    ]
    for text, said in (("seed: [", "not YAML"), ("seed: 1\nseed: 2\n", "not YAML"), ("", "the file = None")):
        with pytest.raises(VsdError, match=f"params.yaml: .*{said}"):
            load(write(tmp_path / "params.yaml", text))
    with pytest.raises(VsdError, match=r"no such file. Make it with: vsd profile mini"):
        load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("old", "new"), [(old, new.split(" ")[0]) for old, new in RENAMED.items() if "=" not in old], ids=str
)
def test_an_old_name_is_refused_with_the_new_one(tmp_path, old, new) -> None:
    section, name = new.split(".")
    assert name in Params.model_fields[section].annotation.model_fields
    with pytest.raises(VsdError, match=f"parameter {old} is now {new}"):
        load(write(tmp_path / "params.yaml", changed(old, 1)))
    with pytest.raises(VsdError, match=f"^parameter {old} is now {new}"):
        compose([f"{old}=1"])


FURTHER_GIVEN = {"max_grad_norm": 0.5, "use_dora": True, "lr_scheduler_kwargs": {"num_cycles": 0.5}}
FURTHER_SAID = [
    "+finetune.max_grad_norm=0.5",
    "+finetune.use_dora=true",
    "+finetune.lr_scheduler_kwargs.num_cycles=0.5",
]


def test_a_section_s_own_seed_is_its_seed_and_nobody_else_s(tmp_path) -> None:
    path = write(tmp_path / "params.yaml", compose(["profile=mini", "seed=3", "finetune.seed=7"]))
    of_finetune, of_refine = (
        dict.fromkeys(["seed", *MINI[section], "further_fields"], ...) for section in ("finetune", "refine")
    )
    assert given("finetune", of_finetune, path)["seed"] == 7
    assert given("finetune", of_finetune | {"seed": 9}, path)["seed"] == 9  # what the pipeline, or a reader, gives
    assert given("refine", of_refine, path)["seed"] == 3  # null: the one outside the sections


def test_whole_weights_are_asked_for_where_no_rank_is_given() -> None:
    with pytest.raises(ValidationError) as caught:
        Params.model_validate(compose(["profile=paper_24gb", "finetune.r=null"]))
    said = str(caught.value)
    for found in ("finetune.quantization=none, not ", "finetune.dtype=float32, not bfloat16", "describe.quantization"):
        assert found in said
    whole = ["finetune.r=null", "finetune.dtype=float32"]
    assert Params.model_validate(compose(["profile=paper", *whole])).finetune.r is None
    with pytest.raises(ValidationError, match=r"finetune.accelerate_config=ddp, not fsdp2"):
        Params.model_validate(compose(["profile=paper", *whole, "finetune.accelerate_config=fsdp2"]))


def test_a_further_field_is_a_parameter_like_any_other(tmp_path) -> None:
    content = compose(["profile=mini", *FURTHER_SAID])
    assert content["finetune"] == MINI["finetune"] | FURTHER_GIVEN
    path = write(tmp_path / "params.yaml", content)
    params = load(path)
    assert sorted(overrides(params)) == sorted(FURTHER_SAID)  # which the report lists
    assert params.finetune.variables() == MINI["finetune"] | {"further_fields": FURTHER_GIVEN}
    with pytest.raises(VsdError, match=r"To append to your config use \+finetune.max_grad_norm=0.5"):
        compose(["finetune.max_grad_norm=0.5"])

    # In the notebook: as in the file, or what stands there instead of it.
    blank = dict.fromkeys(["seed", *MINI["finetune"], "further_fields"], ...)
    assert given("finetune", blank, path) == MINI["finetune"] | FURTHER_GIVEN | {"seed": 0}
    other = given("finetune", blank | {"r": 8, "further_fields": {"adam_beta2": 0.95}}, path)
    assert other == MINI["finetune"] | {"r": 8, "adam_beta2": 0.95} | {"seed": 0}
    with pytest.raises(VsdError, match=r"parameters: parameter finetune.adam_bta2 is not known"):
        given("finetune", blank | {"further_fields": {"adam_bta2": 0.95}}, path)
    for wrong in ({"r": 8}, 0.5):
        with pytest.raises(VsdError, match=r"further_fields = .*: expected a dict of fields that have no line of"):
            given("finetune", blank | {"further_fields": wrong}, path)
    with pytest.raises(VsdError, match=r"parameters cell has no further_fields"):
        given("finetune", {name: ... for name in blank if name != "further_fields"}, path)


def test_further_fields_are_known_without_the_libraries_that_have_them(tmp_path) -> None:
    path = write(tmp_path / "params.yaml", compose(["profile=mini", *FURTHER_SAID]))
    script = (
        "import sys; from pathlib import Path; from vsd_utils.common.params import load; load(Path(sys.argv[1]));"
        "print({'torch', 'transformers', 'trl', 'peft'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", script, path], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of what a stage needs, without data, so that any work would fail or leave files."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("vsd_utils", "conf", "notebooks"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    return root


def command(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-B", "-m", *arguments], cwd=checkout, capture_output=True, text=True)


@pytest.mark.parametrize(("place", "value", "said"), [BROKEN[0], BROKEN[4], BROKEN[11]])
def test_a_stage_stops_before_any_work(checkout, place, value, said) -> None:
    path = write(checkout / "params.yaml", changed(place, value))
    before = sorted(checkout.rglob("*"))
    done = command(checkout, "vsd_utils", "run-notebook", "convert")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {path}: parameter ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sorted(checkout.rglob("*")) == before


def test_composing_from_the_command_line(checkout) -> None:
    path = write(checkout / "params.yaml", "never read")
    done = command(checkout, "vsd_utils", "profile", "smoke", "finetune.num_train_epochs=2")
    assert (done.returncode, done.stdout) == (0, "params.yaml: profile smoke, finetune.num_train_epochs=2\n")
    kept = path.read_text()
    assert overrides(load(path)) == ["finetune.num_train_epochs=2.0"]
    for wrong, said in (
        (["huge"], "huge"),
        (["sample"], "profile sample is now mini"),
        (["layout"], "profile layout is now boxes"),
        (["mini", "finetune.num_train_epoch=2"], "num_train_epoch"),
        (["mini", "finetune"], "finetune"),
        (["mini", "seed=x"], "seed = 'x'"),
    ):
        done = command(checkout, "vsd_utils", "profile", *wrong)
        assert done.returncode == 2, wrong
        assert done.stderr.startswith("error: ")
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert path.read_text() == kept
    assert not (checkout / ".params.yaml").exists()


def test_a_notebook_gets_what_it_was_given_and_the_rest_from_the_file(tmp_path) -> None:
    path = write(tmp_path / "params.yaml", MINI)
    blank = dict.fromkeys([*SHARED, *MINI["convert"]], ...)
    usual = {name: MINI[name] for name in SHARED} | MINI["convert"]
    assert given("convert", {**blank, "pd": None}, path) == usual
    assert given("convert", blank | {"seed": 5, "box_width": 0.1}, path) == usual | {"seed": 5, "box_width": 0.1}
    with pytest.raises(VsdError, match=r"parameter convert.box_width = 'wide'"):
        given("convert", blank | {"box_width": "wide"}, path)
    with pytest.raises(VsdError, match=r"parameter seed = -1"):
        given("convert", blank | {"seed": -1}, path)
    with pytest.raises(VsdError, match=r"parameters cell has no box_width; params.yaml, section convert"):
        given("convert", {name: ... for name in blank if name != "box_width"}, path)
    assert given("convert", dict.fromkeys(MINI["convert"], ...), path) == MINI["convert"]  # it uses no shared one
    asked = dict.fromkeys([*SHARED, *MINI["describe"]], ...)
    assert given("describe", asked | {"max_new_tokens": [1, 2, 3]}, path)["max_new_tokens"] == (1, 2, 3)


@pytest.mark.parametrize("photos", ["../photos", "/a b/c=d", "it's, 7", "null", "12"])
def test_overrides_make_the_same_parameters_again(photos) -> None:
    content = copy.deepcopy(MINI) | {"seed": 7}
    content["fetch"]["photos"] = photos
    content["finetune"]["learning_rate"] = 3e-5
    content["convert"]["draw_boxes"] = False
    content["describe"]["max_new_tokens"] = [8, 9, 10]
    params = Params.model_validate(content)
    said = overrides(params)
    assert len(said) == 5
    assert {"convert.draw_boxes=false", "describe.max_new_tokens=[8,9,10]", "finetune.learning_rate=3e-05"} <= {*said}
    assert Params.model_validate(compose(["profile=mini", *said])) == params


def test_dvc_says_which_edits_of_the_file_it_replaces(checkout) -> None:
    shutil.copytree(ROOT / ".dvc", checkout / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    shutil.copy(ROOT / "dvc.yaml", checkout)
    path = write(checkout / "params.yaml", compose(["profile=smoke"]))
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "start"]):
        subprocess.run([*git, *words], cwd=checkout, check=True)
    dvc = [str(Path(sys.executable).with_name("dvc")), "exp", "run", "clean"]

    path.write_text(path.read_text().replace(" r: 32", " r: 8").replace("seed: 0", "seed: 5"))
    edited = path.read_text()
    said = subprocess.run([*dvc, "-S", "profile=smoke", "-S", "seed=3"], cwd=checkout, capture_output=True, text=True)
    assert "These values of it are replaced: finetune.r=8\n" in said.stderr
    assert "-S finetune.r=8" in said.stderr
    assert (checkout / "work/params.replaced.yaml").read_text() == edited
    assert load(path).finetune.r == 32

    # What the command says again is not lost, nor is a profile that another one replaces.
    more = ["-S", "+finetune.max_grad_norm=0.5"]
    said = subprocess.run([*dvc, "-S", "profile=mini", *more], cwd=checkout, capture_output=True, text=True)
    assert "These values of it are replaced: seed=3\n" in said.stderr
    said = subprocess.run([*dvc, "-S", "profile=mini"], cwd=checkout, capture_output=True, text=True)
    assert "These values of it are replaced: +finetune.max_grad_norm=0.5\n" in said.stderr
    said = subprocess.run([*dvc, "-S", "profile=boxes"], cwd=checkout, capture_output=True, text=True)
    assert "replaced" not in said.stderr
