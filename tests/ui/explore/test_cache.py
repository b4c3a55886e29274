"""Cache of captured attention: limited, with keys that cannot be guessed."""

import pytest

from promptweight_ui.explore.cache import Cache


def test_least_recently_used_entry_is_removed_first():
    cache = Cache(max_entries=2)
    first, second = cache.add("a", 1), cache.add("b", 1)
    assert cache.get(first) == "a"
    third = cache.add("c", 1)
    assert [cache.get(key) for key in (first, second, third)] == ["a", None, "c"]


def test_session_has_one_entry():
    cache = Cache()
    other, first = cache.add("other", 1, "b"), cache.add("first", 1, "a")
    second = cache.add("second", 1, "a")
    assert [cache.get(key) for key in (other, first, second)] == ["other", None, "second"]
    cache.add("without owner", 1)
    cache.add("without owner, too", 1)
    assert len(cache) == 4


def test_memory_is_limited_but_the_newest_entry_stays():
    cache = Cache(max_bytes=10)
    keys = [cache.add(number, 6) for number in range(5)]
    assert len(cache) == 1
    assert cache.get(keys[-1]) == 4
    assert cache.get(cache.add("large", 100)) == "large"


@pytest.mark.parametrize("key", [None, 3, "", "a", ["x"], {"key": 1}, float("nan")])
def test_unknown_key_has_no_entry(key):
    cache = Cache()
    cache.add("secret", 1)
    assert cache.get(key) is None
    assert len(cache) == 1


def test_keys_are_long_and_distinct():
    cache = Cache()
    keys = {cache.add("a", 1) for _ in range(50)}
    assert len(keys) == 50
    assert min(map(len, keys)) >= 20
