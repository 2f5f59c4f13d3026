"""Whose certificates are trusted: those of the system and certifi, of SSL_CERT_FILE and SSL_CERT_DIR, and of `ca`.

All of them together: whoever names a CA of his own still wants to reach public servers.
"""

import contextlib
import os
import re
import ssl
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import certifi

MOST_FILES = 200
FILE_LIMIT = 4 * 1024 * 1024
_BEGIN = b"-----BEGIN "
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")


def default_tls() -> ssl.SSLContext:
    """What is trusted without a word in an entry. It is shared, so do not add to it."""
    return _usual(os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", ""))


def tls_trusting(ca: Sequence[str], folder: Path) -> ssl.SSLContext | None:
    """The same and what `ca` names: files, folders (paths from `folder`) or the certificates themselves, PEM or DER.

    None if it names nothing. Raises ValueError for what cannot be read.
    """
    if not ca:
        return None
    context = _made()
    for one in ca:
        try:
            if _BEGIN.decode() in one:
                _load(context, one.encode())
            else:
                _load_path(context, folder / Path(one).expanduser())
        except OSError as error:
            raise ValueError(f"{error.strerror or 'cannot be read'}: {one[:100]}") from None
    return context


@lru_cache(maxsize=2)
def _usual(file: str, folder: str) -> ssl.SSLContext:
    return _made()


def _made() -> ssl.SSLContext:
    context = ssl.create_default_context()  # OpenSSL itself looks at SSL_CERT_FILE and SSL_CERT_DIR
    context.load_verify_locations(certifi.where())
    folder = os.environ.get("SSL_CERT_DIR", "")
    if folder and Path(folder).is_dir() and not any(map(_HASHED.fullmatch, os.listdir(folder))):
        with contextlib.suppress(OSError, ValueError):  # of no use to OpenSSL either
            _load_path(context, Path(folder))
    # As Python before 3.13 and as browsers do: CAs made at home seldom have all that RFC 5280 asks for, and a server's
    # own certificate may be named in place of its CA's.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _load_path(context: ssl.SSLContext, path: Path) -> None:
    """Trust a file, or those of a folder that are certificates. Raises OSError, ValueError."""
    if not path.is_dir():
        _load(context, _content(path))
        return
    found = 0
    for one in sorted(path.iterdir())[:MOST_FILES]:
        if one.suffix.lower() in (".pem", ".crt", ".cer", ".der", ".ca-bundle") or _HASHED.fullmatch(one.name):
            try:
                _load(context, _content(one))
                found += 1
            except (OSError, ValueError):
                continue  # a key, or something else that lies there
    if not found:
        raise ValueError(f"no certificate is in {path.name}")


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(FILE_LIMIT + 1)
    if len(content) > FILE_LIMIT:
        raise ValueError(f"{path.name} is too large for certificates")
    return content


def _load(context: ssl.SSLContext, content: bytes) -> None:
    """Trust the certificates in PEM, or the one in DER. Raises ValueError."""
    try:
        pem = content.removeprefix(b"\xef\xbb\xbf").decode("ascii", "ignore") if _BEGIN in content else None
        context.load_verify_locations(cadata=content if pem is None else pem)
    except ssl.SSLError:
        raise ValueError("no certificate in PEM or DER") from None
