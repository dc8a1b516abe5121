"""dpo_notes: from "what is a language model" to a GPT-2 trained with Direct Preference Optimization.

Import where a thing lives, for example ``from dpo_notes.maths.losses import dpo_loss``.
This file imports nothing, so that ``import dpo_notes`` is immediate; torch is loaded when it is used.
"""

__version__ = "0.1.0"
