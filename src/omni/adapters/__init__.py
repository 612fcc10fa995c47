"""The adapters that come with Omni: MCP servers over stdio, each in a process of its own, which have tasks done.

To the daemon they are executors like any other. It knows their modules by name only, and they know nothing of it but
the result contract (`omni.executors.contract`).
"""
