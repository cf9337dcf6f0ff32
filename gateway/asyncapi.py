"""The contract as an AsyncAPI 3.0 document, from the same tables.

Source: AsyncAPI Specification 3.0.0; MQTT bindings 0.2.0. It describes the gateway: what it sends,
and the commands it receives. Where brokers are is for the reader to add, under ``servers``.
"""

from typing import Any, Final

from gateway.contract import MESSAGES, Form, Message
from gateway.wire.envelope import SCHEMA

_BINDING: Final = "0.2.0"
_PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "root": {
        "description": "First levels of all topics: live data, or data that is simulated",
        "default": "dosegate/v1",
        "examples": ["dosegate/v1", "dosegate-exercise/v1"],
    },
    "gateway": {"description": "Id of the gateway, from its configuration"},
    "detector": {"description": "Id of the detector, from the configuration"},
    "post": {"description": "Id of the post, from the configuration"},
    "occurrence": {"description": "Id of one occurrence of an alarm"},
    "user": {"description": "Who gives the order; the broker's access list binds it"},
    "name": {"description": "The command, such as acknowledge or resend"},
}
_IDS: Final = {"detector": "detector", "post": "post"}


def asyncapi() -> dict[str, Any]:
    """The whole document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "dosegate",
            "version": f"{SCHEMA.rpartition('/')[2]}.0.0",
            "description": (
                "Radiation detectors of one or more gateways over MQTT. Delivery is at least once: "
                "drop duplicates by gateway, lane, epoch and seq. Unknown keys are to be ignored."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {message.table.name: _channel(message) for message in MESSAGES},
        "operations": {_operation_id(message): _operation(message) for message in MESSAGES},
        "components": {
            "messages": {message.table.name: _message(message) for message in MESSAGES},
            "parameters": _PARAMETERS,
        },
    }


def address(topic: str) -> str:
    """A topic with its parameters in braces."""
    levels = topic.split("/")
    named = [
        f"{{{_IDS[levels[at - 1]]}}}" if level == "ID" else _braced(level)
        for at, level in enumerate(levels)
    ]
    return "/".join(["{root}", "{gateway}", *named])


def _braced(level: str) -> str:
    return f"{{{level.lower()}}}" if level.isupper() else level


def _channel(message: Message) -> dict[str, Any]:
    where = address(message.topic)
    name = message.table.name
    return {
        "address": where,
        "description": message.table.doc,
        "parameters": {
            each: {"$ref": f"#/components/parameters/{each}"}
            for each in _PARAMETERS
            if f"{{{each}}}" in where
        },
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
    }


def _operation_id(message: Message) -> str:
    return f"{_action(message)}_{message.table.name}"


def _action(message: Message) -> str:
    return "receive" if message.form is Form.COMMAND else "send"


def _operation(message: Message) -> dict[str, Any]:
    name = message.table.name
    retain = message.form is Form.RETAINED
    operation: dict[str, Any] = {
        "action": _action(message),
        "channel": {"$ref": f"#/channels/{name}"},
        "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
        "bindings": {"mqtt": {"qos": 1, "retain": retain, "bindingVersion": _BINDING}},
    }
    if message.form is Form.COMMAND:
        operation["reply"] = {
            "channel": {"$ref": "#/channels/answer"},
            "messages": [{"$ref": "#/channels/answer/messages/answer"}],
        }
    return operation


def _message(message: Message) -> dict[str, Any]:
    return {
        "name": message.table.name,
        "title": message.table.name.replace("_", " "),
        "summary": message.table.doc,
        "contentType": "application/json",
        "payload": {"$ref": f"./{message.table.name}.schema.json"},
    }
