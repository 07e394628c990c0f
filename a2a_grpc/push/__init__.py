"""Push notifications: sends the events of tasks to webhooks, and to the agents that asked for them.

delivery  what is delivered to a destination, and the outcome of an attempt
configs   the configs of tasks, as the four calls about them see them
key_file  reading a file of keys, or making it
vault     the encryption of their secrets
sender    delivery: which configs this process has claimed
courier   the delivery of one of them
traced    the span of each attempt
origin    the version and the trace of the call that registered a config
chosen    which events of a task are sent
routes    destinations by the scheme of a url
offered   the settings of the above

Webhooks:

webhooks   posting notifications to webhooks
settings   the settings of webhooks
place      reading a url strictly
addresses  whether an address is one of the public internet
allowed    the places that are allowed: `push_allow`
dialling   connections, whose addresses are checked before they are dialled
headers    the headers of a notification
signing    signatures, the key of `v1a`, and the published key set
answer     what follows from the answer of a receiver
schedule   when an attempt follows a failed one
slots      limits of what is at work at a time
versions   versions of the packages that are needed

Callbacks to agents:

callbacks          calling back agents
result             the message that brings a result
lines              the connections to agents
callback_settings  the settings of callbacks

The receiver:

receiver      `PushReceiver`, for aiohttp and ASGI
asgi          a receiver as an ASGI application
incoming      requests, before anything of them is believed
notification  reading the body of a notification
expected      the configs whose notifications are expected
proof         whether a notification comes from the agent
repeats       doing the work of a notification once
reply         the answer to a notification
"""

from a2a_grpc.push.notification import Notification
from a2a_grpc.push.receiver import PushReceiver
from a2a_grpc.push.reply import Reply
from a2a_grpc.push.settings import WebhookSettings

__all__ = ["Notification", "PushReceiver", "Reply", "WebhookSettings"]
