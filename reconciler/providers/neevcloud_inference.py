"""Asking a NeevCloud deployment itself: its own endpoint in OpenAI's form, with an inference key (`sk-nc-…`).

The provider's OpenAPI document says of `endpoint_url`: call `{endpoint_url}/chat/completions`; the model is named by
`model_id`. Never sends the key over a connection that is less protected than that of the API which named the endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core.schemas.probe import chat
from reconciler.edge.client import Client, CommonOptions, Dialect
from reconciler.model import Live, Probe
from reconciler.provider import AccessError, BadAnswerError, Probed, Problem, Wire

_MISSING = "there is no inference key, and the access token of the API is none"
_HINT = "set NEEVCLOUD_INFERENCE_KEY (sk-nc-…, made in the console), or take `probe` out"


class Inference:
    """One inference key; a connection for each probe, as each deployment has a host of its own."""

    def __init__(
        self, provider: str, credentials: Mapping[str, str], endpoint: str, wire: Wire, options: CommonOptions
    ) -> None:
        self._provider, self._wire, self._options = provider, wire, options
        self._key = credentials.get("inference_key", "").strip().removeprefix("Bearer ").strip()
        self._secrets = tuple(value for name, value in credentials.items() if name != "email")
        self._plain = endpoint.startswith("http://")

    def problem(self) -> Problem | None:
        """Why nothing can be asked; None where it can."""
        return None if self._key else Problem("probe", _MISSING, _HINT)

    def ask(self, live: Live | None, probe: Probe) -> Probed:
        """One request to the endpoint of `live`. Raises ProviderError where there is none, or no answer."""
        if not self._key:
            raise AccessError(f"{self._provider}: {_MISSING}", provider=self._provider, hint=_HINT)
        base = live.computed.get("endpoint_url") if live is not None else None
        if live is None or not isinstance(base, str) or not base:
            raise BadAnswerError(f"{self._provider} says ready, but names no endpoint_url", provider=self._provider)
        if not base.startswith("https://") and not (self._plain and base.startswith("http://")):
            raise BadAnswerError(
                f"{self._provider} names an endpoint_url without TLS: no key is sent there", provider=self._provider
            )
        asked = chat(probe, path="/chat/completions", model=str(live.computed.get("model_id") or ""), id_=live.id)
        client = Client(
            provider=self._provider,
            base_url=base,
            dialect=Dialect(),
            wire=self._wire,
            authorize={"authorization": f"Bearer {self._key}"},
            secrets=self._secrets,
            **self._options,
        )
        try:
            return client.ask(asked.method, asked.path, asked.body)
        finally:
            client.close()
