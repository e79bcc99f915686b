"""Let ``dvc exp run`` say which edits of ``params.yaml`` it is about to replace (``hydra.plugins_path``)."""

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from vsd_utils.common.profiles import say_what_is_replaced


class KeepEdits(SearchPathPlugin):
    """Called by Hydra before it composes; the search path stays as it is."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Compare ``params.yaml`` with the profile that it names, while it is still there."""
        say_what_is_replaced(Path(__file__).resolve().parents[2])
