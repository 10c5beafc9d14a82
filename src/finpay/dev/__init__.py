"""What makes a laptop enough: PostgreSQL and Valkey from wheels, seed data, one command."""
