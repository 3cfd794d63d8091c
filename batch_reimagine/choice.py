"""One decision about one product: which variations are good, and in which order. Pure."""

import msgspec

MOST_NOTE = 2000  #: characters
MOST_VARIATION = 9999  #: as in Settings
_LONGEST_NUMBER = 4  # digits of it


class Choice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole decision about one product."""

    picked: tuple[int, ...] = ()  #: variation numbers by rank, the main picture first
    rejected: tuple[int, ...] = ()  #: variation numbers
    none: bool = False  #: looked at, and none of them is good
    note: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for what contradicts itself, or can be kept in no file."""
        for numbers, word in ((self.picked, "picked"), (self.rejected, "rejected")):
            if any(not 1 <= number <= MOST_VARIATION for number in numbers):
                raise ValueError("no variation has such a number")
            if len(set(numbers)) != len(numbers):
                raise ValueError(f"a variation is {word} twice")
        if set(self.picked) & set(self.rejected):
            raise ValueError("a variation is picked and rejected")
        if self.none and self.picked:
            raise ValueError("none is good, and yet some are picked")
        if len(self.note) > MOST_NOTE:
            raise ValueError(f"a note of more than {MOST_NOTE:,} characters")
        if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in self.note):  # half a pair of UTF-16
            raise ValueError("a note holds what is no character")

    @property
    def decided(self) -> bool:
        """Whether somebody has come to an end with this product."""
        return bool(self.picked) or self.none


UNDECIDED = Choice()


def variation_numbers(text: str) -> tuple[int, ...]:
    """(2, 1) of "2,1", "2 1" or "2;1". Raises ValueError."""
    words = text.replace(",", " ").replace(";", " ").split()
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) <= _LONGEST_NUMBER):
            raise ValueError(f"{word[:20]!r} is no number of a variation")
    return tuple(map(int, words))
