"""Measures the gateway side by side with nginx; run it with ``make bench``."""
