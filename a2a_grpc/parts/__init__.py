"""Python values as parts, artifacts and messages, and the way back.

making       parts and messages from values
reading      texts, data and files from parts
json_values  JSON values as messages of protobuf
checks       checks of content that has arrived
"""

from a2a_grpc.parts.checks import Budget, Problem, check_content, json_steps
from a2a_grpc.parts.json_values import MAX_DEPTH, Inexact, Json, children, encodable, struct, to_dict, to_python, value
from a2a_grpc.parts.making import Content, Contents, agent_message, file_part, part, parts, put, user_message
from a2a_grpc.parts.reading import data_of, files_of, text_of

__all__ = [
    "MAX_DEPTH",
    "Budget",
    "Content",
    "Contents",
    "Inexact",
    "Json",
    "Problem",
    "agent_message",
    "check_content",
    "children",
    "data_of",
    "encodable",
    "file_part",
    "files_of",
    "json_steps",
    "part",
    "parts",
    "put",
    "struct",
    "text_of",
    "to_dict",
    "to_python",
    "user_message",
    "value",
]
