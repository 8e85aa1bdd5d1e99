"""The sandbox: worlds that last, faults that are real over HTTP too, counters, and the set-up for a file."""

from __future__ import annotations

import multiprocessing
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from reconciler.diagnostics import FileError, StateError, UsageError
from reconciler.model import Desired, Json, ProviderConfig, Stack
from reconciler.sandbox.base import Request, Response, Simulator, World
from reconciler.sandbox.faults import KINDS, Fault, pick
from reconciler.sandbox.host import Sandbox, simulator_of
from reconciler.sandbox.loopback import LoopbackServer
from reconciler.sandbox.mount import open_sandbox, transport
from reconciler.sandbox.setup import prepare, world_name
from reconciler.sandbox.store import SandboxStore


class Shelf(Simulator):
    """A simulator of nothing in particular: keeps what is posted, lists it, echoes what it was asked."""

    type: ClassVar[str] = "shelf"
    credentials: ClassVar[Mapping[str, str]] = {"key": "sandbox-key"}

    def handle(self, request: Request) -> Response:
        things = self.world.table("things")
        if request.method == "POST":
            ident = self.world.new_id("thing-")
            things[ident] = request.json()
            return Response(201, {"id": ident})
        if request.method == "DELETE":
            return Response(204)
        if request.path == "/echo":
            seen = {"path": request.path, "query": dict(request.query), "accept": request.headers.get("accept")}
            return Response(200, seen, {"X-Seen": "yes"})
        return Response(200, {"things": things, "now": self.world.now()})

    def presuppose(self, specs: Sequence[Mapping[str, Json]], settings: Mapping[str, Json]) -> list[str]:
        names = self.world.table("names")
        fresh = [str(spec["name"]) for spec in specs if spec["name"] not in names]
        names.update(dict.fromkeys(fresh, True))
        return [f"name {name}" for name in fresh]


def find(type_: str) -> type[Simulator] | None:
    return Shelf if type_ == "shelf" else None


def shelf(folder: Path | None = None, wall: Callable[[], float] = lambda: 1000.0, speed: float = 1.0) -> Sandbox:
    return Sandbox(SandboxStore(folder, wall=wall, speed=speed), sleep=lambda _: None, find=find)


@pytest.fixture(params=["in process", "over HTTP"])
def way(request: pytest.FixtureRequest) -> Iterator[tuple[Sandbox, httpx.Client]]:
    """Both ways into one sandbox, seen by an httpx client."""
    sandbox = shelf()
    if request.param == "in process":
        with httpx.Client(base_url="http://sandbox.invalid", transport=transport(sandbox)) as client:  # type: ignore[arg-type]
            yield sandbox, client
    else:
        with LoopbackServer(sandbox) as server, httpx.Client(base_url=server.url, trust_env=False) as client:
            yield sandbox, client


def things(sandbox: Sandbox, world: str = "shelf") -> int:
    with sandbox.store.world(world, keep=False) as it:
        return len(it.table("things"))


# --- both ways in ---------------------------------------------------------------------------------------------------


def test_a_request_arrives_as_it_was_sent(way: tuple[Sandbox, httpx.Client]) -> None:
    """Method, decoded path behind the mount, query, headers and body reach the simulator; its answer comes back."""
    _, client = way
    got = client.get("/shelf/echo", params={"q": "a b", "empty": ""}, headers={"Accept": "application/x"})
    assert got.json() == {"path": "/echo", "query": {"q": "a b", "empty": ""}, "accept": "application/x"}
    assert got.headers["x-seen"] == "yes"
    assert client.post("/shelf/things", json={"a": 1}).status_code == 201
    assert client.delete("/shelf/things/1").status_code == 204
    assert client.get("/nothing/things").status_code == 404


def test_worlds_of_one_type_are_apart(way: tuple[Sandbox, httpx.Client]) -> None:
    """Two accounts or clusters share nothing."""
    sandbox, client = way
    client.post("/shelf.a/things", json={})
    assert (things(sandbox, "shelf.a"), things(sandbox, "shelf.b"), things(sandbox)) == (1, 0, 0)


