"""What stands around every message of the public contract, version 1.

Encoder, JSON Schemas, AsyncAPI document and reference all come from the tables of this package.
"""

from typing import Final

from gateway.values import Lane

SCHEMA: Final = "dosegate/1"

DELIVERY_KEYS: Final[dict[str, str]] = {
    "schema": f"Contract version, {SCHEMA}",
    "gateway": "Id of the gateway",
    "lane": f"One of {', '.join(Lane)}",
    "epoch": "Rises at each start of the gateway",
    "seq": "Gap-free per gateway, lane and epoch",
    "replayed": "Present and true when sent from the backlog",
    "durable": "Present and false when an alarm was told before the disk had it",
    "revision": "Of retained documents in place of seq: rises with each change, over restarts too",
}
