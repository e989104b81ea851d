"""Made-up traffic for trying out the pages and for measuring; see ``seed_demo``."""
