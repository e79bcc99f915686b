"""What the values of parameters can be, and what all sections of ``params.yaml`` have in common (``sections.py``)."""

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from vsd_utils.common.further_fields import check_field

FURTHER = "further_fields"  # a notebook's one variable for all fields of its section that the schema does not name

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Dtype = Literal["float32", "bfloat16"]
MatmulPrecision = Literal["highest", "high", "medium"]  # torch.set_float32_matmul_precision
Quantization = Literal["none", "8bit", "4bit"]


# Those of transformers that need no score to go by.
Scheduler = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "warmup_stable_decay",
]


def _whole_or_share(steps: float) -> float:
    if steps < 1:
        return steps
    if not steps.is_integer():
        raise ValueError("a number of steps is whole; below 1 it is a share of all steps")
    return int(steps)


def _further_field(name: str) -> str:
    try:
        return check_field(name)
    except ValueError as error:
        raise PydanticCustomError("further_field", "{said}", {"said": str(error)}) from None


def _variable(name: str) -> str:
    # The message must not repeat the value: it may be a key, put where the name of its variable belongs.
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name):
        raise PydanticCustomError(
            "secret",
            "must be the name of an environment variable, like OPENAI_API_KEY; never write the key itself here",
        )
    return name


def _address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be the address of an OpenAI-compatible server, like http://localhost:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise PydanticCustomError(
            "secret", "must be an address without user, password, '?' or '#'; a key belongs into the environment"
        )
    return url


Steps = Annotated[float, Field(gt=0), AfterValidator(_whole_or_share)]
StepsOrNone = Annotated[float, Field(ge=0), AfterValidator(_whole_or_share)]  # 0: none
FurtherField = Annotated[str, AfterValidator(_further_field)]  # the name of one
Variable = Annotated[str, AfterValidator(_variable)]  # the name of an environment variable
Address = Annotated[str, AfterValidator(_address)]  # of a server


class Section(BaseModel):
    """What all sections have in common: no unknown name, no silent conversion of a string into a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def variables(self) -> dict[str, Any]:
        """Return the values as a notebook's variables: one for each name of the schema, one for all further fields."""
        values = self.model_dump()
        if self.model_extra is None:  # the section takes none
            return values
        return {name: values[name] for name in type(self).model_fields} | {FURTHER: dict(self.model_extra)}
