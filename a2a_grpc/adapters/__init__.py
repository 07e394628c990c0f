"""Agents of other frameworks as agents here, and agents here for other frameworks.

A module is imported only by its name, and needs what it adapts, which is in the extra of the same name.

executor     an `AgentExecutor` of the official SDK as an agent
langgraph    a compiled graph of LangGraph, and remote agents as its tools
google_adk   an agent of Google ADK as an agent, and a remote agent as a tool of ADK
program      a program: its input is the message, its output the artifact
process      such a program as it runs, with its pipes, its time limit and its end
pydantic_ai  an agent of Pydantic AI as an agent, and a remote agent as its tool
openai_agents  an agent of the OpenAI Agents SDK as an agent, and a remote agent as its tool
proxy        an agent of another binding, served here
tool         a remote agent as a function that a language model calls
transport    this package's client for the `ClientFactory` of the official SDK
calls        calls of tools that wait for the user, and status messages about calls
result       the artifact that a language model writes
kept         the state of a framework, kept with a task
served       the turn that a framework works for
past         what was said in earlier tasks of a conversation
model_text   texts for a language model
pydantic_run      one turn of an agent of Pydantic AI
pydantic_content  what such an agent reads, says and keeps
openai_run        one turn of an agent of the OpenAI Agents SDK
openai_content    what such an agent reads, makes and keeps
missing      the error for a package that is not installed
adk_content  what an agent of ADK reads and says, as parts and back
adk_agents   the agents of a run of ADK, by their names
adk_calls    calls of an agent of ADK: what the user is told of them and asked
adk_events   the events of ADK as artifacts and status messages
adk_session  the session of ADK for a turn
adk_tool     the class of the tool of ADK
"""
