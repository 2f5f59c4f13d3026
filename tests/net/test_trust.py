"""Whose certificates are trusted beside the usual ones."""

from pathlib import Path

import pytest

from mcp_endpoint.net.trust import tls_trusting
from support.certificates import make_pair


def test_certificates_are_files_folders_and_texts(tmp_path: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    cert, key = make_pair(tmp_path, "home")
    der = tmp_path / "home.cer"
    der.write_bytes(x509.load_pem_x509_certificate(cert.read_bytes()).public_bytes(Encoding.DER))
    marked = tmp_path / "marked.pem"
    marked.write_bytes(b"\xef\xbb\xbf" + cert.read_bytes().replace(b"\n", b"\r\n") + key.read_bytes())
    for ca in (str(cert), "home.crt", "home.cer", "marked.pem", ".", str(tmp_path), cert.read_text("ascii")):
        context = tls_trusting([ca], tmp_path)
        assert context is not None
        assert [one for one in context.get_ca_certs() if "home" in str(one["subject"])], ca
    assert tls_trusting([], tmp_path) is None


@pytest.mark.parametrize("ca", ["none.pem", "home.key", "empty", "home.crt/x"])
def test_certificates_that_are_none(tmp_path: Path, ca: str) -> None:
    make_pair(tmp_path, "home")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError):
        tls_trusting([ca], tmp_path)
