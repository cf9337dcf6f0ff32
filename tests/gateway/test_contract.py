"""The contract in documents: schemas of what is on the wire, AsyncAPI, examples, compatibility."""

import copy
import json
import re
from functools import cache
from pathlib import Path

import jsonschema
import pytest

from gateway.asyncapi import asyncapi
from gateway.contract import MESSAGES, OPEN, Form, described, fields, wire_schema
from gateway.reference import reference_files
from gateway.verbs.examples import examples
from gateway.wire import envelope
from gateway.wire.alarms import ACTIVE, EVENT, brief
from gateway.wire.table import Kind

FROZEN = Path(__file__).resolve().parent.parent / "data" / "contract-1.json"
BY_NAME = {message.table.name: message for message in MESSAGES}
EXAMPLES = cache(examples)
FILES = cache(reference_files)
NAMES = sorted(BY_NAME)
EMPTY = {Kind.TEXT: "", Kind.BOOLEAN: False, Kind.LIST: [], Kind.MAP: {}}


def check(name, body):
    schema = json.loads(FILES()[f"{name}.schema.json"])
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(body)


# ------------------------------------------------------------------ what is on the wire


def test_every_message_has_an_example_and_no_other():
    assert sorted(EXAMPLES()) == NAMES
    assert EXAMPLES() == examples(), "the same each time"


@pytest.mark.parametrize("name", NAMES)
def test_examples_fit_their_schema_delivery_fields_and_all(name):
    body = EXAMPLES()[name]
    check(name, body)
    own = {key.name for key in BY_NAME[name].table.keys}
    first = [each for each in fields(BY_NAME[name].form)[0] if each not in own]
    assert list(body)[: len(first)] == first, "delivery fields come first"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_always_there_is_required(name):
    may_go = {key.name for key in BY_NAME[name].table.keys if key.may_be_absent}
    for key in EXAMPLES()[name].keys() - may_go:
        body = copy.deepcopy(EXAMPLES()[name])
        del body[key]
        with pytest.raises(jsonschema.ValidationError):
            check(name, body)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("sample", {"schema": "dosegate/2"}),
        ("sample", {"seq": 0}),
        ("sample", {"lane": "others"}),
        ("sample", {"gateway": "North Gate"}),
        ("sample", {"replayed": False}),
        ("alarm_event", {"durable": True}),
        ("alarm", {"revision": "1"}),
        ("command", {"also": 1}),
        ("command", {"id": "with blanks"}),
        ("command", {"arguments": {"nested": {}}}),
    ],
)
def test_schemas_refuse_what_is_wrong_around_the_body(name, wrong):
    with pytest.raises(jsonschema.ValidationError):
        check(name, EXAMPLES()[name] | wrong)


@pytest.mark.parametrize("table", [EVENT, ACTIVE])
def test_what_says_nothing_of_an_alarm_is_not_published_and_a_zero_is(table):
    said = {"rule": "R", "value": None, "stale": False, "levels": [{"level": "R4", "left": None}]}
    silent = {"raw": "", "members": [], "statistic": {}, "previous": None, "silenced": False}
    told = {
        "lower_bound": 0.0,
        "test_source": True,
        "flags": [],
        "position": {"altitude": None, "age": 0.0},
    }
    body = {"kind": table.kind, **said, **silent, **told}
    assert brief(body) == {
        "kind": table.kind,
        **said,
        "levels": [{"level": "R4"}],
        **told,
        "position": {"age": 0.0},
    }
    assert brief({"kind": "state", **silent}) == {"kind": "state", **silent}


@pytest.mark.parametrize("name", ["alarm", "alarm_event"])
def test_alarms_fit_their_schema_with_every_key_too(name):
    """JSON lines of the verbs have them all."""
    table = BY_NAME[name].table
    body = EXAMPLES()[name]
    whole = {key.name: None if key.nullable else EMPTY[key.kind] for key in table.keys if key.terse}
    check(name, whole | body)


def test_optional_delivery_fields_are_allowed():
    check("sample", EXAMPLES()["sample"] | {"replayed": True})
    check("alarm_event", EXAMPLES()["alarm_event"] | {"replayed": True, "durable": False})
    check("summary", EXAMPLES()["summary"] | {"replayed": True})


