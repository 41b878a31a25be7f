"""Texts as word pieces, the only module that knows the tokenizers library; it knows no vectors."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordPiece

from dispatcher.embed.errors import EmbedderUnusable

UNKNOWN = "[UNK]"

MOST_PIECES = 256
"""What the reference reads of a text (its max_seq_length)."""


def readable(text: str) -> str:
    """Give the text with lone surrogates replaced: they are no Unicode, and the tokenizer refuses them."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def pieces_of(tokenizer: Tokenizer, text: str, *, marks: bool) -> list[int]:
    """Give the numbers of a text's pieces, with the marks around them or without.

    As a batch of one, because the library's call for one text keeps all other threads waiting: 12 ms for 2,000 Cyrillic letters
    in words of 100, where each beginning of each rest of a word is looked up.
    """
    [found] = tokenizer.encode_batch_fast([readable(text)], add_special_tokens=marks)
    ids: list[int] = found.ids
    return ids


def splitter(pieces: Sequence[str]) -> Tokenizer:
    """Give the tokenizer of BERT, uncased, over a vocabulary: pieces only, no marks around them.

    Raises `EmbedderUnusable` for a vocabulary without an `[UNK]`.
    """
    if UNKNOWN not in pieces:
        raise EmbedderUnusable("the embedder's vocabulary has no [UNK]: build it anew")
    numbers = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(WordPiece(numbers, unk_token=UNKNOWN, max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def from_json(text: str) -> Tokenizer:
    """Give the tokenizer that a `tokenizer.json` describes, cut at `MOST_PIECES`, not padded. Raises `EmbedderUnusable`."""
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception
        raise EmbedderUnusable(f"the embedder's tokenizer can't be read ({error}): build it anew") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(MOST_PIECES)
    return tokenizer
