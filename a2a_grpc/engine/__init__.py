"""Runs agents: accepts messages, gives each task one run at a time, cancels, ends, sweeps.

engine       accept, settled, cancel, drain
settings     the limits and times of tasks

Messages:

intake       what happens to a message
send_call    a send until it is over
reply        answers without a task
locks        a lock for each task
priority     the priority of a message
slots        which waiting run gets a place
waiting      counting the tasks that wait for users

Runs:

queued_turn  a message that is a turn of a task
run          one execution of a handler
states       what may happen to a run, as a table
runs         all executions
observer     what an observer gets to know of runs
events       making events, and the limits of a task
writer       writing the events of a run
held         handlers that wait in `ask`
rerun        beginning the run of a turn again
replay       the answers that were recorded for it
farewell     running the handler of an ended task, so that it cancels its remote task
past         other tasks, for a handler
blame        the line of a handler for an error
watch        handlers that block the event loop

Replicas and background work:

replica      the lease of this process
recovery     taking over tasks
periodic     background loops
sweep        retention and expiry
"""

from a2a_grpc.engine.engine import Engine
from a2a_grpc.engine.periodic import PeriodicTasks
from a2a_grpc.engine.send_call import AcceptedTurn, SendCall, ended_before
from a2a_grpc.engine.settings import EngineSettings

__all__ = ["AcceptedTurn", "Engine", "EngineSettings", "PeriodicTasks", "SendCall", "ended_before"]
