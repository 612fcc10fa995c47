"""Executors: the MCP client side that hands tasks over, and the adapters that come with Omni."""
