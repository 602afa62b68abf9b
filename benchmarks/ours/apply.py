"""Ours: the consumer as `etlog consume` runs it, until it is ended."""

import gc
import threading

from etlog.commands.consume import GC_EVERY
from etlog_consumer import Consumer, Target
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.store import connect
from shared import turn

job = turn.arguments()
gc.set_threshold(GC_EVERY)
client = connect(job["url"], part="consumer")
client.ping()
consumer = Consumer(client, Target(Keys(job["log"]), KUBECOST_KINDS, job["cap"]), retain=100_000)
turn.wait_for_go()
consumer.run(threading.Event())
