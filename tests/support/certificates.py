"""Certificates of one's own authority, made by the openssl command."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest


def certificate(folder: Path, *, name: str = "IP:127.0.0.1", expired: bool = False) -> tuple[str, ssl.SSLContext]:
    """The path of a certificate for `name` that is its own authority, and a server's context that shows it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("makes its certificate with the openssl command")
    key, made, late = str(folder / "key.pem"), str(folder / "cert.pem"), str(folder / "late.pem")
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    names = ["-subj", "/CN=sandbox", "-addext", f"subjectAltName={name}"]
    run = [[openssl, "req", "-x509", *kind, "-keyout", key, "-out", made, "-days", "2", *names]]
    if expired:
        run.append([openssl, "x509", "-in", made, "-signkey", key, "-days", "-1", "-out", late])
    for command in run:
        subprocess.run(command, check=True, capture_output=True)
    shown = late if expired else made
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown, key)
    return shown, context
