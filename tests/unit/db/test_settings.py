"""Settings are read once, refused loudly, and shown without passwords."""

import pytest

from db.settings import Settings, SettingsInvalid, load, redacted, variable


def test_foreign_variables_are_ignored():
    assert load({"PATH": "/bin", "HOME": "x", "ASSAY_VENV": "y", "SOME_FILE": "z"}) == Settings()


@pytest.mark.parametrize("name", ["ASSAY_PROT", "ASSAY_", "ASSAY_DATABASE_URL_", "ASSAY_X_FILE"])
def test_an_unknown_assay_variable_is_named(name):
    with pytest.raises(SettingsInvalid, match=name):
        load({name: "1"})


def test_values_are_read_from_text():
    found = load(
        {
            "DATABASE_URL": "postgresql://h/d",
            "REDIS_URL": "redis://r/1",
            "ASSAY_PORT": "9",
            "ASSAY_LEASE_S": "0.5",
            "ASSAY_ACCEPT_OPEN": "true",
            "ASSAY_EGRESS_ALLOW": " 127.0.0.1:1 ,, 10.0.0.1:2 ",
            "ASSAY_AUTH": "open",
            "ASSAY_ANSWER_LIMIT_BYTES": "8388608",
        }
    )
    assert (found.database_url, found.redis_url) == ("postgresql://h/d", "redis://r/1")
    assert (found.port, found.lease_s, found.accept_open, found.auth) == (9, 0.5, True, "open")
    assert found.egress_allow == ("127.0.0.1:1", "10.0.0.1:2")
    assert found.answer_limit_bytes == 8388608


def test_a_setting_may_come_from_a_file(tmp_path):
    (tmp_path / "url").write_text("postgresql://u:secret@h/d\n")
    assert load({"DATABASE_URL_FILE": str(tmp_path / "url")}).database_url.endswith("secret@h/d")
    assert load({"ASSAY_SLOTS_FILE": str(_file(tmp_path, "3\n"))}).slots == 3


def _file(tmp_path, text):
    (tmp_path / "file").write_text(text)
    return tmp_path / "file"


def test_an_unreadable_file_is_named(tmp_path):
    with pytest.raises(SettingsInvalid, match=r"DATABASE_URL_FILE: cannot read .*: No such file"):
        load({"DATABASE_URL_FILE": str(tmp_path / "nope")})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ASSAY_PORT", "70000"),
        ("ASSAY_PORT", "-1"),
        ("ASSAY_PORT", ""),
        ("ASSAY_PORT", "x"),
        ("ASSAY_SLOTS", "0"),
        ("ASSAY_LEASE_S", "0"),
        ("ASSAY_LEASE_S", "nan"),
        ("ASSAY_LEASE_S", "inf"),
        ("ASSAY_RETRIES", "11"),
        ("ASSAY_AUTH", "none"),
        ("ASSAY_PROVIDER_RPS", "-1"),
        ("ASSAY_ANSWER_LIMIT_BYTES", "0"),
        ("ASSAY_ANSWER_LIMIT_BYTES", "2000000000"),
    ],
)
def test_a_value_out_of_bounds_names_its_variable(name, value):
    with pytest.raises(SettingsInvalid, match=f"^{name}: (Expected|Invalid)"):
        load({name: value})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@h:1/d?x=1",
        "postgresql://u:hunter2@/d?host=/tmp",
        "postgresql://h/d?user=u&password=hunter2",
        "postgresql://u:hunter2@h,i/d",
        "redis://:hunter2@h/0",
    ],
)
def test_passwords_are_not_shown(url):
    shown = redacted(Settings(database_url=url, redis_url=url))
    assert "hunter2" not in str(shown)
    assert "***" in shown["database_url"]


def test_all_else_is_shown():
    shown = redacted(Settings(egress_allow=("a:1", "b:2")))
    assert set(shown) == set(Settings.__struct_fields__)
    assert (shown["egress_allow"], shown["port"]) == ("a:1,b:2", "8501")


def test_every_field_can_be_set_through_its_variable():
    for field in Settings.__struct_fields__:
        with_default = str(getattr(Settings(), field)).lower()
        if field not in ("egress_allow", "cors_origins"):
            load({variable(field): with_default})
