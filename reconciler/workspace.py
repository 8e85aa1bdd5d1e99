"""One run's view of the outside: where the file is, which state it means, which providers it reaches.

Opens things when they are first needed and closes them at the end; decides nothing about what to do with them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.diagnostics import Diagnostic, FileError, ReconcilerError, StateError, UsageError
from reconciler.edge.backends.base import Backend, Base
from reconciler.edge.backends.choose import SANDBOX, open_backend, state_folder
from reconciler.edge.environment import Environment
from reconciler.edge.files import ensure_folder
from reconciler.edge.lock import describe
from reconciler.edge.schemas import provider_types
from reconciler.edge.store import LocalStore
from reconciler.model import ProviderConfig, Recorded, RecordedProvider, Refreshed, Secret, Stack, State
from reconciler.provider import Provider, Wire
from reconciler.registry import Registry, registry

if TYPE_CHECKING:
    from reconciler.core.load.source import Document
    from reconciler.core.load.variables import Inputs
    from reconciler.engine.heartbeat import Heartbeat
    from reconciler.engine.ledger import Run

DEFAULT_FILE = "reconciler.yaml"


@dataclass(frozen=True, slots=True)
class Invocation:
    """What a command line says about its surroundings. `folder` is `-C`, `file` is `-f`.

    `command` is the whole command line without values of variables, `called` how the tool was called up to the command.
    `say` takes a line for the user (stderr), `log` a level and a line. Placeholders stand in for unset variables of
    the environment in the sandbox. `offline` (`validate`, `graph`): they do too, and not even the state is read.
    """

    folder: Path
    file: Path | None
    sandbox: bool
    environment: Environment
    say: Callable[[str], None]
    log: Callable[[str, str], None]
    command: str = "reconciler"
    called: str = "reconciler"
    var: tuple[str, ...] = ()
    var_files: tuple[str, ...] = ()
    offline: bool = False


@dataclass
class Workspace:
    """Everything a command works on. Use as a context manager: what was connected is closed at the end."""

    invocation: Invocation
    _opened: ExitStack = field(default_factory=ExitStack)
    _throttled: list[str] = field(default_factory=list)  # the key of a provider, once for each wait that it asked for

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_error: object) -> None:
        self._opened.close()

    # --- the file ---------------------------------------------------------------------------------------------------
    @cached_property
    def source(self) -> Path:
        """The desired-state file or folder, relative to `-C`. Raises FileError where there is none."""
        typed = self.invocation.file or Path(DEFAULT_FILE)
        if not Path(self.invocation.folder, typed).exists():
            raise FileError(
                Diagnostic(
                    f"there is no {typed}"
                    + ("" if self.invocation.file else f" in {self.invocation.folder.resolve()}"),
                    hint="`reconciler init` writes a first one; -f names another file or folder, -C another place",
                )
            )
        return typed

    @cached_property
    def base_folder(self) -> Path:
        """The folder that relative paths of the file start at."""
        place = Path(self.invocation.folder, self.source)
        return place if place.is_dir() else place.parent

    @cached_property
    def document(self) -> Document:
        from reconciler.edge.document import load_documents

        return load_documents([self.source], self.invocation.folder)

    @cached_property
    def registry(self) -> Registry:
        """The provider types that the file names, and those that the state names."""
        return registry({*declared_types(self.document), *(entry.type for entry in self._recorded().values())})

    def _recorded(self) -> Mapping[str, RecordedProvider]:
        """Providers of the state; none where it is not to be looked at (`validate`) or the file does not say where."""
        if self.invocation.offline or not self._names_a_state:
            return {}
        return self.base.state.providers if self.base.state else {}

    @property
    def _names_a_state(self) -> bool:
        try:
            return bool(self.backend)
        except ReconcilerError:
            return False  # the validation of the file says why, with the place

    @cached_property
    def stack(self) -> Stack:
        """The whole file as a value. Raises FileError with all that is wrong with it."""
        from reconciler.core.load.desired import build_stack

        found = self.registry
        return build_stack(
            self.document, schemas=found.schemas, types=found.types, inputs=self.inputs, known_types=provider_types()
        )

    @cached_property
    def configs(self) -> Mapping[str, ProviderConfig]:
        """The providers of the file alone, as they are now."""
        from reconciler.core.load.desired import load_providers_only

        found = self.registry
        return load_providers_only(
            self.document, schemas=found.schemas, types=found.types, inputs=self.inputs, known_types=provider_types()
        )

    @cached_property
    def inputs(self) -> Inputs:
        """Variables from the command line, files and the environment."""
        from reconciler.core.load.variables import Inputs
        from reconciler.edge.document import load_values, read_value

        call = self.invocation
        return Inputs(
            vars=assignments(call.var),
            environ=call.environment.environ,
            placeholder=call.sandbox or call.offline,
            var_files=tuple((name, load_values(Path(name), call.folder)) for name in call.var_files),
            read_value=read_value,
        )

    @property
    def given_variables(self) -> tuple[str, ...]:
        """The words that gave variables, to be said again; values of sensitive ones are left out."""
        words = []
        for name, value in assignments(self.invocation.var).items():
            words += ["--var", f"{name}={'…' if self.is_sensitive(name) else value}"]
        for file in self.invocation.var_files:
            words += ["--var-file", file]
        return tuple(words)

    def is_sensitive(self, name: str) -> bool:
        """Whether the file says so of this variable, or says nothing that could be read."""
        declared = self.document.data.get("variables")
        schema = declared.get(name) if isinstance(declared, Mapping) else None
        return not isinstance(schema, Mapping) or bool(schema.get("sensitive"))

    # --- the state --------------------------------------------------------------------------------------------------
    @cached_property
    def backend(self) -> Backend:
        """Needs the file's `stack:` and `state:` alone, so that locks can be looked at whatever else is wrong."""
        from reconciler.core.load.desired import read_header

        header, call = read_header(self.document), self.invocation
        config = {"backend": header.backend, "path": header.path}
        return open_backend(config, self.base_folder, header.stack, call.environment, sandbox=call.sandbox)

    @cached_property
    def base(self) -> Base:
        """The state as first read by this run, or since the lock is held."""
        base = self.backend.read()
        for note in base.notes:
            self.invocation.say(f"{note.severity}: {note.summary}" + (f"; {note.hint}" if note.hint else ""))
        return base

    def state_or_error(self) -> State:
        """The state. Raises StateError where there is none yet."""
        if self.base.state is None:
            raise StateError(
                Diagnostic(f"there is no state yet at {self.backend.location}", hint="`reconciler apply` makes one")
            )
        return self.base.state

    @contextmanager
    def locked(self, command: str, timeout: str, backend: Backend | None = None) -> Iterator[None]:
        """Hold the state's lock, waiting up to `timeout` (`30s`, `10m`); what was read before is read again."""
        call, backend = self.invocation, backend or self.backend
        with backend.locked(
            command=call.command,
            unlock_command=f"{call.called} unlock",
            timeout=_seconds(timeout),
            on_wait=lambda status: call.say(f"waiting for the lock: held by {describe(status.record)}"),
        ) as dead:
            if dead is not None:
                call.say(f"took over the lock of {describe(dead)}, which is gone")
            self.__dict__.pop("base", None)
            call.log("debug", f"{command}: locked {backend.location}")
            yield

    def run(self, command: str) -> Run:
        """Who we are, for the journal."""
        from reconciler.engine.ledger import Run

        env = self.invocation.environment
        return Run(id=env.new_id(), command=command, user=env.user, host=env.host)

    def recorded_provider(self, config: ProviderConfig) -> RecordedProvider:
        """A provider as the state holds it: settings without credentials, and the scope."""
        return RecordedProvider(config.type, config.scope, dict(config.settings))

    def backend_of(self, stack: str) -> LocalStore:
        """The local state of another stack name in the same place."""
        call = self.invocation
        folder = self.state_folder
        return LocalStore(folder / SANDBOX if call.sandbox else folder, stack, call.environment, home=folder)

    def sandboxed(self) -> Workspace:
        """The same place, seen with --sandbox."""
        return Workspace(replace(self.invocation, sandbox=True))

    # --- the providers ----------------------------------------------------------------------------------------------
    def provider_configs(self, stack: Stack) -> dict[str, ProviderConfig]:
        """The file's providers, and those that only the state still names, with their recorded settings."""
        return self.with_recorded(stack.providers)

    def with_recorded(self, declared: Mapping[str, ProviderConfig]) -> dict[str, ProviderConfig]:
        """`declared` and, beside them, the providers of recorded deployments that it lacks."""
        configs = dict(declared)
        state = self.base.state
        used = {entry.provider for entry in state.deployments.values()} if state else set()
        used |= {intent.entry.provider for intent in self.base.intents}
        for key, recorded in self._recorded().items():
            if key not in configs and key in used:
                configs[key] = ProviderConfig(key, recorded.type, recorded.settings, recorded.scope)
        return configs

    def connect(
        self, configs: Mapping[str, ProviderConfig], stack: Stack | None, *, secrets: Iterable[str] = ()
    ) -> dict[str, Provider]:
        """Talk to these providers, whose answers bring neither the file's secrets nor `secrets` to light. Raises with
        the diagnostics of all that can't be reached for want of credentials."""
        call, hidden = self.invocation, (*self._hidden(stack), *secrets)
        wire = Wire(log=partial(call.log, "debug"), secrets=hidden, throttled=self._note_throttled)
        if call.sandbox:
            configs, credentials, wire = self._sandboxed(configs, stack, wire)
        else:
            credentials = {key: self._credentials(config) for key, config in configs.items()}
        connected: dict[str, Provider] = {}
        problems: list[Diagnostic] = []
        for key, config in configs.items():
            try:
                provider = self.registry.types[config.type].connect(config, credentials[key], wire)
            except ReconcilerError as error:
                problems += [replace(item, provider=key) for item in error.diagnostics]
                continue
            self._opened.callback(provider.close)
            connected[key] = provider
        if problems:
            raise ReconcilerError(*problems)
        return connected

    def _hidden(self, stack: Stack | None) -> tuple[str, ...]:
        """The file's sensitive values, which no answer of a provider may bring to light."""
        from reconciler.core.load.desired import secret_lookup
        from reconciler.core.values.hidden import hidden

        data = {name: self.document.data.get(name) for name in ("defaults", "deployments")}
        return hidden(stack, data, secret_lookup(self.document, self.inputs))

    def _credentials(self, config: ProviderConfig) -> dict[str, str]:
        """By the schema's names: what the file refers to, else the provider's own environment variables."""
        environ = self.invocation.environment.environ
        found: dict[str, str] = {}
        for name, variable in self.registry.schemas[config.type].credentials.items():
            given = config.credentials.get(name)
            value = given.value if isinstance(given, Secret) else environ.get(variable.env)
            if value:
                found[name] = str(value)
        return found

    def _sandboxed(
        self, configs: Mapping[str, ProviderConfig], stack: Stack | None, wire: Wire
    ) -> tuple[Mapping[str, ProviderConfig], dict[str, dict[str, str]], Wire]:
        from reconciler.sandbox.mount import open_sandbox, transport
        from reconciler.sandbox.setup import prepare

        ensure_folder(self.sandbox_folder, self.state_folder)
        sandbox = open_sandbox(self.sandbox_folder)
        prepared = prepare(sandbox, configs, stack)
        for line in prepared.created:
            self.invocation.say(f"sandbox: {line}")
        return prepared.configs, prepared.credentials, replace(wire, transport=transport(sandbox))

    @property
    def state_folder(self) -> Path:
        """The folder of local states."""
        return state_folder(self.document.data.get("state"), self.base_folder)

    @property
    def sandbox_folder(self) -> Path:
        """Where the simulators keep their data."""
        return self.state_folder / SANDBOX / "data"

    def fetch(
        self,
        configs: Mapping[str, ProviderConfig],
        providers: Mapping[str, Provider],
        state: State | None,
        found: Iterable[Recorded] = (),
    ) -> Refreshed:
        """List every given provider side by side; see `engine.fetch`. `found` is recorded too, or about to be."""
        from reconciler.engine.fetch import fetch

        recorded: dict[str, list[Recorded]] = {}
        known = {**(state.deployments if state else {}), **{entry.address: entry for entry in found}}
        for entry in known.values():
            recorded.setdefault(entry.provider, []).append(entry)
        capabilities = {key: self.registry.types[configs[key].type].capabilities for key in providers}
        return fetch(providers, recorded, capabilities, heartbeat=self.heartbeat("still listing"))

    def heartbeat(self, what: str) -> Heartbeat:
        """Says on stderr, every ten seconds, for which providers a command waits; `what` begins the line."""
        from reconciler.engine.clock import SystemClock
        from reconciler.engine.heartbeat import Heartbeat

        def tell(keys: Sequence[str], seconds: float) -> None:
            from reconciler.render.progress import waiting  # mostly never needed

            self.invocation.say(waiting(what, keys, seconds, self._throttled))

        return Heartbeat(SystemClock(), tell)

    def _note_throttled(self, key: str, begins: bool) -> None:
        """Called by any thread: adding to a list and taking out of it need no lock."""
        (self._throttled.append if begins else self._throttled.remove)(key)


def _seconds(text: str) -> float:
    from reconciler.core.values.duration import seconds

    try:
        return seconds(text)
    except ValueError:
        raise UsageError(Diagnostic(f"{text!r} is not a duration", hint="for example 30s or 10m")) from None


def assignments(words: Collection[str]) -> dict[str, str]:
    """`K=V` words by name, a later one wins. Raises UsageError."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(Diagnostic(f"--var wants NAME=VALUE, not {name!r}", hint="--var replicas=3"))
        found[name] = value
    return found


def declared_types(document: Document) -> Collection[str]:
    """The provider types that a file names under `providers:` (`neevcloud.eu` is of type `neevcloud`)."""
    section = document.data.get("providers")
    return {str(key).partition(".")[0] for key in section} if isinstance(section, Mapping) else set()
