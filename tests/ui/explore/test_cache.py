"""Things kept for pages: bounded, and known by keys that cannot be guessed."""

import pytest

from promptweight_ui.explore.cache import Kept


def test_least_recently_used_goes_first():
    kept = Kept(most=2)
    first, second = kept.add("a", 1), kept.add("b", 1)
    assert kept.get(first) == "a"
    third = kept.add("c", 1)
    assert [kept.get(key) for key in (first, second, third)] == ["a", None, "c"]


def test_a_session_has_one_thing_at_a_time():
    kept = Kept()
    other, first = kept.add("other", 1, "b"), kept.add("first", 1, "a")
    second = kept.add("second", 1, "a")
    assert [kept.get(key) for key in (other, first, second)] == ["other", None, "second"]
    kept.add("of nobody", 1)
    kept.add("of nobody either", 1)
    assert len(kept) == 4


def test_memory_is_bounded_but_the_newest_stays():
    kept = Kept(most_bytes=10)
    keys = [kept.add(number, 6) for number in range(5)]
    assert len(kept) == 1
    assert kept.get(keys[-1]) == 4
    assert kept.get(kept.add("large", 100)) == "large"


@pytest.mark.parametrize("key", [None, 3, "", "a", ["x"], {"key": 1}, float("nan")])
def test_unknown_keys_find_nothing(key):
    kept = Kept()
    kept.add("secret", 1)
    assert kept.get(key) is None
    kept.drop(key)
    assert len(kept) == 1


def test_keys_are_long_and_never_the_same():
    kept = Kept()
    keys = {kept.add("a", 1) for _ in range(50)}
    assert len(keys) == 50
    assert min(map(len, keys)) >= 20