@pytest.mark.parametrize(
    ("kind", "error", "kept"),
    [
        ("cut_before", httpx.TransportError, 0),
        ("cut_after", httpx.TransportError, 1),
        ("refuse", httpx.TransportError, 0),
    ],
)
def test_connections_really_break(
    way: tuple[Sandbox, httpx.Client], kind: str, error: type[Exception], kept: int
) -> None:
    """Before or after the effect, as the rule says; the request after that is answered."""
    sandbox, client = way
    client.post("/_sandbox/shelf/faults", json={"match": "POST", "kind": kind})
    with pytest.raises(error):
        client.post("/shelf/things", json={})
    assert things(sandbox) == kept
    assert client.post("/shelf/things", json={}).status_code == 201


def test_an_answer_that_never_comes_is_a_timeout(way: tuple[Sandbox, httpx.Client]) -> None:
    """The effect has happened; the client gives up."""
    sandbox, client = way
    client.post("/_sandbox/shelf/faults", json={"match": "POST", "kind": "timeout"})
    with pytest.raises(httpx.ReadTimeout):
        client.post("/shelf/things", json={}, timeout=0.1)
    assert things(sandbox) == 1


@pytest.mark.parametrize(
    ("kind", "status", "kept", "shows"),
    [
        ("status:503", 503, 0, "told to answer 503"),
        ("throttle:7", 429, 0, "slow down"),
        ("redirect", 302, 0, ""),
        ("html", 200, 1, "<html>"),
        ("empty", 200, 1, ""),
        ("truncate", 200, 1, '{"id'),
        ("delay:0.01", 201, 1, "id"),
    ],
)
def test_answers_are_spoilt_as_told(
    way: tuple[Sandbox, httpx.Client], kind: str, status: int, kept: int, shows: str
) -> None:
    """Each kind of fault gives its status and body, with or without the effect, once."""
    sandbox, client = way
    client.post("/_sandbox/shelf/faults", json=[{"match": "^POST /things$", "kind": kind}])
    got = client.post("/shelf/things", json={})
    assert (got.status_code, things(sandbox)) == (status, kept)
    assert shows in got.text
    if kind.startswith("throttle"):
        assert got.headers["retry-after"] == "7"
    assert client.post("/shelf/things", json={}).status_code == 201


def test_requests_are_counted(way: tuple[Sandbox, httpx.Client]) -> None:
    """Counters say how many requests of which method reached which world; control requests do not count."""
    _, client = way
    for _ in range(3):
        client.get("/shelf/things")
    client.post("/shelf/things", json={})
    got = client.get("/_sandbox/requests").json()
    assert got == {"total": 4, "counts": {"shelf GET": 3, "shelf POST": 1}, "most_in_flight": {"shelf": 1}}
    assert client.delete("/_sandbox/requests").json()["total"] == 0


def test_worlds_can_be_looked_into_and_turned(way: tuple[Sandbox, httpx.Client]) -> None:
    """Knobs, data and what specs presuppose can be set from outside; nonsense is refused and changes nothing."""
    _, client = way
    assert client.put("/_sandbox/shelf/knobs", json={"lag": 2, "speed": 3}).json() == {"lag": 2}
    assert client.put("/_sandbox/shelf/data", json={"things": {"x": 1}}).status_code == 204
    made = client.post("/_sandbox/shelf/presuppose", json={"specs": [{"name": "n"}]}).json()
    assert made == ["name n"]
    world = client.get("/_sandbox/shelf/world").json()
    assert world["data"] == {"things": {"x": 1}, "names": {"n": True}}
    assert (world["knobs"], world["clock"]["speed"]) == ({"lag": 2}, 3.0)
    assert client.get("/_sandbox").json() == {"worlds": ["shelf"]}
    for path, body in (("faults", {"kind": "earthquake"}), ("knobs", 7), ("faults", {"kind": "status:x"})):
        method = "POST" if path == "faults" else "PUT"
        assert client.request(method, f"/_sandbox/shelf/{path}", json=body).status_code == 400
    assert client.get("/_sandbox/nothing/world").status_code == 404


def test_what_took_effect_is_counted(way: tuple[Sandbox, httpx.Client]) -> None:
    """A fault counts when it meets a request; a bystander's request meets none and uses none up."""
    _, client = way
    client.post("/_sandbox/shelf/faults", json={"match": "GET", "kind": "status:503", "times": 2})
    assert client.get("/shelf/things", headers={"x-sandbox-untroubled": "1"}).status_code == 200
    assert client.get("/_sandbox/shelf/effects").json() == {}
    assert client.get("/shelf/things").status_code == 503
    assert client.delete("/_sandbox/shelf/effects").json() == {"status:503": 1}
    assert client.get("/_sandbox/shelf/effects").json() == {}
    assert [rule["times"] for rule in client.get("/_sandbox/shelf/faults").json()] == [1]


