"""What was decided by hand is on disk before it is done, and a journal that is broken is not passed over."""

from pathlib import Path

import pytest

from graph.journal import Journal, JournalError


def test_records_are_there_for_whoever_reads_next_and_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).append({"event": "first"})
    Journal(path).append({"event": "second"})
    assert [record["event"] for record in Journal(path).records()] == ["first", "second"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_line_that_a_crash_left_unfinished_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).append({"event": "first"})
    with path.open("a") as file:
        file.write('{"event": "sec')
    Journal(path).append({"event": "third"})
    assert [record["event"] for record in Journal(path).records()] == ["first", "third"]


@pytest.mark.parametrize("line", ["no JSON", "[]", "1"])
def test_a_broken_line_is_an_error_that_names_it(tmp_path: Path, line: str) -> None:
    path = tmp_path / "journal.jsonl"
    Journal(path).append({"event": "first"})
    with path.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(JournalError, match=r"journal\.jsonl:2: expected a record.*restore the file"):
        Journal(path)


def test_it_is_rewritten_in_one_step_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append({"who": "ada"})
    journal.append({"who": "bob"})

    def full(*_arguments: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched, pytest.raises(JournalError, match="free the disk"):
        patched.setattr("graph.journal.os.fsync", full)
        journal.rewrite(lambda record: {"who": "nobody"})
    assert list(journal.records()) == [{"who": "ada"}, {"who": "bob"}]
    journal.rewrite(lambda record: {"who": "erased"} if record["who"] == "ada" else record)
    journal.append({"who": "cleo"})
    assert list(Journal(journal.path).records()) == [{"who": "erased"}, {"who": "bob"}, {"who": "cleo"}]