def test_messages_in_a_batch_are_messages():
    for each in EXAMPLES()["batch"]["messages"]:
        check("sample", each["message"])
        assert each["topic"] == "detector/hh-1/sample"


def test_no_body_has_a_key_of_the_delivery_fields():
    """It would stand in the message twice; an alarm's own revision is the document's."""
    for message in MESSAGES:
        always, sometimes = fields(message.form)
        own = {key.name for key in message.table.keys}
        assert own & {*always, *sometimes} <= {"revision"}, message.table.name


def test_every_kind_is_one_message():
    kinds = [message.table.kind for message in MESSAGES if message.form is not Form.COMMAND]
    assert len(kinds) == len(set(kinds))
    assert all(kinds)


def test_delivery_fields_are_those_of_the_reference():
    known = {name for form in Form for part in fields(form) for name in part}
    assert known == set(envelope.DELIVERY_KEYS)


# ------------------------------------------------------------------ AsyncAPI


def resolve(document, ref):
    for level in ref.removeprefix("#/").split("/"):
        document = document[level]
    return document


def refs(node):
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for each in node.values():
            yield from refs(each)
    elif isinstance(node, list):
        for each in node:
            yield from refs(each)


def test_every_reference_of_the_asyncapi_document_leads_somewhere():
    document, files = asyncapi(), FILES()
    for ref in refs(document):
        if ref.startswith("#/"):
            assert resolve(document, ref), ref
        else:
            assert ref.removeprefix("./") in files, ref


def test_channels_name_their_parameters():
    for channel in asyncapi()["channels"].values():
        named = set(re.findall(r"\{(\w+)\}", channel["address"]))
        assert named == set(channel["parameters"])
        assert {"root", "gateway"} <= named
        assert not re.search(r"[A-Z+#]", channel["address"])
    addresses = {name: each["address"] for name, each in asyncapi()["channels"].items()}
    assert addresses["sample"] == "{root}/{gateway}/detector/{detector}/sample"
    assert addresses["post"] == "{root}/{gateway}/post/{post}"
    assert addresses["command"] == "{root}/{gateway}/command/{user}/{name}"


def test_operations_say_who_sends_and_how():
    document = asyncapi()
    assert set(document) >= {"asyncapi", "info", "channels", "operations", "components"}
    assert document["asyncapi"] == "3.0.0"
    assert len(document["operations"]) == len(MESSAGES)
    for operation in document["operations"].values():
        name = operation["channel"]["$ref"].rpartition("/")[2]
        message = BY_NAME[name]
        assert operation["action"] == ("receive" if message.form is Form.COMMAND else "send")
        mqtt = operation["bindings"]["mqtt"]
        assert mqtt["qos"] == 1
        assert mqtt["retain"] is (message.form is Form.RETAINED)
        for ref in refs(operation["messages"]):
            assert ref.startswith(f"#/channels/{name}/messages/")
    pattern = re.compile(r"^[A-Za-z0-9_\-]+$")
    assert all(
        pattern.match(name) for part in ("channels", "operations") for name in document[part]
    )
    assert all(pattern.match(name) for name in document["components"]["messages"])


# ------------------------------------------------------------------ compatibility


def breaks(old, new):
    """Why a consumer of the old contract would not work with the new one."""
    found = []
    for name, before in old.items():
        after = new.get(name)
        if after is None:
            found.append(f"{name} is gone")
            continue
        if name == "commands":
            found += [
                f"command {each} is gone" for each in before["names"] if each not in after["names"]
            ]
            continue
        found += [
            f"{name}: {part}" for part in ("topic", "form", "kind") if before[part] != after[part]
        ]
        for key, told in before["keys"].items():
            found += [f"{name}.{key} {why}" for why in key_breaks(told, after["keys"].get(key))]
        if name == "command":
            found += [
                f"command.{key} is wanted" for key in after["keys"] if key not in before["keys"]
            ]
    return found


