"""What the runs of a study take, by arithmetic: hours of models of billions of weights, dollars of a server."""

from collections.abc import Sequence

import pandas as pd

from vsd_utils.common.errors import VsdError
from vsd_utils.common.profiles import compose
from vsd_utils.common.resume import Row
from vsd_utils.common.sections import Params
from vsd_utils.planning.gpu_hours import Gpu, hours, too_large
from vsd_utils.planning.run_costs import run_costs
from vsd_utils.planning.workload import Workload
from vsd_utils.studies.plan import Run

_STAGES = {"describe": ("finetune", "describe"), "refine": ("finetune", "describe", "refine")}


def needs_a_plan(run: Run) -> bool:
    """Tell whether a run's base model is a pretrained one; others are made here within minutes."""
    return params_of(run).base.source in ("hub", "folder")


def plan_table(runs: Sequence[Run], gpu: Gpu) -> pd.DataFrame:
    """Show one row a run: the hours of its stages on one such GPU, and which of them do not fit it.

    Hours are arithmetic on data sheets (``planning/gpu_hours.py``). Stages that runs share are counted in each of them.
    """
    rows = []
    work: dict[str, Workload] = {}  # by the conversations that a run makes of the data
    for run in runs:
        params = params_of(run)
        conversations = params.convert.model_dump_json()
        costs = run_costs(params, work.get(conversations))
        work[conversations] = costs.work
        stages = _STAGES[run.last_stage]
        unfit = [stage for stage in too_large(costs, gpu) if stage in stages]
        taken = {stage: taking for stage, taking in hours(costs, gpu).items() if stage in stages}
        row = {"variant": run.variant, "seed": str(run.seed)}
        row |= {f"{stage}, h": f"{taking:.1f}" for stage, taking in taken.items()}
        row |= {"all, h": f"{sum(taken.values()):.1f}", "too large": ", ".join(unfit)}
        rows.append(row)
    return pd.DataFrame(rows)


def refuse_unfit(study: str, table: pd.DataFrame, gpu: Gpu) -> None:
    """Raise ``VsdError`` naming the runs of ``plan_table`` that do not fit the GPU."""
    unfit = table[table["too large"] != ""]
    if len(unfit):
        first = unfit.iloc[0]
        raise VsdError(
            f"study {study}: {len(unfit)} of {len(table)} runs do not fit {gpu.name}, the first is "
            f"{first['variant']!r} ({first['too large']}). `vsd plan` with its overrides says what "
            "would; put that into the study"
        )


def dollars(params: Params, rows: Sequence[Row]) -> float | None:
    """Estimate what a server takes at most for rewriting task 3 ``rows``; None without a server or its prices."""
    endpoint = params.refine.endpoint
    if endpoint is None or endpoint.dollars_per_million_input_tokens is None:
        return None
    if endpoint.dollars_per_million_output_tokens is None:
        return None
    from vsd_utils.models.endpoint import CHARACTERS_PER_TOKEN  # they take torch, which joining does without
    from vsd_utils.refine import local_model, served_model

    p = params.refine.model_dump(include=set(local_model.Settings.model_fields))
    settings = local_model.Settings(**(p | {"seed": 0}))  # no size depends on it
    sizes = served_model.sizes(rows, {row["id"] for row in rows}, settings)
    into = sum(size.characters for size in sizes) / CHARACTERS_PER_TOKEN * endpoint.dollars_per_million_input_tokens
    out = sum(size.new_tokens for size in sizes) * endpoint.dollars_per_million_output_tokens
    return (into + out) / 1e6


def params_of(run: Run) -> Params:
    """Compose the parameters of a run."""
    return Params.model_validate(compose(list(run.overrides)))