# --- the two ways, each ---------------------------------------------------------------------------------------------


def test_nothing_else_can_be_reached_from_inside() -> None:
    """In the sandbox there is no network: another host is not connected to."""
    with (
        httpx.Client(transport=transport(shelf())) as client,  # type: ignore[arg-type]
        pytest.raises(httpx.ConnectError, match="no network"),
    ):
        client.get("http://provider.example/things")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "provider.example", "::"])
def test_only_this_machine_is_served(host: str) -> None:
    """Simulators believe every request, so they listen on loopback addresses alone."""
    with pytest.raises(UsageError, match="this machine alone"):
        LoopbackServer(shelf(), host)


def test_connections_are_kept_open() -> None:
    """Several requests share one connection, also after a 204 and an empty body."""
    with LoopbackServer(shelf()) as server, httpx.Client(base_url=server.url, trust_env=False) as client:
        streams = set()
        for call in (client.get, client.delete, client.get, client.delete, client.get):
            with client.stream(call.__name__.upper(), "/shelf/things") as got:
                got.read()
                streams.add(got.extensions["network_stream"].get_extra_info("socket").fileno())
    assert len(streams) == 1


# --- worlds ---------------------------------------------------------------------------------------------------------


def test_a_world_on_disk_lasts(tmp_path: Path) -> None:
    """Data, knobs, faults and ids go on in the next process, in a file that only its owner can read."""
    with SandboxStore(tmp_path, wall=lambda: 1000.0).world("shelf") as world:
        world.table("things")["x"] = 1
        world.knobs["lag"] = 2
        world.faults.append(Fault.parse({"match": "GET", "kind": "status:503", "times": 2}))
        first = world.new_id("t-")
    with SandboxStore(tmp_path, wall=lambda: 1005.0).world("shelf") as world:
        assert (world.table("things"), world.knobs, world.now()) == ({"x": 1}, {"lag": 2}, 1005.0)
        assert world.faults[0].dump() == {"match": "GET", "kind": "status:503", "times": 2, "skip": 0}
        assert world.new_id("t-") != first
    assert stat.S_IMODE((tmp_path / "shelf.json").stat().st_mode) == 0o600
    assert not list(tmp_path.glob("*.tmp"))


def test_a_world_on_disk_is_seen_by_others_at_once(tmp_path: Path) -> None:
    """Two stores on one folder (two commands) see each other's changes."""
    one, two = SandboxStore(tmp_path), SandboxStore(tmp_path)
    for store in (one, two, one, two):
        with store.world("shelf") as world:
            world.data["n"] = world.data.get("n", 0) + 1
    with one.world("shelf") as world:
        assert world.data == {"n": 4}


def add(folder: str, times: int) -> None:
    for _ in range(times):
        with SandboxStore(Path(folder)).world("shelf") as world:
            world.data["n"] = world.data.get("n", 0) + 1


def test_processes_do_not_lose_each_others_changes(tmp_path: Path) -> None:
    """A request has the world to itself, across processes."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=add, args=(str(tmp_path), 25)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    with SandboxStore(tmp_path).world("shelf") as world:
        assert world.data == {"n": 50}


def test_reading_writes_nothing(tmp_path: Path) -> None:
    """A GET leaves the file alone, so a plan on a large world costs no rewriting; a used-up fault is written."""
    sandbox = shelf(tmp_path)
    sandbox.exchange(Request("POST", "/shelf/things", body=b"{}"))
    before = (tmp_path / "shelf.json").stat().st_mtime_ns
    sandbox.exchange(Request("GET", "/shelf/things"))
    assert (tmp_path / "shelf.json").stat().st_mtime_ns == before
    with sandbox.store.world("shelf") as world:
        world.faults.append(Fault.parse({"match": "GET", "kind": "status:503"}))
    sandbox.exchange(Request("GET", "/shelf/things"))
    assert '"faults":[]' in (tmp_path / "shelf.json").read_text()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}', '{"clock": 3}'])
def test_damaged_data_is_an_error_with_a_way_out(tmp_path: Path, text: str) -> None:
    """The error names the file and `sandbox reset`, which works on it."""
    (tmp_path / "shelf.json").write_text(text)
    store = SandboxStore(tmp_path)
    with pytest.raises(StateError, match=r"shelf\.json") as caught, store.world("shelf"):
        pass
    assert "sandbox reset" in caught.value.diagnostics[0].hint
    assert store.reset() == ["shelf"]
    with store.world("shelf") as world:
        assert world.data == {}


@pytest.mark.parametrize("name", ["../x", "shelf/x", "Shelf", "shelf.", "shelf.a.b", "", "shelf.\u00e9"])
def test_a_worlds_name_can_not_leave_its_folder(tmp_path: Path, name: str) -> None:
    """Names come from URLs."""
    with pytest.raises(ValueError, match="not the name"), SandboxStore(tmp_path).world(name):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_clock_runs_at_its_own_speed() -> None:
    """A world's time is ten times as fast where told, from the moment it is told, without a jump."""
    wall = [1000.0]
    world = World("shelf", lambda: wall[0])
    wall[0] += 10
    assert world.now() == 1010.0
    world.set_speed(10.0)
    wall[0] += 1
    assert world.now() == 1020.0


