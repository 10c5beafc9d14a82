"""Development on one machine: PostgreSQL and Valkey from wheels, seed data, `finpay dev`."""
