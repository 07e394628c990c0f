"""Runs agents: accepts messages, gives each task one run at a time, cancels, ends, sweeps.

engine       accept, settled, cancel, drain
settings     the limits and times of tasks
resources    what the other modules share
stats        what a server is doing now

Messages:

intake       what happens to a message
new_tasks    creating a task for a message
reply        answers without a task
send_call    a send until it is over
priority     the priority of a message
slots        places for runs
line         the order of the runs that wait for places
locks        a lock for each task
waiting      counting the tasks that wait for users

Runs:

states       what may happen to a run, as a table
run          one turn of a task, and a task that is at work
task_turn    what a handler can do to its task
player       calling a handler, and passing on what it makes
run_output   writing that as artifacts
turn_end     writing the end of a turn
runs         all tasks at work
endings      ending tasks that have no run
queued_turn  a message that is a turn of a task
events       making events, and the limits of a task
writer       writing the events of a run
observer     what an observer gets to know of runs
held         handlers that wait in `ask`
repeatable   what every run of a turn gets alike
replay       the recorded answers for a run of a turn that is begun again
farewell     running the handler of an ended task, so that it cancels its remote task
past         other tasks, for a handler
blame        the line of a handler for an error
watch        handlers that block the event loop

Replicas and background work:

replica      the lease of this process
takeover     going on with tasks that have no run here
recovery     the loops of a replica
background   background tasks that end, and loops
sweep        retention
"""

from a2a_grpc.engine.background import PeriodicTasks
from a2a_grpc.engine.engine import Engine
from a2a_grpc.engine.send_call import AcceptedTurn, SendCall, ended_before
from a2a_grpc.engine.settings import EngineSettings
from a2a_grpc.engine.stats import Stats

__all__ = ["AcceptedTurn", "Engine", "EngineSettings", "PeriodicTasks", "SendCall", "Stats", "ended_before"]
