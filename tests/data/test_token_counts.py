"""Image tokens against the processor that makes them, and against counts measured on LLaVA-1.6's own grids."""

from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import write_json
from vsd_utils.data.token_counts import _tiling, image_tokens, summary

LLAVA_1_6 = {"tile": 336, "patch": 14, "grids": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]}
BACKWARDS = LLAVA_1_6 | {"grids": LLAVA_1_6["grids"][::-1]}  # the first grid is then not the smallest that fits
TINY = {"tile": 48, "patch": 12, "grids": [[48, 96], [96, 48], [96, 96]]}


class Processor(LlavaNextProcessor):
    """The real arithmetic without a tokenizer, which it does not need."""

    def __init__(self, patch: int, grids: list[list[int]]) -> None:
        self.patch_size = patch
        self.vision_feature_select_strategy = "default"
        self.num_additional_image_tokens = 1
        self.image_processor = SimpleNamespace(image_grid_pinpoints=grids)

    def tokens(self, width: int, height: int, tile: int) -> int:
        return self._get_number_of_features(height, width, tile, tile) - 1  # strategy "default" drops the class token


@pytest.mark.parametrize(
    ("size", "tokens"),
    [
        ((500, 375), 2340),
        ((640, 480), 2340),
        ((800, 600), 2340),
        ((1024, 768), 2340),
        ((375, 500), 2352),
        ((480, 640), 2352),
        ((500, 333), 1464),
        ((336, 336), 1176),
        ((1000, 400), 2040),
    ],
)
def test_counts_measured_with_the_published_configuration(size, tokens) -> None:
    assert image_tokens(size, **LLAVA_1_6) == tokens


length = st.one_of(st.integers(1, 20), st.integers(1, 2000), st.integers(1, 100_000))


@given(length, length, st.sampled_from([LLAVA_1_6, BACKWARDS, TINY]))
@example(1, 100_000, LLAVA_1_6)
@example(100_000, 1, LLAVA_1_6)
@example(600, 100, BACKWARDS)
@example(1, 1, TINY)
def test_equal_to_the_processor_for_any_size(width, height, tiling) -> None:
    expected = Processor(tiling["patch"], tiling["grids"]).tokens(width, height, tiling["tile"])
    assert image_tokens((width, height), **tiling) == expected


def test_tiling_is_read_from_either_generation_of_files(tmp_path) -> None:
    images = {"image_grid_pinpoints": LLAVA_1_6["grids"], "crop_size": {"height": 336, "width": 336}}
    new, old, none = (tmp_path / name for name in ("new", "old", "none"))
    write_json(new / "processor_config.json", {"image_processor": images, "patch_size": 14})
    write_json(old / "preprocessor_config.json", {**images, "size": {"shortest_edge": 336}})
    write_json(old / "config.json", {"vision_config": {"patch_size": 14}})
    assert _tiling(new) == _tiling(old) == LLAVA_1_6
    write_json(none / "processor_config.json", {"image_processor": {"size": {"shortest_edge": 336}}})
    with pytest.raises(VsdError, match=r"none: no processor_config.json with image_grid_pinpoints"):
        _tiling(none)


def test_a_summary_by_hand() -> None:
    found = summary({"text": {"1": [10, 20, 60], "2": [], "3": [7]}, "image": [100] * 99 + [300]})
    assert found == {
        "text, task 1": {"mean": 30.0, "median": 20.0, "p99": pytest.approx(59.2), "maximum": 60.0},
        "text, task 3": {"mean": 7.0, "median": 7.0, "p99": 7.0, "maximum": 7.0},
        "image": {"mean": 102.0, "median": 100.0, "p99": pytest.approx(102), "maximum": 300.0},
    }
