"""Numbers, tables, plans and help as people read them."""

import pytest

from api.cli import exits, show
from api.cli.bench import make_sheet
from api.cli.dry import count, read, warmups
from api.cli.exits import Ended
from api.cli.talk import brief
from api.cli.tree import VERBS, find
from db.domain.plan import make_plan
from db.domain.statistics import aggregate


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0.00"), (20.214, "20.21"), (200.44, "200.4"), (84028.4, "84028")],
)
def test_numbers_keep_three_digits_or_more(value, text):
    assert show.number(value) == text


def test_spread_of_one_sample_has_no_deviation():
    assert show.spread(aggregate([4.0])) == "4.00"
    assert show.spread(aggregate([4.0, 4.0])) == "4.00 ± 0.00"


def test_a_long_message_is_put_on_one_line():
    assert brief("one") == "one"
    assert brief("api did not start.\nTraceback\n  | x.Error: no\nERROR:  Exiting.") == (
        "api did not start. It said: x.Error: no"
    )
    assert brief("api ended.\nfirst\nlast") == "api ended. It said: last"


def test_only_what_was_given_is_sent():
    bare = make_sheet(("m",), warmup=True, runs=None, tier=(), max_tokens=None)
    assert bare == {"kind": "benchmark", "models": ["m"], "warmup": True}
    full = make_sheet(("m",), warmup=False, runs=2, tier=(0, 9), temperature=0.0)
    assert full["context_tiers"] == (0, 9)
    assert (full["temperature"], full["warmup"]) == (0.0, False)


def test_a_plan_names_what_it_skips():
    sheet = make_sheet(("sim/fast", "gpt-4o"), warmup=True, runs=2, tier=(0, 50_000))
    spec = read(sheet)
    plan = make_plan(spec)
    assert [cell["runs"] for cell in count(spec, plan)] == [2, 2, 0, 2]
    assert "32K" in count(spec, plan)[2]["skipped"]
    assert warmups(spec, plan) == 3


@pytest.mark.parametrize("sheet", [{"models": ("nope",)}, {"models": ("sim/fast",), "runs": 0}])
def test_a_plan_that_is_not_valid_ends_with_3(sheet):
    with pytest.raises(Ended) as caught:
        read(sheet)
    assert caught.value.code == exits.INVALID


@pytest.mark.parametrize("name", VERBS)
def test_the_table_of_verbs_says_what_the_verbs_say(name):
    found = find(name)
    assert found.name == name
    assert (found.help or "").split("\n")[0] == VERBS[name].help
