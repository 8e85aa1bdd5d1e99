"""How NeevCloud requests are authorised: a given access token, or a login whose token stays in memory.

A token is renewed a minute before it expires, where it says when; a 401 leads to one new login, never to two.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping

from reconciler.edge.client import Authorize, Client, CommonOptions, Dialect
from reconciler.provider import (
    AccessError,
    BadAnswerError,
    NotFoundError,
    ProviderError,
    RejectedError,
    Wire,
)

LOGIN = "/api/v1/auth/login"
EARLY = 60.0  # seconds before its end at which a token is renewed
_HINT = "set NEEVCLOUD_ACCESS_TOKEN, or NEEVCLOUD_EMAIL and NEEVCLOUD_PASSWORD"


def authorization(
    provider: str,
    tenant: str,
    credentials: Mapping[str, str],
    dialect: Dialect,
    wire: Wire,
    options: CommonOptions,
) -> tuple[Mapping[str, str] | Authorize, Login | None]:
    """The headers for a given token, or a login that gives them. Raises AccessError for missing or unusable ones."""
    token = credentials.get("access_token", "").strip().removeprefix("Bearer ").strip()
    if token.startswith("sk-nc-"):
        raise AccessError(
            f"{provider}: the access token is an inference key (sk-nc-…), which the deployment API does not accept",
            provider=provider,
            hint=f"{_HINT} of the console's login",
        )
    if token:
        return {"authorization": f"Bearer {token}"}, None
    if not credentials.get("email") or not credentials.get("password"):
        raise AccessError(f"{provider}: there are no credentials", provider=provider, hint=_HINT)
    client = Client(
        provider=provider,
        base_url=tenant,
        dialect=dialect,
        wire=wire,
        authorize={},
        secrets=(credentials["password"],),
        **options,
    )
    login = Login(provider, client, credentials["email"], credentials["password"])
    return login, login


class Login:
    """Gives the authorization header of the newest token; logs in when there is none, or the last was refused."""

    def __init__(
        self, provider: str, client: Client, email: str, password: str, wall: Callable[[], float] = time.time
    ) -> None:
        self._provider, self._client = provider, client
        self._email, self._password = email, password
        self._wall = wall
        self._guard = threading.Lock()
        self._token = ""
        self._renew_at: float | None = None
        self._used = threading.local()

    def __call__(self, refused: bool) -> Mapping[str, str]:
        """The headers; `refused`: the token that this thread used last was answered with a 401.

        Another thread may have logged in since: then its token is tried first. Raises ProviderError.
        """
        with self._guard:
            stale = refused and getattr(self._used, "token", "") == self._token
            if not self._token or stale or (self._renew_at is not None and self._wall() >= self._renew_at):
                self._token = self._new_token()
            self._used.token = self._token
            return {"authorization": f"Bearer {self._token}"}

    def close(self) -> None:
        """Close the connection to the tenant service."""
        self._client.close()

    def _new_token(self) -> str:
        body = {"email": self._email, "password": self._password}
        try:
            answer = self._client.request("POST", LOGIN, json=body, repeatable=True)
        except (RejectedError, NotFoundError, AccessError) as error:
            raise _refused(self._provider, error) from error
        token = answer.data.get("access_token") if isinstance(answer.data, Mapping) else None
        if not isinstance(token, str) or not token:
            raise BadAnswerError(
                f"{self._provider}: the login gave no access_token", provider=self._provider, status=answer.status
            )
        self._renew_at = self._when_to_renew(token)
        return token

    def _when_to_renew(self, token: str) -> float | None:
        """A minute before the token's end (half-way, if it lives shorter than two); None where it does not say.

        A token that has ended already by our clock means that the clocks differ: then only a 401 tells.
        """
        left = (expiry(token) or 0.0) - self._wall()
        return self._wall() + max(left - EARLY, left / 2) if left > 0 else None


def expiry(token: str) -> float | None:
    """The `exp` of a JWT in seconds since 1970; None where the token is none or does not say. Nothing is verified."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    found = claims.get("exp") if isinstance(claims, dict) else None
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def _refused(provider: str, error: ProviderError) -> AccessError:
    return AccessError(
        f"{provider}: the login failed: {error.message}",
        provider=provider,
        status=error.status,
        code=error.code,
        request_id=error.request_id,
        detail=error.diagnostics[0].detail,
        hint=_HINT,
    )
