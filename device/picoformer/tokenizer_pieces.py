"""SentencePiece's byte-pair encoding: type 5 of docs/tokenizer.md."""

from .tokenizer_unigram import Unigram

_NEVER = 1 << 30  # above every cost


class Pieces(Unigram):
    """Neighbours that are a piece together are joined, the one of the least cost first.

    Pieces of cost 0 are taken whole wherever a text has them.
    """

    def __init__(self, section):
        super().__init__(section)
        self._whole = any(not self._cost(i) for i in range(self._pieces.count))

    def _cost(self, i):
        s = self._s
        p = self._costs + 4 * i
        return s[p] | s[p + 1] << 8 | s[p + 2] << 16 | s[p + 3] << 24

    def _word(self, word):
        """The token ids of one word, UTF-8."""
        at = []  # where its parts start
        whole = []
        i = 0
        while i < len(word):
            at.append(i)
            j = self._reach(word, i) if self._whole else i
            whole.append(j > i)
            b = word[i]
            i = j if j > i else i + 1 + (b > 0xBF) + (b > 0xDF) + (b > 0xEF)
        at.append(len(word))
        # as in BytePair: min and index run in C
        costs = [self._joined(word, at, whole, i) for i in range(len(whole) - 1)]
        while costs:
            best = min(costs)
            if best == _NEVER:
                break
            i = costs.index(best)
            at.pop(i + 1)
            whole.pop(i + 1)
            costs.pop(i)
            if i:
                costs[i - 1] = self._joined(word, at, whole, i - 1)
            if i < len(costs):
                costs[i] = self._joined(word, at, whole, i)
        ids = []
        for i in range(len(whole)):
            piece = self._pieces.find(word, at[i], at[i + 1])
            if piece >= 0:
                ids.append(self._pieces.token(piece))
            elif self._base >= 0:
                for b in word[at[i] : at[i + 1]]:
                    ids.append(self._base + b)
            elif not ids or ids[-1] != self.unk:  # a run of unknown characters gives one
                ids.append(self.unk)
        return ids

    def _joined(self, word, at, whole, i):
        """The cost of joining parts i and i + 1."""
        if whole[i] or whole[i + 1]:
            return _NEVER
        piece = self._pieces.find(word, at[i], at[i + 2])
        return _NEVER if piece < 0 else self._cost(piece)

    def _reach(self, word, i):
        """Where the longest piece of cost 0 at i ends, or i."""
        reached = i
        low = k = 0
        high = self._pieces.count
        while i + k < len(word):
            low = self._pieces.first(low, high, k, word[i + k])
            high = self._pieces.first(low, high, k, word[i + k] + 1)
            if low == high:
                break
            k += 1
            if self._pieces.ends(low, k) and not self._cost(low):
                reached = i + k
        return reached
