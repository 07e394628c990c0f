"""The words of entries, in memory."""

import bisect
from collections import Counter
from collections.abc import Iterable, Sequence

from a2a_grpc.registry.entry import Key


class Wordlist:
    """Finds the entries that have words with certain beginnings, without a look at all entries."""

    def __init__(self) -> None:
        self._keys: dict[str, set[Key]] = {}
        self._words: list[str] = []
        """The words in order, so that those with one beginning stand together."""

    def add(self, key: Key, words: Iterable[str]) -> None:
        """Add the words of an entry."""
        for word in words:
            if word not in self._keys:
                self._keys[word] = set()
                bisect.insort(self._words, word)
            self._keys[word].add(key)

    def remove(self, key: Key, words: Iterable[str]) -> None:
        """Remove the words of an entry."""
        for word in words:
            keys = self._keys[word]
            keys.discard(key)
            if not keys:
                del self._keys[word]
                del self._words[bisect.bisect_left(self._words, word)]

    def find(self, asked: Sequence[str]) -> "Counter[Key]":
        """Return how many of the words each entry matches. Entries that match none are left out."""
        found: Counter[Key] = Counter()
        for beginning in asked:
            keys: set[Key] = set()
            for place in range(bisect.bisect_left(self._words, beginning), len(self._words)):
                if not (word := self._words[place]).startswith(beginning):
                    break
                keys |= self._keys[word]
            found.update(keys)
        return found
