"""The nine spatial relations of the Visual Spatial Description data, in the order in which they are shown everywhere.

Apart from ``statements.py``, which reads them out of sentences, so that a better reader retrains nothing.
"""

RELATIONS = ("on", "in", "next to", "under", "above", "behind", "in front of", "to the left of", "to the right of")