# --- faults ---------------------------------------------------------------------------------------------------------


def test_rules_are_counted_down() -> None:
    """`skip` lets requests pass, `times` ends a rule, null never does; rules that do not match do not count."""
    faults = [Fault.parse({"match": "^GET /a", "kind": "html", "times": 2, "skip": 1})]
    hits = [pick(faults, line) is not None for line in ("GET /a", "POST /a", "GET /a", "GET /a", "GET /a")]
    assert hits == [False, False, True, True, False]
    assert faults == []
    for_ever = [Fault.parse({"match": "", "kind": "empty", "times": None})]
    assert all(pick(for_ever, "GET /") for _ in range(50))


@pytest.mark.parametrize("kind", KINDS)
def test_rules_round_trip(kind: str) -> None:
    """What is written to disk is read back as the same rule."""
    argument = ":300" if kind in ("status", "throttle", "delay") else ""
    rule = {"match": "x", "kind": f"{kind}{argument}", "times": 3, "skip": 1}
    assert Fault.parse(rule).dump() == rule


# --- set-up ---------------------------------------------------------------------------------------------------------


def config(key: str, scope: str, **settings: Any) -> ProviderConfig:
    return ProviderConfig(key, key.partition(".")[0], settings, scope)


def stack(**names: str) -> Stack:
    """A stack with one deployment of each provider key (dots as two underscores) with that name."""
    deployments = {
        f"d{i}": Desired(f"d{i}", key.replace("__", "."), "shelf", {"name": name})
        for i, (key, name) in enumerate(names.items())
    }
    return Stack("s", {}, deployments)


def test_a_file_is_led_to_the_sandbox() -> None:
    """Endpoints and credentials lead to a world of the provider's scope; the scope itself stays the file's."""
    sandbox = shelf()
    configs = {
        "shelf": config("shelf", "here", endpoint="https://real", ca_cert="x.pem", size=3),
        "shelf.b": config("shelf.b", "there"),
    }
    prepared = prepare(sandbox, configs, stack(shelf="one", shelf__b="two"))
    first, second = prepared.configs["shelf"], prepared.configs["shelf.b"]
    assert first.settings == {"endpoint": f"http://sandbox.invalid/{world_name(configs['shelf'])}", "size": 3}
    assert first.scope == "here"
    assert first.settings["endpoint"] != second.settings["endpoint"]
    assert prepared.credentials == {"shelf": {"key": "sandbox-key"}, "shelf.b": {"key": "sandbox-key"}}


def test_what_a_file_presupposes_is_created_once_and_told() -> None:
    """On the first use of a name it is created and said; later uses are silent; other names are created then."""
    sandbox, configs = shelf(), {"shelf": config("shelf", "here")}
    assert prepare(sandbox, configs, stack(shelf="one")).created == ("shelf: name one",)
    assert prepare(sandbox, configs, stack(shelf="one")).created == ()
    assert prepare(sandbox, configs, stack(shelf="two")).created == ("shelf: name two",)
    assert prepare(sandbox, configs).created == ()


def test_a_type_without_simulator_is_an_error() -> None:
    """The error says that this type can't be rehearsed."""
    with pytest.raises(FileError, match="'plugin' has no simulator"):
        prepare(shelf(), {"plugin": config("plugin", "x")})


def test_simulators_are_found_by_the_name_of_their_module() -> None:
    """No registry is edited for a new one; modules of the sandbox that are none are not taken for one."""
    assert simulator_of("no_such_type") is None
    assert simulator_of("faults") is None
    assert open_sandbox().store.names() == []
