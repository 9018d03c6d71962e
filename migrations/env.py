"""Alembic's environment: runs on the connection that the program hands over, inside its transaction.

The migrations are the one description of the schema; there is no second one to compare them with.
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
