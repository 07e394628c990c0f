"""Agents of other frameworks as agents here, and agents here for other frameworks.

A module is imported only by its name, and needs what it adapts, which is in the extra of the same name.

executor     an `AgentExecutor` of the official SDK as an agent
langgraph    a compiled graph of LangGraph, and remote agents as its tools
program      a program: its input is the message, its output the artifact
proxy        an agent of another binding, served here
tool         a remote agent as a function that a language model calls
transport    this package's client for the `ClientFactory` of the official SDK
calls        calls of tools that wait for the user, and status messages about calls
result       the artifact that a language model writes
past         what was said in earlier tasks of a conversation
model_text   texts for a language model
missing      the error for a package that is not installed
"""
