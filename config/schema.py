"""JSON Schemas of what people write: the configuration and the scenario."""

from pydantic import BaseModel

from config.models import Configuration
from config.scenario import Scenario

Schema = dict[str, object]
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def configuration_schema() -> Schema:
    """The schema of a configuration file."""
    return _schema(Configuration, "dosegate configuration")


def scenario_schema() -> Schema:
    """The schema of a scenario file; reserved actions are marked in their description."""
    return _schema(Scenario, "dosegate scenario")


def _schema(model: type[BaseModel], title: str) -> Schema:
    schema: Schema = model.model_json_schema(by_alias=True, mode="validation")
    _drop_numeric_defaults(schema)
    return {"$schema": _DIALECT} | schema | {"title": title}


def _drop_numeric_defaults(node: object) -> None:
    """Amounts are text in a file but numbers in a model: such a default would mislead."""
    if isinstance(node, dict):
        default = node.get("default")
        if node.get("type") == "string" and not isinstance(default, str | None):
            del node["default"]
        for child in node.values():
            _drop_numeric_defaults(child)
    elif isinstance(node, list):
        for child in node:
            _drop_numeric_defaults(child)
