"""Databases by their URLs: connections, transactions, failures, and the clock. Importing a module imports SQLAlchemy.

urls          what a URL of a database may say
usable        whether the database of a URL can be used
transactions  transactions, in threads for drivers that block
postgresql    the same on asyncpg
columns       types of columns that are the same on all databases, and the time of the database
clock         the clock of an SQLite file
file          the file of an SQLite database
write_lock    waiting for the write lock of such a file
transient     which errors may be gone at the next try
retry         trying again within a budget of time
unavailable   the errors of a database that does not answer; without SQLAlchemy
"""
