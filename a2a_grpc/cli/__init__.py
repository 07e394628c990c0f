"""The command line `a2a-grpc`.

app          the command with all its verbs
verb         the command of a verb that calls an agent
session      one run of such a verb

Verbs, one file each:

init         write the files of a new agent
project      these files
chat         a conversation in the terminal
conversation  its messages, answers and questions
lines        the lines that a user types in it
send         send a message and print the answer
stream       send a message and print the events of its task
subscribe    print the events of a task
get          show a task
list         list tasks
wait         wait until a task is settled
cancel       cancel a task
push         manage push configs
dead         its commands about deliveries that were given up
listen       print push notifications: `push listen`
card         show an agent card
agents       find agents in a registry
health       ask grpc.health.v1
ping         measure round trips
doctor       check each step of a call
services     the services that reflection lists
top          a live view of a server, from its metrics
readings     what it shows, from two readings of the metrics
login        sign in with a browser
logout       remove the tokens of a login
ready        the agents that `serve` makes itself
serve        serve an agent
sentinel     serve a sentinel
keys         manage the file of API keys
check        check the settings of a server: `serve --check`, `sentinel --check`
looks        what both checks look at
steps        the steps of a check, each with a line
db           manage the database of a store
database     what its commands share
stats        count the tasks of a database, and delete ended ones
transfer     copy tasks between databases
completion   print a script for the completion of words in a shell

Options and arguments:

options      options made from settings classes
credentials  the options for credentials
message      the options of verbs that send a message
content      parts and JSON values from texts
files        reading files and standard input up to a size
stored       the tokens that `login` has obtained
usage        usage errors that repeat no secret
examples     the examples in the help of each verb
load         loading the agent that the command line names
attach       serving an agent that is attached to a sentinel
register     serving an agent that registers

Output:

show         printing tasks and events
rows         printing lists of tasks
follow       watching a task until it is settled
described    times, messages and files in a few words
grpcurl      calls as commands for grpcurl
outage       the line that says that an agent does not answer
trace        the metadata and status of each call
output       standard output and standard error
saving       writing the files of artifacts
screen       terminals
progress     the spinner and the bar
exits        exit codes, and the line that says what went wrong
"""

from typing import TYPE_CHECKING, Any

from a2a_grpc.cli.app import main

if TYPE_CHECKING:
    from a2a_grpc.cli.serve import serve_command

__all__ = ["main", "serve_command"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import `serve_command` when it is used, so that a verb that calls an agent does not load the server."""
        if name != "serve_command":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from a2a_grpc.cli.serve import serve_command

        return serve_command
