"""A prefix of an S3 bucket: a thousand keys a request, in order, with their owners and, where the bucket
has them on, the access control lists of its objects. Policies of IAM and of the bucket are not read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError
from s3fs import S3FileSystem

from discovery.connector import Problem, SourceError
from discovery.pages import turn
from discovery.stores.entries import EVERYONE, Access, Entry, everyone_or

_GROUPS = {
    "http://acs.amazonaws.com/groups/global/AllUsers": EVERYONE,
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers": "group:authenticated users",
}
_READS, _WRITES = {"READ", "FULL_CONTROL"}, {"WRITE", "FULL_CONTROL"}
#: The owner of the bucket owns all objects, and lists of access count for nothing.
_NO_LISTS = "BucketOwnerEnforced"
_NONE_SET = "OwnershipControlsNotFoundError"
#: Keys in one answer: the most that S3 gives.
PAGE = 1_000
_ERRORS = (OSError, BotoCoreError, ClientError)


@dataclass(frozen=True)
class S3Store:
    system: S3FileSystem
    bucket: str
    prefix: str
    """Ends with `/`, or is empty."""

    def open(self, path: str) -> BinaryIO:
        try:
            opened: BinaryIO = self.system.open(f"{self.bucket}/{self.prefix}{path}", "rb")
        except (BotoCoreError, ClientError) as error:
            raise OSError(str(error)) from error
        return opened

    def entries(self) -> Iterator[Entry | Problem]:
        lists = self._has_lists()
        bucket = self._access(self._ask("get_bucket_acl")) if lists else None
        writers = bucket.writers if bucket else ()
        yield Entry("", True, 0, "", Access(bucket.owner if bucket else None, (), writers))
        within: list[str] = []
        for found in self._objects():
            path = found["Key"][len(self.prefix) :]
            folders = path.split("/")[:-1]
            shared = next(
                (at for at, pair in enumerate(zip(within, folders, strict=False)) if pair[0] != pair[1]),
                min(len(within), len(folders)),
            )
            for depth in range(shared, len(folders)):
                yield Entry("/".join(folders[: depth + 1]), True, 0, "", Access(None, (), writers))
            within = folders
            if path and not path.endswith("/"):  # else it stands for a folder
                yield from self._object(path, found, lists, writers)

    def _object(
        self, path: str, found: Mapping[str, Any], lists: bool, writers: tuple[str, ...]
    ) -> Iterator[Entry | Problem]:
        owner = _user(found.get("Owner", {}))
        access = Access(owner, (owner,) if owner else (), writers or ((owner,) if owner else ()))
        if lists:
            try:
                turn(f"access of {path}")
                listed = self._access(
                    self.system.call_s3("get_object_acl", Bucket=self.bucket, Key=found["Key"])
                )
            except _ERRORS as error:
                yield Problem(
                    path, f"its access control list cannot be read: {error}; ask for s3:GetObjectAcl"
                )
                return
            access = Access(listed.owner, listed.readers, writers)
        yield Entry(path, False, int(found["Size"]), f"{found['ETag']} {found['LastModified']}", access)

    def _objects(self) -> Iterator[Mapping[str, Any]]:
        more: dict[str, str] = {}
        while True:
            page = self._ask("list_objects_v2", Prefix=self.prefix, FetchOwner=True, MaxKeys=PAGE, **more)
            yield from page.get("Contents", ())
            if not page.get("IsTruncated"):
                return
            token = page.get("NextContinuationToken")
            if not token or token == more.get("ContinuationToken"):
                raise SourceError(f"s3://{self.bucket}: the store repeats a page of keys; try again later")
            more = {"ContinuationToken": token}

    def _has_lists(self) -> bool:
        """Whether objects have access control lists that count."""
        try:
            turn("ownership of objects")
            said = self.system.call_s3("get_bucket_ownership_controls", Bucket=self.bucket)
        except _ERRORS as error:
            if _NONE_SET in f"{error!r} {error.__cause__!r}":
                return True
            raise self._failed("get_bucket_ownership_controls", error) from error
        rules = said["OwnershipControls"]["Rules"]
        return not any(rule["ObjectOwnership"] == _NO_LISTS for rule in rules)

    def _access(self, acl: Mapping[str, Any]) -> Access:
        names: dict[str, list[str]] = {"READ": [], "WRITE": []}
        for grant in acl["Grants"]:
            grantee = grant["Grantee"]
            name = _user(grantee) if "ID" in grantee else _GROUPS.get(grantee.get("URI", ""))
            if name is None:
                continue  # a group of AWS's own, such as its log delivery
            if grant["Permission"] in _READS:
                names["READ"].append(name)
            if grant["Permission"] in _WRITES:
                names["WRITE"].append(name)
        return Access(_user(acl.get("Owner", {})), everyone_or(names["READ"]), everyone_or(names["WRITE"]))

    def _ask(self, method: str, **arguments: Any) -> Mapping[str, Any]:
        try:
            turn(f"{method} {arguments.get('ContinuationToken', '')}".strip())
            answer: Mapping[str, Any] = self.system.call_s3(method, Bucket=self.bucket, **arguments)
        except _ERRORS as error:
            raise self._failed(method, error) from error
        return answer

    def _failed(self, method: str, error: Exception) -> SourceError:
        return SourceError(
            f"s3://{self.bucket}/{self.prefix}: {method} failed: {error}; check the bucket, the endpoint "
            "and the rights of the key"
        )


def _user(grantee: Mapping[str, Any]) -> str | None:
    return f"user:{grantee['ID']}" if grantee.get("ID") else None
