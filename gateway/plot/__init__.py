"""Pictures of what happened: a story told from messages, and its drawing with matplotlib.

Only ``draw`` and its parts import matplotlib; the rest is pure.
"""
