"""Append to the log of a task, and follow the log from a cursor.

log      the log of each task, and followers of it
tail     the newest records of a task, which its followers share
reading  reading records from the store
"""

from a2a_grpc.log.log import Follower, Log

__all__ = ["Follower", "Log"]
