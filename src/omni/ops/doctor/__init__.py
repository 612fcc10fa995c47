"""What is wrong with this installation, and the command that mends it.

    scene ─ checks ─▶ look (side by side, each with a limit) ─▶ findings ─▶ mend (the safe ones)

`table.CHECKS` is every look; `catalogue.KINDS` is every finding there can be.
"""
