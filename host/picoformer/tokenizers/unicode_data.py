"""What the `tokenizers` library takes each character for; its tokens depend on that.

Its classes come from several versions of Unicode, and Python's own differ with Python's version:
a model must not depend on which Python converted it. tests/tokenizers/test_tokenizer_unicode.py
holds all of this against the library (0.23), character by character.

Ranges are written as the hexadecimal gap to the end of the range before, -, and how many more
characters the range has.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

# control, format and private characters
_CONTROLS = (
    "1-7 3-1 2-11 60-20 e 553-5 17 c1 32 10ff 7fd-4 1b-4 32-4 2-9 bf91-18ff 600 fa-2 10c2 "
    "abe3-3 14d0-7 c2e87 1f-5f ff81-fffd 3-fffd"
)

# nonspacing marks
_MARKS = (
    "300-3f 3 3-2a 114-4 10a-2c 2 2-1 2-1 2 49-a 31-14 11 66-6 3-5 3-1 2-3 24 1f-1a 5c-a 3b-8 "
    "23-3 2-8 2-2 2-4 2c-2 88-1f 38 2 5-7 5 4-6 b-1 1e 3b 5-3 9 15-1 1e-1 3a 5-1 5-1 3-2 4 1f-1 "
    "4 c-1 3a 5-4 2-1 5 15-1 1e 3b 3 2-3 9 9 c-1 1f 3e d 33 3e-2 6-1 3-3 8-1 c-1 1e 3b 3 7 6-1 "
    "15-1 1e 40-3 9 15-1 67 8-2 2 5b 3-6 d-7 63 3-5 2-1 c-5 4b-1 1c 2 2 38-1 2 3 2-5 2 2-2 2-1 "
    "6-5 2-3 2-3 2-3 2-3 2-3 2-b 2-2 a 67-3 2-5 2-1 3-1 1a-1 5-2 11-3 e 3-1 7 10 2c0-2 3b3-2 "
    "1e-2 1e-1 1f-1 41-1 2-6 9 3-a a 2e-2 9c 77-2 5-1 a 7-2 dc-1 3 3b 2-6 2 2 3-7 7-9 3 31-d "
    "43-3 31 2-4 2 6 29-8 d-1 21-3 3-1 2-2 39 2-1 4 2-2 3b-7 3-1 99-2 2-c 2-6 5 7 4-1 c7-35 7-3 "
    "2d1-c 5 4-b bff-2 8e 61-1f 22b-3 6c-1 75d5 5-9 21-1 51-1 111 4 5 1a-1 9e 1c-11 35-7 1a-a "
    "2f-2 31 3-3 3 29 44-5 3-1 3-1 d 9 30 34 2-2 3-1 6-1 2 2b-1 9 ef 3 5 4f31 2e2-f 11-f 3ce e3 "
    "96-4 687-2 2-1 6-3 29-2 5 a6-1 51b 37-e 39-2 32-3 3-1 46-2 25-4 2 3-4 3f d-1 35-8 c-2 63-2 "
    "3 2-1 a8 4-7 16-1 3b 4 26-6 4-4 13f-5 2 5-1 2-1 ef-3 7-1 2-1 1c-1 56-7 3 2-1 6b 2 3-5 2 "
    "66-2 3-3 2-4 53c5-4 3c-6 459-3 4d0b-1 14c9-2 12-7 3-6 1f-3 95-2 7bc-36 5-31 9 f 17-4 2-e "
    "e21-6 c182a-ef"
)

# punctuation, with all of ASCII's that is no letter and no digit
_PUNCTUATION = (
    "21-e b-6 1b-5 1b-3 23 6 4 b-1 4 4 2bf 9 1d3-5 2a-1 34 2 3 3 2d-1 15-1 2-1 e 3-1 4b-3 67 "
    "2c-d ea-2 37-e 20 106-1 b 180 304 5b b-1 a9-e 2 26-3 48 4b-4 5-1 70-5 ac 265-8 98 26d-1 "
    "2d-1 4f-2 48-1 9e-2 2-2 26-a 13a-1 d9-1 81-6 2-5 ad-6 9c-3 3c-4 3f-1 41-7 c 33d-17 9-13 "
    "2-c 2-b 1f-1 f-1 27a-3 1e-1 43e-d 50-1 20-9 194-15 40-3 21-1 2fc-3 2-1 71 90-2e 2-12 1bf-2 "
    "5-9 3-b 11 d 63 5b 7403-1 10e-2 64 b 74-5 17d-3 57-1 29-2 2 32-1 30 62-c 11-1 7d-3 7f-1 "
    "11-1 fa 5153-1 d1-9 17-22 2-d 2 5 2-1 96-2 2-5 2-3 b-1 4-1 1b-2 2 1c 2 2-6 19b-2 29d 31 "
    "19f 2e8 c8 20 111-8 27 71-6 43-6 5a-3 4ab-6 6e-1 2-3 7f-3 31-1 50-4 4 e 2-2 59-5 6c 21d "
    "fb-16 6a-2 f9-2 d32-4 45fa-1 86 42-4 9 515b 1de8-4"
)

# letters, as byte-level pre-tokenizers see them
_LETTERS = (
    "41-19 7-19 30 b 5 6-16 2-1e 2-1c9 5-b f-4 8 2 82-4 2-1 3-3 2 7 2-2 2 2-13 2-52 2-8a 9-a5 "
    "2-25 3 7-28 48-1a 5-3 2e-2a 24-1 2-62 2 10-1 8-1 b-2 3 11 2-1d 1e-58 c 19-20 a-1 5 6-15 5 "
    "a 4 18-18 8-a 6-17 2-5 12-29 3b-35 4 13 8-9 10-f 5-7 3-1 3-15 2-6 2 4-3 4 11 e-1 2-2 f-1 b "
    "9-5 5-1 3-15 2-6 2-1 2-1 2-1 20-3 2 14-2 11-8 2-2 2-15 2-6 2-1 2-4 4 13 10-1 18 c-7 3-1 "
    "3-15 2-6 2-1 2-4 4 1f-1 2-2 10 12 2-5 4-2 2-3 4-1 2 2-1 4-1 4-2 4-b 17 35-7 2-2 2-16 2-f 4 "
    "1b-2 3 3-1 1f 5-7 2-2 2-16 2-9 2-4 4 20-1 2-1 10-1 12-8 2-2 2-28 3 11 6-2 9-2 19-5 6-11 "
    "4-17 2-8 2 3-6 3b-2f 2-1 d-6 3b-1 2 2-4 2-17 2 2-9 2-1 a 3-4 2 16-3 21 40-7 2-23 1c-4 "
    "74-2a 15 11-5 5-3 4 4-1 8-2 5-c d 12-25 2 6 3-2a 2-14c 2-3 3-6 2 2-3 3-28 2-3 3-20 2-3 3-6 "
    "2 2-3 3-e 2-38 2-3 3-42 26-f 11-55 3-5 4-26b 3-10 2-19 6-4a 7-7 8-11 e-12 f-11 f-c 2-2 "
    "10-33 24 5 44-58 8-4 3-21 2 6-45 b-1e 32-1d 3-4 c-2b 5-19 37-16 a-34 53 5e-2e 12-7 37-1d "
    "e-1 b-2b 1b-23 2a-2 b-23 3-a 6-2a 3-2 2a-3 2-5 2-1 4 6-bf 41-115 3-5 3-25 3-5 3-7 2 2 2 "
    "2-1e 3-34 2-6 2 4-2 2-6 4-3 3-5 5-c 6-2 2-6 75 e 11-c 66 5 3-9 2 4-4 7 2 2 2-3 2-a 3-3 6-4 "
    "5 35-1 a7c-e4 7-3 4-1 d-25 2 6 3-37 8 11-16 a-6 2-6 2-6 2-6 2-6 2-6 2-6 2-6 51 1d6-1 2b-4 "
    "6-1 5-55 7-2 2-59 2-3 6-2a 2-5d 12-1f 31-f 201-19bf 41-568c 44-2d 3-10c 4-f b-1 15-2e "
    "11-1e 3-45 32-8 3-66 3-42 3-1 2 2-7 16-f 2-2 2-3 2-16 1e-33 f-31 3f-5 4 2-1 c-1b b-16 "
    "1a-1c 8-2e 1d 11-4 2-9 b-4 2-28 18-2 2-7 15-16 4 4-31 2 4-1 3-4 3 2 19-2 3-a 8-2 d-5 3-5 "
    "3-5 a-6 2-6 2-2a 2-d 7-72 1e-2ba3 d-16 5-30 2105-16d 3-69 27-6 d-4 6 2-9 2-c 2-4 2 2-1 2-1 "
    "2-6b 22-16a 13-3f 3-35 29-b 75-4 2-86 25-19 7-19 c-58 4-5 3-5 3-5 3-2 24-b 2-19 2-12 2-1 "
    "2-e 3-d 23-7a 186-1c 4-30 30-1f e-13 2-7 7-25 b-1d 3-23 5-7 31-9d 13-23 5-23 5-27 9-33 d-a "
    "2-e 2-6 2-1 2-a 2-e 2-6 2-1 4-33 d-136 a-15 b-7 19-5 2-29 2-8 46-5 3 2-2b 2-1 4 3-16 b-16 "
    "a-1e 42-12 2-1 b-15 b-19 47-37 7-1 41 10-3 2-2 2-1c 2b-1c 4-1c 24-7 2-1b 1c-35 b-15 b-12 "
    "e-11 6f-48 38-32 e-32 e-23 27-1b a-16 fb-29 7-1 11-2 3c-1c b 9-15 2b-11 2f-14 1c-16 d-34 "
    "3a-1 3 e-2c 21-18 1b-23 1e 3 9-22 4 d-2f f-3 16 2 24-11 2-18 14-1 40-6 2 2-3 2-e 2-9 8-2e "
    "27-7 3-1 3-15 2-6 2-1 2-4 4 13 d-4 1f-9 2 3 2-25 2 1a 2 2d-34 13-3 15-2 1f-2f 15-1 2 b9-2e "
    "2a-3 25-2f 15 3c-2a e 48-1a 26-6 ba-2b 75-3f 20-7 3 3-7 2-1 2-17 10 2 5f-7 3-26 11 2 1d "
    "b-27 8 16 c-2d 14 13-48 c8-20 20-8 2-24 12 32-1d 71-6 2-1 2-25 16 1a-5 2-1 2-1f f 148-12 "
    "10 2-c 2-21 7d 50-399 e7-c3 a4d-60 10-42f 12-5 1a-f9a 6-246 1aba-1d 6e3-238 8-1e 12-4e "
    "12-1d 13-2f 11-3 20-14 6-12 1b1-2c d4-3f 81-4a 6 43-c 41-1 2 1d-17f7 9-4d5 2a-9 22e8-3 2-6 "
    "2-1 2-122 10 1e-2 3 f-3 9-18b 905-6a 6-c 4-8 8-9 1767-54 2-46 2-1 3 3-1 3-3 2-b 2 2-6 2-40 "
    "2-3 3-7 2-6 2-1b 2-3 2-4 2 4-6 2-153 3-18 2-18 2-1e 2-18 2-1e 2-18 2-1e 2-18 2-1e 2-18 2-7 "
    "735-1e 7-5 106-3d 93-2c b-6 11 142-1d 13-2b 1e5-1b e5-1d 3 1f0-6 2-3 2-1 2-e 2-c4 3c-43 8 "
    "4b5-3 2-1a 2-1 2 3 2-9 2-3 2 2 7 5 2 2 2-2 2-1 2 3 2 2 2 2 2-1 2 3-3 2-6 2-3 2-3 2 2-9 "
    "2-10 6-2 2-4 2-10 1145-a6df 21-1039 7-dd 3-1681 f-1d30 10-26d 9a3-21d 5e3-134a 6-105f"
)

# numbers, the same
_NUMBERS = (
    "30-9 79-1 6 3-2 5a2-9 87-9 c7-9 19d-9 77-9 5-5 6d-9 77-9 77-9 3-5 6f-c 74-9 9-6 68-9 69-6 "
    "8-12 6e-9 61-9 77-9 47-13 10d-9 47-9 2d0-13 372-2 f0-9 7-9 17-9 12d-9 81-a a6-9 7-9 b7-9 "
    "57-9 87-9 7-9 417 4-5 7-9 c7-32 3-4 2d7-3b 4f-15 277-1d 56a 30a 1a-8 f-2 158-3 8b-9 1f-7 "
    "2-e 21-9 28-e 7361-9 bd-9 141-5 9b-9 27-9 c7-9 17-9 57-9 197-9 5317-9 1ee-2c d-38 12-1 "
    "156-1a 25-3 1e 9 87-4 cb-9 3af-7 1a-6 28-8 4c-4 17-5 a1-1 3-f 3-2d 41-8 35-1 1f-2 4c-4 "
    "69-7 19-7 2a-6 14b-5 31-9 7-9 117-1e 9f-9 2b-3 71-6 87-1d 81-9 3d-9 91-9 8-13 fc-9 157-9 "
    "77-9 177-9 67-9 7-13 4d-b 1a5-12 5e-9 297-9 57-1c e4-9 47-9 1a7-9 67-14 42c-6e 3cc2-9 "
    "927-9 57-9 87-9 2-6 20f-9 107-16 5e5a-9 5c7-13 d-13 6d-18 456-31 941-9 1a7-9 1f7-9 f8-9 "
    "2cd-8 81-9 318-3a 2-2 2-3 4d-2c 2-e 3c3-c ae4-9"
)

# characters above U+FFFF that have a canonical decomposition
_DECOMPOSED = "1109a 2 f 83-1 21c-1 16f-1 2 fc-1 bba3-6 57-5 12640-21d"

# combining characters by their class, as normal forms sort them
_CLASSES = {
    1: "334-4 199c e-6 3ea-1 5-2 b-1 4-1 e94e 60b7-4 51aa 14c9-2",
    7: "93c 80 80 80 80 180 37b afd b2 51 8d7c 6707 b9 57 6c b3 53 10a 7d fd f7 d293",
    8: "3099-1",
    9: (
        "94d 80 80 80 80 80 80 80 80 7d 70 14a b5-1 6da 20 9e 28e e4 66-1 47-1 118c 7a87 be "
        "8f 6d 136 f7 5e52 607 39 3a 7a-1 8c 75 b5 63 f5 80 fd 80 77 75 514"
    ),
    10: "5b0",
    11: "5b1",
    12: "5b2",
    13: "5b3",
    14: "5b4",
    15: "5b5",
    16: "5b6",
    17: "5b7",
    18: "5b8 f",
    19: "5b9-1",
    20: "5bb",
    21: "5bc",
    22: "5bd",
    23: "5bf",
    24: "5c1",
    25: "5c2",
    26: "fb1e",
    27: "64b 2a5",
    28: "64c 2a5",
    29: "64d 2a5",
    30: "618 36",
    31: "619 36",
    32: "61a 36",
    33: "651",
    34: "652",
    35: "670",
    36: "711",
    84: "c55",
    91: "c56",
    103: "e38-1",
    107: "e48-3",
    118: "eb8-1",
    122: "ec8-3",
    129: "f71",
    130: "f72 8-3 3",
    132: "f74",
    202: "321-1 5-1 1aa8",
    214: "1dce",
    216: "31b c1e 1c22c-1 8-4",
    218: "302a",
    220: (
        "316-3 3-4 3-3 3-a 6-3 b-2 4-1 5-3 3-1 237 5 5 7-5 3 1b 90-1 6 3 84 7 3 44 3 3-2 2-1 "
        "2 4 2 2 2 aa 67-2 88 3 3 4-2 7 3-1 58 5c6-1 1c 2 8f c7 8ae dd 67 36-5 3 af 169-4 3-3 "
        "e d5 8 5 2e 2 2e9 4-3 883c-2 187 5373-6 3d0 e3 72d 2d ac c695-7 8-1 1745-6"
    ),
    222: "59a 13 138c 16f4",
    224: "302e-1",
    226: "1d16d",
    228: "5ae 12fb 1782",
    230: (
        "300-14 29-2 3 4 4-2 4-2 5 4 8-c 114-4 10b-3 2-2 3-5 7-1 2-1 3 15 4c-7 3c-1 3-4 2-1 "
        "78-6 3-3 2 3-1 3-1 44 2-1 2-1 4 3 2-2 2 2 2 2-1 a1-6 2 23-3 2-8 2-2 2-4 a7-d 3-1 2-1 "
        "2-2 7-2 2-1 3-4 52 2-1 62e-1 3-1 3d6-2 47e 15d dd 5e-7 34-4 7-1 af 2-6 15d-2 8-1 5 "
        "14 4-1 c7-1 2-6 2-1 5-24 6 3 2d2-1 3-3 4-1 5 6 2 7 bff-2 ef-1f 7870 5-9 21-1 51-1 "
        "1ef-11 1bf 2-1 4-1 6-1 2 535f-6 8-1 547-4 695 29 ad 61b-2 264-6 4-4 57bc-6 664f-4 "
        "21-3 95-2 dbc-6 2-10 3-6 2-1 2-4 91a-5"
    ),
    232: "315 5 3e 2cd4",
    233: "35c 3 3 1a9a",
    234: "35d-1 2-1 1a6c",
    240: "345",
}

# what never begins a grapheme cluster but at the start of a text or after a control
_EXTENDING = (
    "300-6f 114-6 108-2c 2 2-1 2-1 2 49-a 31-14 11 66-6 3-5 3-1 2-3 24 1f-1a 5c-a 3b-8 a 19-3 "
    "2-8 2-2 2-4 2c-2 3c-8 2b-17 2-20 37-2 2-11 2-6 b-1 1e-2 39 2-6 3-1 3-2 a b-1 1b 3-2 39 2-4 "
    "5-1 3-2 4 1f-1 4 c-2 39 2-7 2-2 2-2 15-1 17-5 2-2 39 2-6 3-1 3-2 8-2 b-1 1f 3c-4 4-2 2-3 a "
    "29-4 38 2-6 2-2 2-3 8-1 c-1 1e-2 39 2-6 2-2 2-3 8-1 c-1 10 d-3 38-1 2-6 2-2 2-3 a b-1 1e-2 "
    "47 5-5 2 2-7 13-1 3e 2-7 d-7 63 2-9 c-6 4a-1 1c 2 2 5-1 32-13 2-1 6-a 2-23 a 67-a 2-5 18-3 "
    "5-2 11-3 e 2-2 7 10 2c0-2 3b3-3 1d-2 1e-1 1f-1 41-1f a 2e-2 2 76-1 23 77-b 5-b dc-4 3a-9 2 "
    "2 3-17 3 31-2d 3-b 15-4 30-10 27-8 d-2 1f-c 39-d 31-13 99-2 2-14 5 7 3-2 c7-3f 20d-1 c3-20 "
    "bff-2 8e 61-1f 22b-5 6a-1 75d5-3 2-9 21-1 51-1 111 4 5 18-4 5 54-1 33-11 1b-11 e 27-7 1a-c "
    "2d-3 30-d 25 44-d d 9-1 2f 34 2-2 3-1 6-1 2 2a-4 6-1 ed-7 2-1 4f31 2e2-f 11-f 16f-1 25e e3 "
    "96-4 687-2 2-1 6-3 29-2 5 a6-1 23e-3 42-4 13e-1 4e-5 47-a 32-3 7b-2 36-e 2a 3-1 b-3 2e-a 8 "
    "3e-2 25-d 11-1 2d d-2 31-d 9-3 2-1 5d-b 7 3 9e-b 16-3 38-1 2-6 3-1 3-2 a b-1 3-6 4-4 44-8 "
    "2 3 2-3 2-4 2 f-1 53-11 18 52-13 ec-6 3-8 1c-1 53-10 6b-c 66-2 3-9 101-e f6-5 2-1 3-3 2 "
    "2-1 8e-6 3-6 4 1d-9 29-6 2-3 9 a-a 2f-f c7-7 c8-7 2-7 53-15 2-d 7b-5 4 2-1 2-6 2 43-4 2-1 "
    "2-4 15c-3 a-1 2 31-6 4-4 18 14e6 7-e 2cc9-11 9c1-4 3c-6 419 2-36 8-3 52 c-1 4cac-1 1262-2d "
    "3-16 21f-4 4-5 9-7 3-6 1f-3 95-2 7bc-36 5-31 9 f 17-4 2-e 551-6 2-10 3-6 2-1 2-4 65 a1-6 "
    "178 3e-3 1fd-3 ff-1 f4 3 8-1 6 1db-6 6e-6 ab1-4 c0c21-5f 81-ef"
)

# what is in one grapheme cluster with the next
_PREPENDING = "600-5 d8 32 181-1 51 46c 1036f 10 f5-1 20e 56e 2 143-5 2bd 1bc"

# what is a grapheme cluster alone; U+0000 apart
_BREAKING = (
    "1-1e 60-20 e 56f 11f2 7fd 3-1 19-6 32-f de90 f1-b 3435-f 8861-3 14d0-7 c2e86-1f 61-7f f1-e0f"
)

# lower case: gap, then -more characters or =more in steps of two, then the distance
_LOWER = (
    "41-19+20 66-16+20 2-6+20 22=2e+1 4=4+1 3=e+1 3=2c+1 2-79 1=4+1 4+d2 1=2+1 2+ce 1+1 2-1+cd "
    "1+1 3+4f 1+ca 1+cb 1+1 2+cd 1+cf 2+d3 1+d1 1+1 4+d3 1+d5 2+d6 1=4+1 2+da 1+1 2+da 3+1 2+da "
    "1+1 2-1+d9 1=2+1 2+db 1+1 4+1 8+2 1+1 2+2 1+1 2+2 1=10+1 3=10+1 3+2 1=2+1 2-61 1-38 1=26+1 "
    "2-82 2=10+1 8+2a2b 1+1 2-a3 1+2a28 3+1 2-c3 1+45 1+47 1=8+1 122=2+1 4+1 9+74 7+26 2-2+25 "
    "2+40 2-1+3f 2-10+20 2-8+20 24+8 9=16+1 6-3c 3+1 2-7 1+1 3-2-82 1-f+50 1-1f+20 31=20+1 "
    "a=34+1 2+f 1=c+1 3=5e+1 3-25+30 b4a-25+1c60 2+1c60 6+1c60 2d3-4f+97d0 1-5+8 894+1 7-2a-bc0 "
    "3-2-bc0 141=94+1 a-1dbf 2=5e+1 a-7-8 9-5-8 b-7-8 9-7-8 9-5-8 c=6-8 9-7-8 19-7-8 9-7-8 "
    "9-7-8 9-1-8 1-1-4a 1-9 c-3-56 1-9 c-1-8 1-1-64 d-1-8 1-1-70 1-7 c-1-80 1-1-7e 1-9 12a-1d5d "
    "4-20bf 1-2046 7+1c 2e-f+10 14+1 333-19+1a 731-2f+30 31+1 2-29f7 1-ee6 1-29e7 3=4+1 2-2a1c "
    "1-29fd 1-2a1f 1-2a1e 2+1 3+1 9-1-2a3f 1=62+1 9=2+1 5+1 794e=2c+1 14=1a+1 88=c+1 4=3c+1 "
    "b=2+1 2-8a04 1=8+1 5+1 2-a528 3=2+1 4=12+1 2-a544 1-a54f 1-a54b 1-a541 1-a544 2-a512 "
    "1-a52a 1-a515 1+3a0 1=e+1 2-30 1-a543 1-8a38 1=2+1 2-a567 1=e+1 2-a641 19+1 572c-19+20 "
    "4c6-27+28 89-23+28 9d-a+27 2-e+27 2-6+27 2-1+27 6eb-32+40 9e-15+20 b3b-1f+20 5581-1f+20 "
    "41-18+1b 7a48-21+22"
)

_SPACES = "9-4 13 65 1b 15e0 980-a 1e-1 6 30 fa1"

# characters of words (\w) that are no letter, mark or number, and those of these that are not
_WORDS = (
    "5f 53-1 6 3-2 282-1 2-1 144-1 374 9a-8 2b-17 22 38 3-2 9-3 2-1 33-1 3b-2 7-1 3-1 b 1d-5 5 5 "
    "3b-2 43 3b-2 9 2-1 2e-5 3-1 3b 2 7-1 3-1 9 2 1b-5 47-1 2-1 4-2 2-2 b 19-2 f-3 38 5-3 4 30-6 "
    "4-1 3b 2-4 3-1 2-1 a-1 1d d 2-1 38-1 2-2 6-2 2-2 b-7 12-8 9-2 4c-2 7-7 13-1 c7 14 5c-9 b-1 "
    "34 2-1 2 7 2 12 a 5 5 5 d 72-1 5 7 3-1 1a-1 b-2 3-6 16-1 3-5 3 b-2 2cd-13 399 a1 8-7 2-1 "
    "28-9 16 76-1 9d-3 3-2 5-1 2-5 a2 3f-1 3b 2 a 2-1 9-5 4c-10 36 31 6 2-4 2-1 3e 1f 5-1 3 3d "
    "3-2 2 4-1 31-7 9-1 ac 16 ff-5 211-1 32-1 14 1c 4-5 7-9 54-3 2-2 6c-f 2a 2d7-3b 1b-49 277-1d "
    "56a 331-1 163-3 8b-9 1f-7 2-e 21-9 28-e 73b1-2 1b1-1 3 5 4-5 4b-1 33-f 2 3a 53-1 30 31-1 5-1 "
    "2-3 6f-1 3-1 19 2e 2 6e 3-1 6 ee-1 2-1 2-1 2 5247-1 19-2 f0 1c8-2c 42-3 12-1 156-1a 25-3 "
    "535-7 1a-6 28-8 4c-4 17-5 a1-1 3-f 3-2d 41-8 35-1 1f-2 4c-4 69-7 19-7 2a-6 14b-5 25-3 42-4 "
    "f3-1e 2d-1 50-3 1e-9 20-e 2e-3 40-6 35 2 50-13 b 3-1 e 2e-2 5-1 a 6a 2-1 16-1 3c 31-2 a-1 9 "
    "5-1 12-13 38-2 4-1 2 9 3 9f-2 20-1 38 3-1 2-3 3-1 3-2 a b-1 55-8 2 3 2-3 2-4 2 f-1 53-11 18 "
    "52-2 7 2-3 3 ee-2 7-3 3 72-2 9-1 2 6e 2-1 7 6a-1 5 14-1 f1-e b0-8 3e-5 2-1 3-3 2 2-1 8e-6 "
    "3-6 4 1d-9 29-6 2-3 9 a-a 2f-f 196-7 2-7 1b-12 26-15 2-d 7b-5 4 2-1 2-6 2 43-4 2-1 2-4 15c-3 "
    "a-1 2 31-6 4-4 18 66-14 146c 7-e 2cc9-11 a2c-6 31f-16 b9 2-36 5d c-1 5f0f-2d 3-16 21f-1 7-5 "
    "14e-13 d-13 6d-18 c88-6 2-10 3-6 2-1 2-4 65 a1-6 178 3e-3 1fd-3 ff-1 2d8-8 75-6 327-3a 2-2 "
    "2-3 4d-2c 2-e 3c3-c 24-19 7-19 7-19"
)

Ranges = list[tuple[int, int]]
"""First and last character of each, rising."""


def _ranges(text: str) -> Ranges:
    found = []
    last = 0
    for word in text.split():
        gap, _, more = word.partition("-")
        first = last + int(gap, 16)
        last = first + int(more or "0", 16)
        found.append((first, last))
    return found


@lru_cache(1)
def controls() -> Ranges:
    """What BERT's clean_text drops, but for U+0000 and U+FFFD."""
    return _ranges(_CONTROLS)


