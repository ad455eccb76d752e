"""A folder of this machine's file system, with its owners, modes and POSIX access control lists."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from discovery.connector import Problem, SourceError
from discovery.pages import turn
from discovery.stores.entries import EVERYONE, Access, Entry, everyone_or

_READ, _WRITE, _SEARCH = 4, 2, 1
_FRESH_NS = 2_000_000_000
_ACL = "system.posix_acl_access"
#: Tags of entries of an access control list (linux/posix_acl.h), in its version 2.
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NO_ACL = {errno.ENODATA, errno.EOPNOTSUPP}

Permissions = Mapping[str, int]
"""Bits of each name that a file or folder lists; what is not listed has everyone's."""


@dataclass(frozen=True)
class LocalStore:
    root: Path

    def open(self, path: str) -> BinaryIO:
        # Not through a link or into a pipe that was put there since the listing.
        descriptor = os.open(self.root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "no regular file", path)
        return os.fdopen(descriptor, "rb")

    def entries(self) -> Iterator[Entry | Problem]:
        """Symbolic links are names, not files: they are neither listed nor followed."""
        try:
            status = self.root.stat()
        except OSError as error:
            raise SourceError(f"{self.root}: {error.strerror}; correct the folder in sources.toml") from error
        if not stat.S_ISDIR(status.st_mode):
            raise SourceError(f"{self.root}: expected a folder; correct it in sources.toml")
        waiting = [("", _Folder(None, _permissions(str(self.root), status)))]
        yield _entry("", status, _Folder(None, {EVERYONE: _SEARCH}), str(self.root))
        while waiting:
            path, folder = waiting.pop()
            try:
                turn(path or ".")
                listing = os.scandir(self.root / path)
            except OSError as error:
                yield _unreadable(path, error)
                continue
            with listing:
                yield from self._folder(path, folder, listing, waiting)

    def _folder(
        self,
        path: str,
        folder: _Folder,
        listing: Iterator[os.DirEntry[str]],
        waiting: list[tuple[str, _Folder]],
    ) -> Iterator[Entry | Problem]:
        below = f"{path}/" if path else ""
        while True:
            try:
                found = next(listing, None)
            except OSError as error:  # what was listed until then is no whole folder
                yield _unreadable(path, error)
                return
            if found is None:
                return
            inner = below + found.name
            if not _is_text(inner):
                shown = inner.encode(errors="surrogateescape").decode(errors="backslashreplace")
                yield Problem(shown, "expected a name in UTF-8; rename it")
                continue
            try:
                status = found.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # gone since
            except OSError as error:
                yield _unreadable(inner, error)
                continue
            if stat.S_ISDIR(status.st_mode):
                waiting.append((inner, _Folder(folder, _permissions(found.path, status))))
                yield _entry(inner, status, folder, found.path)
            elif stat.S_ISREG(status.st_mode):
                yield _entry(inner, status, folder, found.path)


@dataclass(frozen=True)
class _Folder:
    """Who may pass through a folder: they must through all that it lies in as well."""

    within: _Folder | None
    own: Permissions
    known: dict[tuple[tuple[str, int], ...], Access] = field(default_factory=dict)
    """Access of what lies in it, by permissions: most files of a folder have the same."""

    def way(self) -> Iterator[Permissions]:
        """Of this folder and those that it lies in."""
        folder: _Folder | None = self
        while folder is not None:
            yield folder.own
            folder = folder.within

    def access(self, owner: str, own: Permissions) -> Access:
        key = ((owner, 0), *own.items())
        if key not in self.known:
            way = list(self.way())
            names = set(own).union(*way)
            through = {name for name in names if all(_bits(folder, name) & _SEARCH for folder in way)}
            self.known[key] = Access(
                owner,
                everyone_or(name for name in through if _bits(own, name) & _READ),
                everyone_or(name for name in through if _bits(own, name) & _WRITE),
            )
        return self.known[key]


def _bits(own: Permissions, name: str) -> int:
    """What a name may do: as listed itself, a user else by their groups, all else as everyone."""
    if name in own:
        return own[name]
    groups = [own[group] for group in _groups_of(name) if group in own]
    bits = 0
    for group in groups:
        bits |= group
    return bits if groups else own.get(EVERYONE, 0)


@lru_cache(maxsize=4096)
def _groups_of(name: str) -> tuple[str, ...]:
    """Groups of this machine that a user is in."""
    kind, _, user = name.partition(":")
    if kind != "user":
        return ()
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        return ()
    return tuple(_group_name(id_) for id_ in os.getgrouplist(user, account.pw_gid))


@lru_cache(maxsize=4096)
def _user_name(id_: int) -> str:
    try:
        return f"user:{pwd.getpwuid(id_).pw_name}"
    except KeyError:
        return f"user:{id_}"


@lru_cache(maxsize=4096)
def _group_name(id_: int) -> str:
    try:
        return f"group:{grp.getgrgid(id_).gr_name}"
    except KeyError:
        return f"group:{id_}"


def _entry(path: str, status: os.stat_result, folder: _Folder, at: str) -> Entry:
    is_folder = stat.S_ISDIR(status.st_mode)
    now = time.time_ns()
    # What changed just now could change again and leave size and times as they are.
    fresh = "" if is_folder or now - status.st_mtime_ns >= _FRESH_NS else f" {now}"
    times = "" if is_folder else f"{status.st_mtime_ns} {status.st_ctime_ns}{fresh}"
    access = folder.access(_user_name(status.st_uid), _permissions(at, status))
    return Entry(path, is_folder, 0 if is_folder else status.st_size, times, access)


def _permissions(path: str, status: os.stat_result) -> Permissions:
    mode = status.st_mode
    plain = _plain(status.st_uid, status.st_gid, mode & 0o777)
    if not hasattr(os, "getxattr"):
        return plain
    try:
        acl = os.getxattr(path, _ACL, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_ACL or isinstance(error, FileNotFoundError):
            return plain
        return {_user_name(status.st_uid): (mode >> 6) & 7}  # unknown is no permission
    return _listed(acl, status.st_uid, status.st_gid)


@lru_cache(maxsize=4096)
def _plain(user: int, group: int, mode: int) -> Permissions:
    return {_group_name(group): (mode >> 3) & 7, _user_name(user): (mode >> 6) & 7, EVERYONE: mode & 7}


@lru_cache(maxsize=4096)
def _listed(acl: bytes, user: int, group: int) -> Permissions:
    entries = [struct.unpack_from("<HHI", acl, at) for at in range(4, len(acl) - 7, 8)]
    mask = next((bits for tag, bits, _ in entries if tag == _MASK), 7)
    found = {}
    for tag, bits, id_ in entries:
        if tag == _GROUP_OBJ:
            found[_group_name(group)] = bits & mask
        elif tag == _GROUP:
            found[_group_name(id_)] = bits & mask
        elif tag == _USER:
            found[_user_name(id_)] = bits & mask
        elif tag == _OTHER:
            found[EVERYONE] = bits
    found.update((_user_name(user), bits) for tag, bits, _ in entries if tag == _USER_OBJ)
    return found


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unreadable(path: str, error: OSError) -> Problem:
    return Problem(path or ".", f"cannot be read: {error.strerror or error}; check its permissions")
