from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from vsd_utils.miniature.occlusion import SUBSETS, by_occlusion, hidden_share
from vsd_utils.miniature.scenes.scene import compose

scenes = st.builds(compose, st.integers(0, 2**32), st.just("test"), st.integers(0, 10**6))


@settings(max_examples=60, deadline=None)
@given(scenes)
def test_a_part_is_hidden_where_one_stands_before_the_other_and_nowhere_else(scene):
    share = hidden_share(scene)
    assert (share > 0) == (scene.front is not None)
    assert share < 0.9  # a part is always seen
    if scene.relation == "behind":
        # Of its width 0.4 to 0.62 is behind the object (layout.py), and drawings do not fill their boxes evenly.
        assert 0.1 < share < 0.8


def test_each_relation_is_cut_in_halves():
    found = by_occlusion(0, "test", range(90))
    assert list(found) == list(SUBSETS)
    relations = {name: Counter(compose(0, "test", n).relation for n in numbers) for name, numbers in found.items()}
    assert (
        relations["less hidden"] == relations["more hidden"] == dict.fromkeys(("on", "in", "behind", "in front of"), 5)
    )
    least = {name: min(hidden_share(compose(0, "test", n)) for n in numbers) for name, numbers in found.items()}
    assert least["less hidden"] < least["more hidden"]