@lru_cache(1)
def marks() -> Ranges:
    return _ranges(_MARKS)


@lru_cache(1)
def punctuation() -> Ranges:
    return _ranges(_PUNCTUATION)


@lru_cache(1)
def letters() -> Ranges:
    return _ranges(_LETTERS)


@lru_cache(1)
def numbers() -> Ranges:
    return _ranges(_NUMBERS)


@lru_cache(1)
def spaces() -> Ranges:
    return _ranges(_SPACES)


@lru_cache(1)
def words() -> Ranges:
    r"""What `\w` is: an added token with single_word is found where none is beside it."""
    codes = set(_members(letters() + marks() + numbers())) ^ set(_members(_ranges(_WORDS)))
    starts = sorted(c for c in codes if c - 1 not in codes)
    return list(zip(starts, sorted(c for c in codes if c + 1 not in codes), strict=True))


def _members(ranges: Ranges) -> Iterator[int]:
    return (code for first, last in ranges for code in range(first, last + 1))


@lru_cache(1)
def extending() -> Ranges:
    return _ranges(_EXTENDING)


@lru_cache(1)
def prepending() -> Ranges:
    return _ranges(_PREPENDING)


@lru_cache(1)
def breaking() -> Ranges:
    return [(0, 0), *_ranges(_BREAKING)]


