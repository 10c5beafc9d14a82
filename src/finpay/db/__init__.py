"""The only package that imports the PostgreSQL driver: pool, named queries, migrations, roles."""
