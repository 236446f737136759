"""Durability: one contract, SQLite behind it, and a twin in memory for tests."""
