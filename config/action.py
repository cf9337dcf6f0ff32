"""What every action of a scenario has: its time, and whether it is played.

An action whose ``played`` is false is reserved: it is accepted and checked, and virtual time has
nothing to play it on; nor has it for one that is ``live_only``. The schema says so beside each.
"""

from typing import Annotated, ClassVar

from pydantic import Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from config.models import Id, Strict

RESERVED = "Reserved: accepted, not played."
LIVE_ONLY = "Played with --live only."

At = Annotated[float, Field(ge=0, allow_inf_nan=False, description="s after the start")]
Fraction = Annotated[float, Field(ge=0, le=1)]
DetectorId = Annotated[Id, Field(description="which it is about")]


class Action(Strict):
    """Something at one instant."""

    played: ClassVar[bool] = False
    live_only: ClassVar[bool] = False

    at_s: At
    do: str

    def left_out(self) -> str:
        """What virtual time does not play of it; empty if it plays it all."""
        if not self.played:
            return f"{self.do!r} is accepted, but not played"
        return f"{self.do!r} is played with --live only" if self.live_only else ""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core_schema))
        if not cls.played or cls.live_only:
            note = LIVE_ONLY if cls.played else RESERVED
            schema["description"] = f"{cls.__doc__} {note}"
        return schema