def key_breaks(old, new):
    if new is None:
        return ["is gone"]
    found = [
        f"has another {part}"
        for part in ("type", "unit", "nullable")
        if old.get(part) != new.get(part)
    ]
    if new["optional"] and not old["optional"]:
        found.append("may be left out")
    choices, before = new.get("choices"), old.get("choices")
    if before is not None and choices is None:
        return found if old["open"] else [*found, "may be anything"]
    if before is None and choices is not None:
        found.append("has choices")
    elif before is not None:
        found += [f"has lost {each}" for each in before if each not in choices]
        if not old["open"]:
            found += [f"has {each} as well" for each in choices if each not in before]
    return found


def test_the_contract_is_still_version_1():
    frozen = json.loads(FROZEN.read_text(encoding="utf-8"))
    assert breaks(frozen, described()) == []


def mutated(change):
    contract = copy.deepcopy(json.loads(FROZEN.read_text(encoding="utf-8")))
    change(contract)
    return contract


def of(contract, name, key):
    return contract[name]["keys"][key]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda c: c.pop("state"), "state is gone"),
        (lambda c: c["state"].update(topic="detector/ID/condition"), "state: topic"),
        (lambda c: c["state"].update(form="told once"), "state: form"),
        (lambda c: c["state"].update(kind="status2"), "state: kind"),
        (lambda c: c["state"]["keys"].pop("since"), "state.since is gone"),
        (lambda c: c["sample"]["keys"].pop("readings[].unit"), "sample.readings[].unit is gone"),
        (lambda c: c["sample"]["keys"].pop("seq"), "sample.seq is gone"),
        (lambda c: of(c, "dose", "dose").update(type="string"), "dose.dose has another type"),
        (lambda c: of(c, "dose", "dose").update(unit="mSv"), "dose.dose has another unit"),
        (lambda c: of(c, "dose", "dose").update(nullable=True), "dose.dose has another nullable"),
        (
            lambda c: of(c, "dose", "upper").update(nullable=False),
            "dose.upper has another nullable",
        ),
        (lambda c: of(c, "dose", "dose").update(optional=True), "dose.dose may be left out"),
        (
            lambda c: of(c, "state", "state")["choices"].append("asleep"),
            "state.state has asleep as well",
        ),
        (
            lambda c: of(c, "state", "state")["choices"].remove("stale"),
            "state.state has lost stale",
        ),
        (lambda c: of(c, "sample", "flags")["choices"].pop(), "sample.flags has lost "),
        (lambda c: of(c, "state", "state").pop("choices"), "state.state may be anything"),
        (lambda c: of(c, "state", "detector").update(choices=["a"]), "state.detector has choices"),
        (lambda c: c["commands"]["names"].remove("acknowledge"), "command acknowledge is gone"),
        (lambda c: c["command"]["keys"].update(site={}), "command.site is wanted"),
    ],
)  # fmt: skip
def test_what_breaks_a_consumer_is_seen(change, why):
    frozen = json.loads(FROZEN.read_text(encoding="utf-8"))
    (found,) = breaks(frozen, mutated(change))
    assert found.startswith(why)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(
            weather={"topic": "weather", "form": "retained", "kind": "w", "keys": {}}
        ),
        lambda c: c["state"]["keys"].update(colour={"type": "string", "optional": False}),
        lambda c: of(c, "sample", "flags")["choices"].append("smells"),
        lambda c: c["commands"]["names"].append("sing"),
    ],
)
def test_what_may_be_added_is_no_break(change):
    frozen = json.loads(FROZEN.read_text(encoding="utf-8"))
    assert breaks(frozen, mutated(change)) == []


def test_open_choices_are_said_to_be_open_in_the_document():
    page = Path(__file__).parents[2] / "docs" / "concepts" / "compatibility.md"
    text = page.read_text(encoding="utf-8")
    used = {key.name for m in MESSAGES for key in every_key(m.table) if key.choices}
    for name in OPEN & used:
        assert f"`{name}`" in text, name


def every_key(table):
    for key in table.keys:
        yield key
        if key.of is not None:
            yield from every_key(key.of)


def test_schemas_allow_unknown_keys_so_that_they_may_be_added():
    for name in NAMES:
        if name != "command":
            check(name, EXAMPLES()[name] | {"brand_new": [1]})
    assert wire_schema(BY_NAME["command"])["additionalProperties"] is False
