"""Context of a given length that no provider has seen before, so that no prompt cache flatters it."""

import random
import warnings
from functools import cache
from typing import Any, Final

# Common words, nearly all a single token; order and length are what is random.
WORDS: Final = """
time year people way day man thing woman life child world school state family student
group country problem hand part place case week company system program question work
government number night point home water room mother area money story fact month lot right
study book eye job word business issue side kind head house service friend father power
hour game line end member law car city community name president team minute idea kid body
information back parent face others level office door health person art war history party
result change morning reason research girl guy moment air teacher force education river
paper stone glass light winter summer garden market engine signal window bridge mountain
forest island harbor letter number table chair floor wall roof road field train ship plane
clock mirror candle quiet bright heavy narrow simple early ancient modern distant careful
open empty green blue walks finds keeps builds opens turns carries follows watches
measures writes reads answers under over between behind beside through against without
within toward because although while
""".split()  # noqa: SIM905 - a list would be a word a line


def fill(tokens: int, source: random.Random) -> str:
    """Write text of `tokens` cl100k tokens; a recount may differ by one, at the cut."""
    encoding = tokenizer()
    return encoding.decode(encoding.encode(_sentences(tokens + 16, source))[:tokens])


def count_tokens(text: str) -> int:
    """Count cl100k tokens, for answers whose provider tells no usage."""
    return len(tokenizer().encode(text))


@cache
def tokenizer() -> Any:
    """Load cl100k_base once: 0.4 s and some 90 MB, so only where it is needed."""
    with warnings.catch_warnings():  # bpe_openai 0.1 opens its data in importlib's old way
        warnings.simplefilter("ignore", DeprecationWarning)
        import bpe_openai  # noqa: PLC0415 - see above

        return bpe_openai.get_encoding("cl100k_base")


def _sentences(words: int, source: random.Random) -> str:
    parts: list[str] = []
    while words > 0:
        length = min(words, source.randint(6, 14))
        sentence = " ".join(source.choices(WORDS, k=length))
        parts.append(sentence.capitalize() + ".")
        words -= length
    return " ".join(parts)
