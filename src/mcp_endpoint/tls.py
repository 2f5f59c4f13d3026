"""TLS without a proxy: the certificate of the port, and its renewal while links go on."""

import ssl
from pathlib import Path

from mcp_endpoint.settings.file import SettingsError
from mcp_endpoint.settings.schema import Settings


class Certificate:
    """The pair of `[server] tls_cert` and `tls_key`; relative paths lie in `home`. Raises SettingsError."""

    def __init__(self, cert: str, key: str, home: Path) -> None:
        self._cert = home / cert
        self._key = home / key if key else None
        self.context = self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        self.context.set_alpn_protocols(["http/1.1"])

    def reload(self) -> None:
        """Read both files again; handshakes from now on get what they hold. Raises SettingsError, and keeps the old."""
        self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # a half-good pair must not reach the one in use
        self._load(self.context)

    def _load(self, context: ssl.SSLContext) -> ssl.SSLContext:
        for name, path in (("tls_cert", self._cert), ("tls_key", self._key)):
            try:
                if path is not None:
                    path.open("rb").close()
            except OSError as error:
                why = error.strerror or error
                raise SettingsError(
                    f"[server] {name} = '{path}'",
                    f"cannot be read: {why}; allowed: a PEM file that this user may read",
                    f"无法读取：{why}；应为当前用户可读的 PEM 文件",
                ) from None
        try:
            # Without a password given, OpenSSL would ask for one on the terminal.
            context.load_cert_chain(self._cert, self._key, password=lambda: "")
        except (OSError, ValueError) as error:
            flaw = getattr(error, "reason", None) or error
            raise SettingsError(
                f"[server] tls_cert = '{self._cert}', tls_key = '{self._key or ''}'",
                f"no usable pair ({flaw}); allowed are a PEM certificate, its chain after it, and its own PEM key, "
                "not encrypted",
                f"不是可用的一对证书和私钥（{flaw}）；应为 PEM 证书（其后附证书链）和与之匹配、未加密的 PEM 私钥",
            ) from None
        return context


def certificate(settings: Settings, home: Path) -> Certificate | None:
    """The certificate of the port, or None if it speaks plain HTTP. Raises SettingsError."""
    server = settings.server
    if server.tls_cert:
        return Certificate(server.tls_cert, server.tls_key, home)
    if server.tls_key:
        raise SettingsError(
            f"[server] tls_key = '{server.tls_key}'",
            "is of no use without tls_cert; name the certificate too, or neither",
            "缺少 tls_cert，单独设置无效；请同时填写证书，或两者都留空",
        )
    return None
