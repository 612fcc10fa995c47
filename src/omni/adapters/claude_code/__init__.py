"""Claude Code as an executor: its headless mode behind Omni's executor contract.

adapter ──▶ command (argv, environment)   pure
        ──▶ run     (the process, from its start until nothing of it is left)
        ──▶ stream  (what its events say) and verdict (what they amount to), with limits   pure
"""
