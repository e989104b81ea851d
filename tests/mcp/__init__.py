"""Real MCP servers for tests."""
