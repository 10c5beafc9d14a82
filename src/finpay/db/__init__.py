"""The one door to PostgreSQL: the pool, named queries, migrations, roles.

Only this package imports the driver.
"""
