"""What every group of settings has in common, and the types that many of them use."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

LARGEST = 2**31 - 1
"""Of any number: nginx's limit, too; in milliseconds, nearly 25 days."""
Name = Annotated[str, Field(strict=True, min_length=1)]
Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=0, le=LARGEST)]
Positive = Annotated[int, Field(strict=True, ge=1, le=LARGEST)]
Port = Annotated[int, Field(strict=True, ge=1, le=65_535)]
Seconds = Annotated[float, Field(strict=True, ge=0, le=LARGEST, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(strict=True, gt=0, le=LARGEST, allow_inf_nan=False)]
Percent = Annotated[float, Field(strict=True, ge=0, le=100)]


class Settings(BaseModel):
    """A group of settings: unchangeable, and a key nobody knows is an error."""

    # Built when first used: a process that starts need not wait for groups that its file lacks.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
