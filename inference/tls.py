"""TLS to a node that is bound to one certificate, which every connection proves before a byte leaves."""

from __future__ import annotations

import hashlib
import ssl
from datetime import UTC, datetime
from functools import lru_cache

from cryptography.x509 import load_der_x509_certificate


class NotTheNode(ssl.SSLCertVerificationError):
    """Who answers has not the certificate that the node is bound to, or it does not hold now."""


class _Checked(ssl.SSLObject):
    def do_handshake(self) -> None:
        """The handshake proves that the key is there; then the certificate must be the one."""
        super().do_handshake()
        found = self.getpeercert(binary_form=True)
        if found is None or digest(found) != self.context.digest:  # type: ignore[attr-defined]  # of our own
            raise NotTheNode("its TLS certificate is not the one that its statement binds it to")
        certificate, now = load_der_x509_certificate(found), datetime.now(UTC)
        if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:
            raise NotTheNode(
                f"its TLS certificate holds from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} "
                f"until {certificate.not_valid_after_utc:%Y-%m-%d %H:%M}"
            )


class _Context(ssl.SSLContext):
    sslobject_class = _Checked
    digest: str


def digest(certificate: bytes) -> str:
    """Of a certificate in DER: SHA-256, in hex."""
    return hashlib.sha256(certificate).hexdigest()


@lru_cache(maxsize=4096)
def bound_to(certificate: str) -> ssl.SSLContext:
    """For connections to whoever has the key of the certificate of this digest, and to nobody else.

    Whoever signed it and the names that it is for say nothing beside that.
    """
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.digest = certificate
    return context
