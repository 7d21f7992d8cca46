"""The bootstrap's pure parts: when it has nothing to do, and what it tells a person."""

import errno
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bootstrap():
    """Load run.py afresh: it is a script, not a module of the application."""
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path, bootstrap, monkeypatch):
    for name in ("pyproject.toml", "requirements.lock", "requirements-dev.lock"):
        (tmp_path / name).write_text(f"{name}==1\n")
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def venv(checkout):
    venv = checkout / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").touch()
    return venv


def test_help_needs_neither_network_nor_environment():
    for words in ([], ["--help"]):
        command = [sys.executable, "-I", "-S", ROOT / "run.py", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
        assert all(verb in done.stdout for verb in ("demo", "up", "test", "check", "bench"))


def test_a_complete_environment_is_left_alone(bootstrap, venv, monkeypatch):
    (venv / ".stamp").write_text(bootstrap.stamp("run"))
    monkeypatch.setattr(bootstrap, "build", lambda *_: pytest.fail("it built again"))
    bootstrap.ensure(venv, "run")


def test_what_another_start_installed_meanwhile_is_not_installed_again(
    bootstrap, venv, monkeypatch
):
    answers = iter([False, True])
    monkeypatch.setattr(bootstrap, "is_complete", lambda *_: next(answers))
    monkeypatch.setattr(bootstrap, "build", lambda *_: pytest.fail("it built again"))
    bootstrap.ensure(venv, "run")


def test_the_developers_environment_serves_everybody(bootstrap, venv):
    (venv / ".stamp").write_text(bootstrap.stamp("dev"))
    assert bootstrap.is_complete(venv, "run")
    assert bootstrap.is_complete(venv, "dev")
    (venv / ".stamp").write_text(bootstrap.stamp("run"))
    assert not bootstrap.is_complete(venv, "dev")


@pytest.mark.parametrize("name", ["pyproject.toml", "requirements.lock"])
def test_a_changed_lock_or_project_is_installed(bootstrap, checkout, venv, name):
    (venv / ".stamp").write_text(bootstrap.stamp("run"))
    (checkout / name).write_text("changed==2\n")
    assert not bootstrap.is_complete(venv, "run")
    assert not bootstrap.must_start_anew(venv)


def test_a_new_python_needs_a_new_environment(bootstrap, venv, monkeypatch):
    (venv / ".stamp").write_text(bootstrap.stamp("run"))
    monkeypatch.setattr(bootstrap.platform, "python_version", lambda: "3.11.99")
    assert not bootstrap.is_complete(venv, "run")
    assert bootstrap.must_start_anew(venv)


def test_an_environment_without_its_python_is_not_complete(bootstrap, venv):
    (venv / ".stamp").write_text(bootstrap.stamp("run"))
    (venv / "bin" / "python").unlink()
    assert not bootstrap.is_complete(venv, "run")


def test_a_half_made_environment_is_made_anew(bootstrap, venv, monkeypatch):
    monkeypatch.setattr(bootstrap, "find_pip", lambda _: ["pip"])

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(bootstrap, "install", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bootstrap.build(venv, "run")
    assert bootstrap.must_start_anew(venv)
    assert not bootstrap.is_complete(venv, "run")
    (venv / ".lock").touch()
    bootstrap.clear(venv)
    assert [path.name for path in venv.iterdir()] == [".lock"]


def test_the_stamp_is_written_when_all_is_installed(bootstrap, venv, monkeypatch):
    installed = []
    monkeypatch.setattr(bootstrap, "find_pip", lambda _: ["pip"])
    monkeypatch.setattr(bootstrap, "install", lambda command, _: installed.append(command))
    bootstrap.build(venv, "dev")
    assert bootstrap.is_complete(venv, "dev")
    assert not bootstrap.must_start_anew(venv)
    assert "--require-hashes" in installed[0]
    assert installed[0][-1].endswith("requirements-dev.lock")
    assert installed[1][-2] == "-e"


def test_an_old_python_is_named(bootstrap):
    with pytest.raises(bootstrap.Trouble, match=r"this is Python 3\.10"):
        bootstrap.demand_python((3, 10))
    bootstrap.demand_python((3, 11))


def test_a_python_without_pip_is_told_where_to_get_it(bootstrap, monkeypatch):
    missing = subprocess.CompletedProcess([], 1, "No module named pip\n")
    monkeypatch.setattr(bootstrap, "run", lambda _: missing)
    with pytest.raises(bootstrap.Trouble, match="apt-get install python3-pip"):
        bootstrap.demand_own_pip()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "WARNING: Retrying (Retry(total=0)) after a break\nERROR: Could not find a version\n",
            "index cannot be reached (ERROR: Could not find a version",
        ),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES from the file\n", "not the one that"),
        ("ERROR: Could not install: [Errno 28] No space left on device\n", "disk is full"),
        ("ERROR: No matching distribution found for x==1\n", "pip failed: ERROR: No matching"),
    ],
)
def test_what_pip_said_is_put_into_one_paragraph(bootstrap, said, told):
    words = bootstrap.diagnosis(said)
    assert told in words
    assert "\n" not in words


def test_a_directory_that_may_not_be_written_names_the_way_out(bootstrap):
    for number in (errno.EROFS, errno.EACCES):
        words = bootstrap.explain(OSError(number, "no", "/checkout/.venv"))
        assert "/checkout/.venv" in words
        assert "ASSAY_VENV" in words


def test_trouble_is_one_line_and_exit_code_1(bootstrap, monkeypatch, capsys):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bootstrap, "ensure", fail)
    assert bootstrap.main(["up"]) == 1
    assert capsys.readouterr().err.startswith("run.py: the disk is full")


def test_check_prints_a_line_each_and_the_output_of_what_failed(
    bootstrap, checkout, tmp_path, monkeypatch, capsys
):
    for name, script in (("good", "echo fine"), ("bad", "echo broken; exit 2")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(bootstrap, "CHECKS", (("good", "."), ("bad",)))
    assert bootstrap.check(tmp_path) == 1
    out = capsys.readouterr().out
    assert "fine" not in out
    assert "broken" in out
    assert [line.split()[0] for line in out.splitlines() if " s  " in line] == ["ok", "FAILED"]
    monkeypatch.setattr(bootstrap, "CHECKS", (("good",),))
    assert bootstrap.check(tmp_path) == 0


def test_verbs_become_the_program_that_they_name(bootstrap, monkeypatch):
    calls = []
    monkeypatch.setattr(bootstrap.os, "execv", lambda path, argv: calls.append(argv[1:]))
    monkeypatch.setattr(bootstrap.os, "chdir", lambda _: None)
    bootstrap.hand_over("python", ["up", "--port", "1"], "")
    bootstrap.hand_over("python", ["test", "-x"], "pytest")
    assert calls == [["-P", "-m", "api.cli", "up", "--port", "1"], ["-m", "pytest", "-x"]]
