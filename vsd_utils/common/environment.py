"""The environment variables of a stage: the same on every machine, whatever the user has set.

What says where something is or how to reach it is passed on (``PASSED``); what decides how something is computed or
looks is ours (``fixed``). Every other variable is dropped, for no list of those that do harm would ever be whole:
``OMP_NUM_THREADS``, ``MKL_CBWR``, ``MPLBACKEND``, ``PYTHONPATH``, ``JUPYTER_PATH``, ``COLUMNS``,
``TRANSFORMERS_VERBOSITY``, ``ACCELERATE_MIXED_PRECISION``, ``JAVA_TOOL_OPTIONS`` and many more change a byte or stop a
run.
"""

import os
import re
import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from vsd_utils.common.paths import PARAMS, ROOT, SETTINGS

# What it is for -> names; * stands for any letters. What a new feature has to be told by a variable is added here.
PASSED = {
    "programs, libraries, folders": "PATH LD_LIBRARY_PATH LD_PRELOAD DYLD_* HOME USER LOGNAME TMPDIR TEMP TMP "
    "XDG_CACHE_HOME XDG_DATA_HOME XDG_RUNTIME_DIR JAVA_HOME PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX",
    "this project, DVC, git": "VSD_* DVC_* DVCLIVE_* GIT_*",
    "proxies": "HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy",
    "certificates, package indexes": "SSL_CERT_* NIX_SSL_CERT_FILE *_CA_BUNDLE NETRC UV_* PIP_*",
    "the hub: account, caches, whether to ask it": "HF_TOKEN HF_TOKEN_PATH HUGGING_FACE_HUB_TOKEN HF_ENDPOINT HF_HOME "
    "HF_*_CACHE HUGGINGFACE_HUB_CACHE TRANSFORMERS_CACHE TORCH_HOME HF_*_OFFLINE TRANSFORMERS_OFFLINE HF_*_TIMEOUT "
    "HF_*_TELEMETRY HF_XET_* HF_HUB_DISABLE_XET",
    "the machines of a cluster": "SLURM_*",
    "devices and their memory": "CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER CUDA_HOME CUDA_PATH CUDA_CACHE_PATH "
    "NVIDIA_VISIBLE_DEVICES HIP_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES NCCL_* BNB_CUDA_VERSION PYTORCH_ALLOC_CONF "
    "PYTORCH_CUDA_ALLOC_CONF TRITON_CACHE_DIR TORCHINDUCTOR_CACHE_DIR",
}


def fixed() -> dict[str, str]:
    """List the variables that are the same in every run."""
    return {
        "LC_ALL": "C.UTF-8",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        # The package beside the notebooks that run, before an installed one, and nothing of the working folder's or
        # the home folder's.
        "PYTHONPATH": str(ROOT),
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUTF8": "1",
        "PYTHONHASHSEED": "0",
        # No profile, start-up file, matplotlibrc or style of the user's.
        "IPYTHONDIR": str(SETTINGS / "ipython"),
        "MPLCONFIGDIR": str(SETTINGS / "matplotlib"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }


def key_variables(params: Path = PARAMS) -> list[str]:
    """Name the variables that ``params.yaml`` says hold the keys of servers, and no others.

    The file is searched, not parsed: what reads YAML is not imported yet, and whether the parameters are right is found
    out when the stage loads them.
    """
    text = params.read_text(encoding="utf-8", errors="replace") if params.is_file() else ""
    return re.findall(r"""\bapi_key_variable["']?:\s*["']?([A-Za-z_]\w*)""", text)


def settled(variables: Mapping[str, str]) -> dict[str, str]:
    """Keep those ``variables`` that are passed on or hold the key of a server, and add the fixed ones."""
    masks = [mask for masks in PASSED.values() for mask in masks.split()] + key_variables()
    passed = {name: text for name, text in variables.items() if any(fnmatchcase(name, mask) for mask in masks)}
    return passed | fixed()


def enter(module: str) -> None:
    """Start ``python -m module`` again, with the same arguments, in the settled environment; there, do nothing.

    Called first by a command, because the interpreter and the libraries read many variables when they start. The
    process stays the same one: whoever waits for it or kills it notices nothing.
    """
    if os.environ.pop("VSD_SETTLED_BY", None) == str(os.getpid()):
        return
    variables = settled(os.environ) | {"VSD_SETTLED_BY": str(os.getpid())}
    if sys.dont_write_bytecode:
        variables["PYTHONDONTWRITEBYTECODE"] = "1"
    os.execve(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]], variables)
