"""Say what a run takes before it is paid for: conversations, tokens, steps, operations, memory, disk, hours.

    vsd plan                                  # the run that params.yaml holds
    vsd plan profile=paper finetune.r=64      # a profile and overrides, as vsd profile takes them
    vsd plan profile=paper --gpu H100 --dollars-per-hour 2.50 --json plan.json

No weights are read and nothing is fetched. Annotations and photos that are at hand are counted, the rest is reckoned;
each number says which. Hours are arithmetic on data sheets, not measured.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import check_output, write_json
from vsd_utils.common.parameter_problems import problem_line
from vsd_utils.common.params import load
from vsd_utils.common.paths import CONF
from vsd_utils.common.profiles import compose
from vsd_utils.common.sections import Params
from vsd_utils.planning import costs as model_costs
from vsd_utils.planning import gpu_hours
from vsd_utils.planning.gpu_hours import Gpu
from vsd_utils.planning.run_costs import Number, RunCosts, run_costs

COUNTS = (1, 2, 4, 8)  # of GPUs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take a profile and overrides, a GPU, its price, and where the plan goes."""
    parser.add_argument("overrides", nargs="*", metavar="NAME=VALUE", help="profile=paper and others; else params.yaml")
    parser.add_argument("--gpu", metavar="NAME", help="one of vsd_utils/planning/gpus.yaml (this machine's, else all)")
    parser.add_argument("--dollars-per-hour", type=float, metavar="X", help="price of one GPU; shows what a run costs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the plan there too")


def run(given: argparse.Namespace) -> int:
    """Print the plan and say what does not fit; returns 0 also then."""
    if given.json:
        check_output(given.json, [])
    params = _composed(given.overrides) if given.overrides else load()
    costs = run_costs(params)
    costs.numbers[:0] = _weights(params)
    chosen = [gpu_hours.find_gpu(named)] if (named := given.gpu or this_gpu()) else [*gpu_hours.known_gpus().values()]
    console = Console(width=None if sys.stdout.isatty() else 150)
    console.print(_number_table(params, costs))
    console.print(_hour_table(costs, chosen, given.dollars_per_hour))
    for line in _unfit(params, costs, chosen):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    if given.json:
        write_json(given.json, _record(params, costs, chosen))
    return 0


def _composed(overrides: list[str]) -> Params:
    try:
        return Params.model_validate(compose(overrides))
    except ValidationError as error:
        raise VsdError("\n".join(problem_line(CONF, problem) for problem in error.errors(include_url=False))) from None


def _weights(params: Params) -> list[Number]:
    from vsd_utils.planning.weights import count_weights

    source = "counted on the meta device, from the model's configuration"
    config = model_costs.configuration(params.base.source, params.base.name)
    r = params.finetune.r
    every, trainable = count_weights(config, r)
    return [
        Number("weights of the base model", every, "", source),
        Number(f"LoRA weights that are trained, r {r}" if r else "weights that are trained", trainable, "", source),
    ]


def _number_table(params: Params, costs: RunCosts) -> Table:
    table = Table("what", "how much", "unit", "where from", title=f"Profile {params.profile}: {params.base.name}")
    table.columns[1].justify = "right"
    for number in costs.numbers:
        table.add_row(number.name, _shown(number.value), number.unit, number.source)
    return table


def _hour_table(costs: RunCosts, chosen: list[Gpu], price: float | None) -> Table:
    title = (
        f"Hours of finetune + describe + refine: arithmetic, {gpu_hours.UTILISATION:.0%} of the peak operations and "
        f"{gpu_hours.BANDWIDTH_SHARE:.0%} of the bandwidth of the data sheet"
    )
    table = Table("GPU", "fits", *(f"{count} GPU{'s' if count > 1 else ''}" for count in COUNTS), title=title)
    for gpu in chosen:
        unfit = gpu_hours.too_large(costs, gpu)
        cells = []
        for count in COUNTS:
            parts = gpu_hours.hours(costs, gpu, count)
            total = sum(parts.values())
            cell = f"{total:.1f} h ({' + '.join(f'{part:.1f}' for part in parts.values())})"
            cells.append(cell + (f", ${price * total * count:,.0f}" if price else ""))
        table.add_row(gpu.name, f"not {', '.join(unfit)}" if unfit else "yes", *cells)
    return table


def _unfit(params: Params, costs: RunCosts, chosen: list[Gpu]) -> list[str]:
    lines = []
    for gpu in chosen:
        for stage in gpu_hours.too_large(costs, gpu):
            change = gpu_hours.remedy(params, costs.work, stage, gpu)
            needs = f"{costs.stages[stage].memory / 2**30:.0f} GiB"
            cure = f"it fits with {change}" if change else "no batch size and quantization helps; take a larger GPU"
            lines.append(f"{gpu.name}: {stage} needs about {needs}; {cure}")
    return lines


def _record(params: Params, costs: RunCosts, chosen: list[Gpu]) -> dict[str, Any]:
    return {
        "profile": params.profile,
        "numbers": [number._asdict() for number in costs.numbers],
        "gpus": {
            gpu.name: {
                "too_large": gpu_hours.too_large(costs, gpu),
                "hours": {str(count): gpu_hours.hours(costs, gpu, count) for count in COUNTS},
            }
            for gpu in chosen
        },
    }


def _shown(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() or value >= 1000 else f"{value:,.1f}"


def this_gpu() -> str | None:
    """Name this machine's first NVIDIA GPU; None without one."""
    import pynvml

    try:
        pynvml.nvmlInit()
        return str(pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(0)))
    except pynvml.NVMLError:
        return None
