"""The lines of the log: what they are about, and their two formats.

A line is written as `logger.info("text key=%s", value)`. The pairs are its facts. The text format shows the line as it
is written, and the JSON format gives each fact a field of its own.

about         the task and the caller that lines are about
access        a line for each call
facts         the facts of a record
formats       the formats, and sending the log to standard error
pseudonyms    short texts that stand for callers
stalled       writing lines without waiting for their reader
"""

from a2a_grpc.loglines.about import About, about
from a2a_grpc.loglines.access import AccessLog
from a2a_grpc.loglines.formats import LogFormat, log_to_stderr
from a2a_grpc.loglines.pseudonyms import log_key, pseudonym

__all__ = ["About", "AccessLog", "LogFormat", "about", "log_key", "log_to_stderr", "pseudonym"]
