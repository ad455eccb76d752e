"""A record is on disk before anything is done that needs it, and a change of the log shows."""

import asyncio
import json
import os
from pathlib import Path

import pytest

from context_manager.audit import AuditError, AuditLog, verify


def write(path: Path, *kinds: str) -> None:
    log = AuditLog(path)
    for kind in kinds:
        log.append(kind, {"question": f"who has {kind}?"})
    log.close()


def test_records_are_there_for_whoever_reads_next(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, "intent", "closing")
    write(path, "intent")
    assert [json.loads(line)["kind"] for line in path.read_text().splitlines()] == [
        "intent",
        "closing",
        "intent",
    ]
    assert verify(path) == 3


def test_an_edited_record_shows(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, "intent", "closing", "intent")
    path.write_text(path.read_text().replace("who has closing?", "who has nothing?"))
    with pytest.raises(AuditError, match=r"audit\.jsonl:3: the record before it was changed"):
        verify(path)


def test_a_record_that_was_taken_out_shows(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, "intent", "closing", "intent")
    first, _, third = path.read_text().splitlines()
    path.write_text(f"{first}\n{third}\n")
    with pytest.raises(AuditError, match=r"audit\.jsonl:2"):
        verify(path)


def test_a_log_that_was_changed_is_not_written_on(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, "intent", "closing")
    path.write_text(path.read_text().replace("intent", "latent"))
    with pytest.raises(AuditError, match="restore the file"):
        AuditLog(path)


def test_a_line_that_a_crash_left_unfinished_is_cut_off_and_the_log_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, "intent")
    with path.open("a") as file:
        file.write('{"kind": "clos')
    write(path, "closing")
    assert verify(path) == 2


def test_a_full_disk_is_an_error_and_no_record(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full, which Linux has")
    path = tmp_path / "audit.jsonl"
    path.symlink_to(full)
    log = AuditLog(path)
    with pytest.raises(AuditError, match=r"audit\.jsonl: the audit log cannot be written: .*space"):
        log.append("intent", {})


async def test_records_that_wait_at_once_are_all_on_disk_in_one_chain_with_few_syncs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, synced, sync = AuditLog(tmp_path / "audit.jsonl"), [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (sync(fd), synced.append(log.path.read_text().count("\n"))))

    async def one(i: int) -> None:
        await log.record("intent", {"number": i})
        assert synced[-1] > i, "it was on disk when it returned"

    await asyncio.gather(*(one(i) for i in range(200)))
    log.close()
    assert verify(log.path) == 200
    assert [json.loads(line)["number"] for line in log.path.read_text().splitlines()] == list(range(200))
    assert len(synced) < 100


async def test_what_cannot_be_written_fails_for_all_that_waited_and_leaves_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    await log.record("intent", {})
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, content: write(fd, content[: len(content) // 2]))
    failed = await asyncio.gather(*(log.record("intent", {"n": n}) for n in range(9)), return_exceptions=True)
    assert all(isinstance(error, AuditError) for error in failed)
    monkeypatch.setattr(os, "write", write)
    await log.record("closing", {})
    log.close()
    assert verify(log.path) == 2


async def test_what_nobody_waits_for_is_on_disk_before_what_is_asked_for_later_and_a_failure_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = AuditLog(tmp_path / "audit.jsonl")
    log.follow("closing", {"of": 1})
    await log.record("intent", {"of": 2})
    assert [json.loads(line)["of"] for line in log.path.read_text().splitlines()] == [1, 2]
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, content: write(fd, content[:3]))
    log.follow("closing", {"of": 2})
    with pytest.raises(AuditError):
        await log.record("intent", {"of": 3})
    monkeypatch.setattr(os, "write", write)
    assert "the audit log cannot be written" in caplog.text
    log.follow("closing", {"of": 3})
    log.close()
    assert verify(log.path) == 3
    log.follow("closing", {"of": 4})
    assert "it is closed" in caplog.text


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    write(path, "intent")
    assert path.stat().st_mode & 0o777 == 0o600
