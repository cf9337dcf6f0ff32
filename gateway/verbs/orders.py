"""The orders of the operators' desk, by the control socket of this laptop, with no broker."""

import argparse
import re
from typing import Final

from gateway.board import harmless
from gateway.control import ControlClient, ControlUnavailable
from gateway.verbs.board import add_socket_arguments, client_of, waiting
from gateway.verbs.order_table import BY_NAME, Argument, BadValue, OrderVerb, Scalar
from gateway.verbs.terminal import Exit, complain, say

Wanted = dict[str, object]
_SUBJECTS: Final = ("occurrence", "detector")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the order that the parser is for."""
    add_socket_arguments(parser)
    for argument in _order(parser.get_default("verb")).arguments:
        _add(parser, argument)


def run(arguments: argparse.Namespace) -> Exit:
    """Gives the order; a refusal says why."""
    order = _order(arguments.verb)
    try:
        wanted = _wanted(order, arguments)
    except BadValue as error:
        complain(f"{order.name}: {error}")
        return Exit.USAGE
    client = client_of(arguments)
    if client is None:
        return Exit.USAGE
    try:
        return _give_all(client, order, wanted)
    except ControlUnavailable as error:
        complain(str(error))
        return Exit.FAULT


def _order(name: str) -> OrderVerb:
    return BY_NAME[name]


def _add(parser: argparse.ArgumentParser, argument: Argument) -> None:
    if argument.is_positional:
        parser.add_argument(
            argument.key,
            metavar=argument.flag,
            nargs=None if argument.required else "?",
            help=argument.help,
        )
    else:
        parser.add_argument(
            argument.flag, dest=argument.key, required=argument.required, help=argument.help
        )


def _wanted(order: OrderVerb, arguments: argparse.Namespace) -> dict[str, Scalar]:
    """The arguments of the command. Raises BadValue."""
    words = {each.key: getattr(arguments, each.key) for each in order.arguments}
    return {
        each.key: each.read(words[each.key])
        for each in order.arguments
        if words[each.key] is not None
    }


def _give_all(client: ControlClient, order: OrderVerb, wanted: dict[str, Scalar]) -> Exit:
    if order.all_waiting and "occurrence" not in wanted:
        several = waiting(client)
        if not several:
            say("nothing to acknowledge")
    else:
        several = [dict(wanted)]
    results = [_give(client, order, one) for one in several]
    return Exit.WELL if all(results) else Exit.FAULT


def _as_typed(order: OrderVerb, reason: str) -> str:
    """The reason with arguments by their options: the gateway knows them as they are sent."""
    for each in order.arguments:
        if "_" in each.key:
            reason = re.sub(rf"\b{each.key}\b", each.flag, reason)
    return reason


def _give(client: ControlClient, order: OrderVerb, wanted: Wanted) -> bool:
    answer = client.ask({"ask": "command", "name": order.sent, "arguments": wanted})
    subject = next((f"{wanted[key]}: " for key in _SUBJECTS if key in wanted), "")
    reason = answer.get("reason")
    if answer.get("ok"):
        link = " " if str(reason).startswith("for ") else ": "
        said = f"{order.done}{link}{reason}" if reason else order.done
        say(harmless(f"{subject}{said}"))
        return True
    complain(harmless(f"{subject}{order.name} refused: {_as_typed(order, str(reason))}"))
    return False
