"""The adapter of OpenClaw: an MCP server over stdio that has tasks done by an agent behind OpenClaw's Gateway."""
