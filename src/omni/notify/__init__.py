"""Telling the user: notices from Brainstem's outbox go to sinks, in the user's language."""
