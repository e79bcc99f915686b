"""Studies: one question, some variants of a run, a table with what they differ by (``studies/*.yaml``).

plan.py         what a study's file says: its variants, seeds and scores, and the runs that these make
experiments.py  a run, made by DVC in a copy of the checkout: stages that runs share are made once
run_scores.py   a run's scores and what it cost, as a small file that git keeps
tables.py       the runs of a study joined: means, intervals over images, spread over seeds, paired tests
figure.py       the same drawn
"""
