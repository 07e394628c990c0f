"""Databases by their URLs: connections, transactions, failures and the clock.

Importing a module imports SQLAlchemy, except `unavailable`. The modules log as `a2a_grpc.store`, because operators know
a database as the store of a server.

urls          the URLs of databases
usable        whether the database of a URL can be used
connect       connecting to the database of a URL
transactions  transactions, in threads for drivers that block
postgresql    transactions on asyncpg
columns       types of columns that are the same on all databases, and the time of the database
clock         the clock of an SQLite file
file          the file of an SQLite database
write_lock    waiting for the write lock of such a file
transient     which errors may be gone at the next try
retry         trying again within a budget of time
together      one transaction for callers that ask at the same time
unavailable   the errors of a database that does not answer
"""
