"""Compose params.yaml from conf/ without running anything: a profile, and any values that replace its own.

    vsd profile mini
    vsd profile boxes finetune.num_train_epochs=1 'fetch.annotations=/data/VSD (1)'

Afterwards `dvc repro` runs with it. `dvc exp run -S profile=NAME -S ...` composes and runs in one command. Both say
which values of the file they replace, and keep a copy of it.
"""

import argparse

from vsd_utils.common.profiles import PROFILES, write_params


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the profile's name and overrides."""
    parser.add_argument("profile", metavar="PROFILE", help=f"one of {', '.join(PROFILES)}")
    parser.add_argument("overrides", nargs="*", metavar="NAME=VALUE", help="values that replace the profile's")


def run(given: argparse.Namespace) -> int:
    """Write params.yaml and say what it holds."""
    profile = write_params([f"profile={given.profile}", *given.overrides])
    print(", ".join([f"params.yaml: profile {profile}", *given.overrides]))
    return 0
