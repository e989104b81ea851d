"""Kills workers and the database under load and counts losses; ``make chaos``."""
