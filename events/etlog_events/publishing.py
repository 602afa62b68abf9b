"""The function of the store that publishes: its name, its text, and the same as a script for a store without functions.

The consumer loads it, and so does every producer that may. It is frozen for each contract: the store keeps and
replicates it, and any language calls it by its name.
"""

from etlog_events.contract import VERSION
from etlog_events.scripts import Function, Script

SCRIPT = Script.load("etlog_events:publish.lua")

FUNCTION = Function(f"etlog_publish_{VERSION}", f"etlog_{VERSION}", SCRIPT.text)

#: Events in one call: the store does nothing else meanwhile. A longer batch travels as several calls.
CALL_EVENTS = 500
