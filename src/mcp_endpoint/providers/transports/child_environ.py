"""What a program that is started here gets as its environment, and which of that is secret.

The environment of the broker may hold keys that are nobody's business, so a program gets what it needs to run, what it
needs to reach the network as the broker does (proxies, mirrors, certificates), and what its entry says.
"""

import base64
import re
import sys
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

if sys.platform == "win32":
    INHERITED = (
        *("ALLUSERSPROFILE", "APPDATA", "COMMONPROGRAMFILES", "COMSPEC", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA"),
        *("NUMBER_OF_PROCESSORS", "OS", "PATH", "PATHEXT", "PROCESSOR_ARCHITECTURE", "PROGRAMDATA", "PROGRAMFILES"),
        *("PROGRAMFILES(X86)", "PROGRAMW6432", "PUBLIC", "SYSTEMDRIVE", "SYSTEMROOT", "TEMP", "TMP", "USERNAME"),
        *("USERPROFILE", "WINDIR", "LANG", "LC_ALL", "TZ"),
    )
else:
    INHERITED = (
        *(
            "HOME",
            "LANG",
            "LANGUAGE",
            "LC_ALL",
            "LC_CTYPE",
            "LC_MESSAGES",
            "LOGNAME",
            "PATH",
            "SHELL",
            "TERM",
            "TMPDIR",
        ),
        *("TZ", "USER", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"),
    )
"""What a program needs to run."""

_LISTS = ("NO_PROXY", "PIP_TRUSTED_HOST", "UV_INSECURE_HOST", "NPM_CONFIG_NOPROXY")
_CERTIFICATES = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),
    *("NODE_USE_SYSTEM_CA", "NODE_USE_ENV_PROXY", "PIP_CERT", "NPM_CONFIG_CAFILE", "GIT_SSL_CAINFO", "DENO_CERT"),
    *("UV_NATIVE_TLS", "UV_SYSTEM_CERTS"),
)
_URLS = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "WS_PROXY", "WSS_PROXY", "GLOBAL_AGENT_HTTP_PROXY"),
    *("NPM_CONFIG_REGISTRY", "NPM_CONFIG_PROXY", "NPM_CONFIG_HTTPS_PROXY", "NPM_CONFIG_HTTP_PROXY"),
    *("COREPACK_NPM_REGISTRY", "YARN_REGISTRY", "YARN_NPM_REGISTRY_SERVER", "BUN_CONFIG_REGISTRY"),
    *("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"),
    *("UV_PYTHON_INSTALL_MIRROR", "UV_PYPY_INSTALL_MIRROR", "UV_INSTALLER_GITHUB_BASE_URL"),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_PROXY", "PIP_FIND_LINKS"),
    *("GOPROXY", "HF_ENDPOINT", "PLAYWRIGHT_DOWNLOAD_HOST", "PUPPETEER_DOWNLOAD_BASE_URL"),
)
PASSED_ON = frozenset((*_LISTS, *_CERTIFICATES, *_URLS))
"""What a program needs to reach the network as the broker does, in capital letters; npm reads small ones as well."""
SECRET = frozenset(_URLS)
"""Those of them that have addresses, in which names and passwords may stand."""

SHORTEST_PASSWORD = 6

PYTHON = {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
"""Without the first, a Python program that does not flush keeps its answers to itself; without the second, one on
Windows prints in the encoding of its console."""


def child_environment(env: Mapping[str, str], environ: Mapping[str, str], *, proxy_env: bool = True) -> dict[str, str]:
    """What a program gets: what it needs of `environ`, and all of `env`, which goes first.

    `proxy_env` says that proxies, mirrors and certificates are passed on.
    """
    found = {}
    for name, value in _not_said(env, environ).items():
        known = name in INHERITED or name in PYTHON or (sys.platform == "win32" and name.upper() in INHERITED)
        # A value that begins with () is a function of a shell, and code to another one.
        if (known or (proxy_env and name.upper() in PASSED_ON)) and not value.startswith("()"):
            found[name] = value
    return spelled(PYTHON) | spelled(found) | spelled(env)


def whole_environment(env: Mapping[str, str], environ: Mapping[str, str], *, proxy_env: bool = True) -> dict[str, str]:
    """What a program gets that its user started from here: all that the user has, and `env`, which goes first."""
    mine = _not_said(env, environ)
    kept = {name: value for name, value in mine.items() if proxy_env or name.upper() not in PASSED_ON}
    return spelled(PYTHON) | spelled(kept) | spelled(env)


def _not_said(env: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """What `environ` has without what `env` says in other letters: of `https_proxy` and `HTTPS_PROXY` programs take
    either, and one that an entry empties is to be none."""
    said = {name.upper() for name in env} & PASSED_ON
    return {name: value for name, value in environ.items() if name.upper() not in said}


def spelled(environ: Mapping[str, str]) -> dict[str, str]:
    """Names as the system has them: on Windows `Path` is `PATH`, and both side by side would be a toss-up."""
    return {name.upper(): value for name, value in environ.items()} if sys.platform == "win32" else dict(environ)


def secrets_of_environment(environ: Mapping[str, str]) -> set[str]:
    """What must appear nowhere of the variables that are passed on: addresses, and names and passwords in them."""
    values = {value for name, value in environ.items() if name.upper() in SECRET and not value.startswith("()")}
    return {secret for value in values for one in _apart(value) for secret in _secrets(one)}


def _apart(value: str) -> Iterator[str]:
    """The addresses in a value that may hold several: `name=https://… https://…`, `https://…,direct`."""
    for part in re.split(r"[\s,|]+", value):
        found = re.search(r"[A-Za-z][A-Za-z0-9+.-]*://", part)
        yield part[found.start() :] if found else part


def _secrets(address: str) -> Iterator[str]:
    """The address however it may be repeated. What is short stands in words as well, and is cut out of addresses only
    (`redaction.py`)."""
    _, found, bare = address.rpartition("://")
    if found and bare.strip("/"):
        yield from (address, address.rstrip("/"))
    userinfo, found, _ = bare.rpartition("@")
    if found:
        for form in (userinfo, unquote(userinfo)):
            name, _, password = form.partition(":")
            if password:
                yield from (form, base64.b64encode(form.encode(errors="surrogateescape")).decode())
            yield from (part for part in (password or name,) if len(part) >= SHORTEST_PASSWORD)
