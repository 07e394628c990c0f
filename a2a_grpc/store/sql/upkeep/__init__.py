"""What an operator does with a database of tasks: count, copy, rename its agent.

opened    opening a database as it is, without an upgrade; the name of the agent
look      looking at a database without any change, for a check
stats     how many tasks there are, how large, how old
rows      rows of tables as JSON
export    writing tasks as lines of JSON
lines     reading and checking these lines
load      storing tasks that were read
"""
