"""Who publishes: ``desk.py bill JSON...``, ``pack JSON...``: prints the ids of the calls."""

import json
import sys

from shop import Order, bill, pack

tasks = {"bill": bill, "pack": pack}


def argument(text):
    """Read a dict, or with a ``=`` before it the model of it."""
    value = json.loads(text.removeprefix("="))
    return Order(**value) if text.startswith("=") else value


print(json.dumps([tasks[sys.argv[1]].delay(argument(text)).id for text in sys.argv[2:]]))
