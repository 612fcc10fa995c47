"""Events in words, as everywhere: see `omni.replay.words`."""

from omni.replay.words import SENTENCES, UNSAID, Sentence, sentence

__all__ = ["SENTENCES", "UNSAID", "Sentence", "sentence"]
