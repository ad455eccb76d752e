"""An S3 server on loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.request import Request, urlopen

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

KEY, SECRET = "reader", "s3-secret-that-stays-here"


@dataclass(frozen=True)
class S3:
    endpoint: str
    client: Any
    stop: Any

    def put(self, key: str, data: bytes | str = b"x") -> None:
        self.client.put_object(Bucket="data", Key=key, Body=data)


@contextmanager
def s3_server(**bucket: Any) -> Iterator[S3]:
    """One bucket `data`."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            config=Config(retries={"max_attempts": 1}),
        )
        # What it holds is the process's, not the server's.
        with urlopen(Request(f"{endpoint}/moto-api/reset", method="POST")):
            pass
        client.create_bucket(Bucket="data", **bucket)
        yield S3(endpoint, client, server.stop)
    finally:
        server.stop()
