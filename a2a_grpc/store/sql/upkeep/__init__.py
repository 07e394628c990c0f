"""What an operator does with a database of tasks: count, copy, delete.

opened    opening a database as it is, without an upgrade
look      looking at a database without any change, for a check
stats     how many tasks there are, how large, how old
deleting  deleting ended tasks
rows      rows of tables as JSON
export    writing tasks as lines of JSON
lines     reading and checking these lines
load      storing tasks that were read
"""
