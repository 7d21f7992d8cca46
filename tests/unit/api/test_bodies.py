"""Bodies: whatever the bytes are, a struct or a refusal comes of them."""

import json
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given, strategies as st

from api.bodies import Strict, decode
from api.sheets import BenchmarkSheet
from db.domain.errors import Invalid, WrongMediaType

FIELDS = list(BenchmarkSheet.__struct_fields__)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text() | st.sampled_from(FIELDS), inner, max_size=3)
    ),
    max_leaves=12,
)
SHEETS = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4).map(
    lambda value: json.dumps(value).encode()
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()) | SHEETS)
def test_any_bytes_give_a_sheet_or_are_refused_in_few_words(body):
    try:
        sheet = decode(body, BenchmarkSheet)
    except Invalid as error:
        refusal = str(error)
    else:
        refusal = None
    if refusal is not None:
        assert 0 < len(refusal) < 1000
        return
    assert isinstance(sheet, BenchmarkSheet)
    assert 1 <= sheet.runs <= 100
    assert 0 <= sheet.temperature <= 2
    assert b"\0" not in msgspec.json.encode(sheet)


@given(st.text(), st.binary(max_size=30))
def test_any_media_type_but_json_is_refused(media, body):
    dto = Strict[BenchmarkSheet](SimpleNamespace(headers={"content-type": media}))
    plain = media.partition(";")[0].strip().lower()
    try:
        dto.decode_bytes(body)
    except WrongMediaType:
        assert plain != "application/json"
        return
    except Invalid:
        pass
    assert plain == "application/json" or plain.endswith("+json")


@pytest.mark.parametrize(
    "media", ["application/json", "Application/JSON; charset=utf-8", "application/merge+json"]
)
def test_json_by_any_of_its_names_is_taken(media):
    dto = Strict[BenchmarkSheet](SimpleNamespace(headers={"content-type": media}))
    assert dto.decode_bytes(b'{"runs":5}').runs == 5


@pytest.mark.parametrize("text", [r'"a\u0000"', r'"\u0000"', r'"\\\u0000"', '"\0"'])
def test_a_nul_is_refused_however_it_is_written(text):
    with pytest.raises(Invalid, match="NUL"):
        decode(b'{"prompt":%b}' % text.encode(), BenchmarkSheet)


def test_a_backslash_before_u0000_is_plain_text():
    assert (
        decode(rb'{"prompt":"\\u0000 and \\\\u0000"}', BenchmarkSheet).prompt
        == r"\u0000 and \\u0000"
    )


def test_a_million_backslashes_are_read_at_once():
    body = b'{"prompt":"' + b"\\\\" * 500_000 + b'u0000"}'
    assert len(decode(body, BenchmarkSheet).prompt) == 500_005


def test_a_field_is_named_by_its_path():
    with pytest.raises(Invalid, match=r"^targets\[0\]\.model_id: "):
        decode(b'{"targets":[{"provider_key":"sim","model_id":1}]}', BenchmarkSheet)


def test_deep_json_is_refused_not_a_crash():
    deep = b'{"provider_params":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    with pytest.raises(Invalid, match="deeply"):
        decode(deep, BenchmarkSheet)
