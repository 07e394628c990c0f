"""All statements of the store, for those who look after its database. Their parameters are named after columns.

SQLAlchemy writes each statement for SQLite, PostgreSQL, MySQL and MariaDB. `tests/store/test_sql_plan.py` asks the
planners of these databases which indexes they choose.

tasks         rows of tasks, claims, and what waits for a holder
records       logs of tasks, stored snapshots
lists         pages of tasks, and tasks past their retention
coordination  replicas, messages that wait, idempotency keys
outbox        push configs
notes         named values of tasks
"""
