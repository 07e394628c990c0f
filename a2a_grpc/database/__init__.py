"""Databases by their URLs: connections, transactions, failures and the clock.

Importing a module imports SQLAlchemy, except `sqlite_file` and `unavailable`. The modules log as `a2a_grpc.store`,
because operators know a database as the store of a server.

urls          the URLs of databases
sqlite_file   the file that an SQLite URL names
usable        whether the database of a URL can be used, and its use by a command
connect       connecting to the database of a URL
access        the database of a store, with retries
transactions  what all databases have in common: the uses of connections, transactions, closing
threads       transactions in threads, for drivers that block
sqlite        an SQLite file
mysql         MySQL and MariaDB
postgresql    PostgreSQL, on asyncpg
columns       types of columns that are the same on all databases, and the time of the database
clock         the clock of an SQLite file
file          the file of an SQLite database
side_files    the write-ahead log of such a file and its index
write_lock    waiting for the write lock of such a file
retry         trying again within a budget of time, and which errors are transient
together      one transaction for callers that ask at the same time
unavailable   the errors of a database that does not answer
"""
