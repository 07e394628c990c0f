"""Traces and metrics, on the API of OpenTelemetry. Without it, or without a provider, nothing here runs.

provider    whether a program wants traces or metrics
opened      opening them for a server or a client
names       the names of attributes
spans       the spans as a table
metrics     the metrics as a table, and their instruments
call        the span of one call
calls       beginning the spans of calls, at the server and at the client
prometheus  the metrics as Prometheus reads them
runs        the spans of runs
deliveries  the spans of deliveries of push notifications
context     the context of a trace: in metadata, in text, in the current task
current     the span that the current task works for
"""
