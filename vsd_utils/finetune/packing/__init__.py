"""The image read once: all conversations about a picture behind one copy of its image tokens (docs/packing.md).

packs.py      which pictures make up a micro-batch
rows.py       the same of training rows
collator.py   a micro-batch as tensors: prefix, branch, branch, ..., prefix, branch, ...
attention.py  a branch sees its picture's prefix and itself
"""
