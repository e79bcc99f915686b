"""Which fields of TRL's SFTConfig and PEFT's LoraConfig section finetune takes beside those that conf/ gives a value.

Their names are read from the libraries' source: importing the classes takes many seconds, and every stage reads the
parameters.
"""

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path

# Package, file, class: SFTConfig and LoraConfig, each with the classes that it inherits fields from.
CLASSES = (
    ("trl", "trainer/sft_config.py", "SFTConfig"),
    ("trl", "trainer/base_config.py", "_BaseConfig"),
    ("transformers", "training_args.py", "TrainingArguments"),
    ("peft", "tuners/lora/config.py", "LoraConfig"),
    ("peft", "config.py", "PeftConfig"),
    ("peft", "config.py", "PeftConfigMixin"),
)

# Why a field is refused: fields.
_REFUSED = {
    "the stage trains in work/finetune and resumes a killed run from there": (
        *("output_dir", "resume_from_checkpoint", "do_train", "do_eval", "do_predict", "eval_strategy"),
        *("save_strategy", "save_only_model", "save_on_each_node", "load_best_model_at_end", "ignore_data_skip"),
        *("restore_callback_states_from_checkpoint", "auto_find_batch_size", "enable_jit_checkpoint"),
    ),
    "finetune.seed, else seed, is that of everything that the stage draws": ("data_seed",),
    "processes and finetune.accelerate_config say how many processes work together, and how": (
        *("use_cpu", "local_rank", "fsdp", "fsdp_config", "deepspeed", "parallelism_config", "accelerator_config"),
        *("ddp_backend", "ddp_timeout", "megatron_config", "megatron_core"),
    ),
    "losses go to DVCLive, and nothing leaves this machine": (
        *("report_to", "run_name", "project", "disable_tqdm", "logging_strategy", "trackio_space_id"),
        *("trackio_bucket_id", "trackio_static_space_id", "push_to_hub", "hub_token", "hub_private_repo"),
        *("hub_model_id", "hub_strategy"),
        *("hub_always_push", "hub_revision"),
    ),
    "a row is whole, and finetune.packing says what one is: cut, it would lose image tokens": (
        *("max_length", "truncation_mode", "packing_strategy", "eval_packing", "padding_free"),
        *("remove_unused_columns", "dataset_text_field", "dataset_kwargs", "dataset_num_proc", "label_names"),
    ),
    "the loss is on the answers and their end token only": ("completion_only_loss", "assistant_only_loss"),
    "section base says which model is tuned, and the stage loads it": (
        *("model_init_kwargs", "trust_remote_code", "chat_template_path", "eos_token", "pad_token"),
        *("base_model_name_or_path", "revision", "auto_mapping", "inference_mode", "peft_version"),
    ),
    "LoRA goes on all linear maps of the language model; all else stays the base model's": (
        *("peft_type", "task_type", "target_modules", "target_parameters", "modules_to_save", "layer_replication"),
        *("trainable_token_indices", "ensure_weight_tying", "fan_in_fan_out"),
    ),
    "transformers renamed it, to finetune.activation_checkpointing": ("gradient_checkpointing",),
    "transformers renamed it, to finetune.activation_checkpointing_kwargs": ("gradient_checkpointing_kwargs",),
    "it needs a preparation of its own, which the stage does not make": (
        *("loftq_config", "eva_config", "corda_config", "lora_ga_config", "runtime_config", "velora_config"),
        *("monteclora_config", "use_bdlora", "arrow_config", "kasa_config", "alora_invocation_tokens"),
        *("use_qalora", "qalora_group_size"),
    ),
}
REFUSED = {name: reason for reason, names in _REFUSED.items() for name in names}


@cache
def library_fields() -> frozenset[str]:
    """Read the names of all fields of SFTConfig and LoraConfig from the installed libraries."""
    return frozenset().union(*(_fields(*place) for place in CLASSES))


def check_field(name: str) -> str:
    """Return the name of a further field; raise ``ValueError`` for one that neither class has, or that is refused."""
    if name in REFUSED:
        raise ValueError(f"is not taken: {REFUSED[name]}")
    if name not in library_fields():
        raise ValueError("is not known; neither SFTConfig nor LoraConfig has such a field. Is it misspelt?")
    return name


def _fields(package: str, file: str, name: str) -> set[str]:
    spec = find_spec(package)
    assert spec is not None, f"{package} is installed with this package"
    assert spec.origin is not None, f"{package} is a folder of modules"
    source = Path(spec.origin).parent / file
    tree = ast.parse(source.read_text(encoding="utf-8"))
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    return {
        node.target.id for node in found.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