@lru_cache(1)
def lower() -> dict[int, list[int]]:
    """code point -> its lower case, of those that have another one."""
    found = {0x130: [0x69, 0x307]}
    last = 0
    for word in _LOWER.split():
        match = re.fullmatch(r"([0-9a-f]+)(?:([-=])([0-9a-f]+))?([-+][0-9a-f]+)", word)
        assert match is not None
        first = last + int(match[1], 16)
        last = first + int(match[3] or "0", 16)
        for code in range(first, last + 1, 2 if match[2] == "=" else 1):
            found[code] = [code + int(match[4], 16)]
    return found


@lru_cache(1)
def decompositions() -> dict[int, list[int]]:
    """code point -> its full canonical decomposition, of those that have one; Hangul apart.

    Unicode never changes one, and adds new ones above U+FFFF alone, which the library lacks.
    """
    return {code: list(_decomposed(code)) for code in _decomposing()}


@lru_cache(1)
def classes() -> dict[int, int]:
    """code point -> its combining class, of those that have one."""
    return {
        code: number
        for number, text in _CLASSES.items()
        for first, last in _ranges(text)
        for code in range(first, last + 1)
    }


@lru_cache(1)
def compositions() -> dict[tuple[int, int], int]:
    """What two characters become in normal form C; Hangul apart."""
    found = {}
    for code in decompositions():
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and code not in uncomposed():
            found[int(parts[0], 16), int(parts[1], 16)] = code
    return found


@lru_cache(1)
def uncomposed() -> dict[int, list[int]]:
    """code point -> what it becomes in normal form C, of those that become something else."""
    forms = {code: unicodedata.normalize("NFC", chr(code)) for code in decompositions()}
    return {code: list(map(ord, form)) for code, form in forms.items() if form != chr(code)}


def _decomposing() -> Iterator[int]:
    for code in range(0xC0, 0x10000):
        if not 0xAC00 <= code <= 0xDFFF and unicodedata.decomposition(chr(code))[:1] not in "<":
            yield code
    for first, last in _ranges(_DECOMPOSED):
        yield from range(first, last + 1)


def _decomposed(code: int) -> Iterator[int]:
    return map(ord, unicodedata.normalize("NFD", chr(code)))
