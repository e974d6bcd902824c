"""What every section of a scenario file is."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping of the file; an unknown key in it is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    SPEC: ClassVar[Any] = None  # the dataclass it becomes; None where conversion is by hand
    RENAMED: ClassVar[dict[str, str]] = {}  # field -> spec field, where the rule of units does not give it
