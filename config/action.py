"""What every action of a scenario has: its time, and whether it is played.

An action whose ``played`` is false is reserved: it is accepted and checked, and virtual time has
nothing to play it on. The schema says so beside each.
"""

from typing import Annotated, ClassVar

from pydantic import Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from config.models import Strict

RESERVED = "Reserved: accepted, not played."

At = Annotated[float, Field(ge=0, allow_inf_nan=False, description="s after the start")]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Action(Strict):
    """Something at one instant."""

    played: ClassVar[bool] = False

    at_s: At

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core_schema))
        if not cls.played:
            schema["description"] = f"{cls.__doc__} {RESERVED}"
        return schema
