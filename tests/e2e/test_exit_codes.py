"""Every exit code of the contract, reached by a real process, with its one meaning."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest

from tests.support.cli import Project, Remote, Served

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory, served: Served) -> Remote:
    """Two deployed models and a plan file that has been carried out; for tests that change nothing for good."""
    folder = tmp_path_factory.mktemp("applied")
    remote = Remote(folder, served=served, suffix="exit-codes")
    remote.run("plan", "--out", "spent.json").ended(0)
    remote.run("apply", "spent.json").ended(0)
    return remote


def drift(remote: Remote, replicas: int) -> None:
    """Somebody scales `chat` by hand."""
    world = remote.served.call("GET", f"/_sandbox/{remote.neevcloud}/world")["data"]
    (id_,) = world["deployments"]
    world["deployments"][id_]["phases"][-1][2] = replicas
    remote.served.call("PUT", f"/_sandbox/{remote.neevcloud}/data", world)


def test_0_nothing_to_do(applied: Remote) -> None:
    """After an apply there is no difference and no drift: all of these are 0, and the state stays byte for byte."""
    before = applied.files()
    for line in ("plan --detailed-exitcode", "drift", "apply --auto-approve", "validate", "state list", "lock status",
                 "plan --refresh-only --detailed-exitcode"):  # fmt: skip
        applied.run(*line.split()).ended(0)
    assert applied.files() == before


def test_1_an_error(applied: Remote) -> None:
    """A file that is wrong is 1."""
    applied.write("version: 1\n", "wrong.yaml")
    applied.run("-f", "wrong.yaml", "plan").ended(1)


def test_1_a_refused_plan(applied: Remote) -> None:
    """A plan that a limit refuses is printed whole and is 1, with and without --detailed-exitcode; apply is 1 too."""
    before = applied.files()
    applied.write(applied.text(support="alignment-other", more="limits: {max_undeploys: 0}\n"), "limits.yaml")
    for arguments in (("plan",), ("plan", "--detailed-exitcode", "--out", "refused.json")):
        ran = applied.run("-f", "limits.yaml", *arguments).ended(1)
        assert "max_undeploys" in ran.out
    assert not (applied.folder / "refused.json").exists()
    ran = applied.run("-f", "limits.yaml", "apply", "--auto-approve").ended(1)
    assert "max_undeploys" in ran.err
    assert applied.run("-f", "limits.yaml", "plan", "--allow-undeploys", "1").ended(0)
    assert applied.files() == before


def test_2_a_plan_with_changes(applied: Remote) -> None:
    """`plan` alone is 0 whatever it says; --detailed-exitcode makes actions and mere state changes 2."""
    applied.write(applied.text(replicas=3), "more.yaml")
    applied.run("-f", "more.yaml", "plan").ended(0)
    applied.run("-f", "more.yaml", "plan", "--detailed-exitcode").ended(2)
    applied.write(applied.text().replace("chat_url:", "address:"), "output.yaml")
    ran = applied.run("-f", "output.yaml", "plan", "--detailed-exitcode", "--format", "json").ended(2)
    assert ran.json["summary"]["state_changes"] == 2
    assert not [action for action in ran.json["actions"] if action["action"] != "none"]


def test_2_drift(remote: Remote) -> None:
    """A value changed by hand makes `drift` 2, in every format; a repaired one 0. Nothing is written."""
    remote.apply()
    before = remote.files()
    drift(remote, 5)
    for form in ("text", "json", "markdown", "html"):
        ran = remote.run("drift", "--format", form, "--metrics-file", "drift.prom").ended(2)
        assert "replicas" in ran.out
    metrics = (remote.folder / "drift.prom").read_text()
    assert re.search(r'^reconciler_drift\{.*class="changed".*\} 1$', metrics, re.MULTILINE), metrics
    assert re.search(r"reconciler_drift_run_timestamp_seconds\S* [1-9]", metrics)
    assert remote.files() == before
    drift(remote, 1)
    remote.run("drift").ended(0)


def test_2_drift_of_what_is_gone(remote: Remote) -> None:
    """What was undeployed by hand is drift of class missing: 2."""
    remote.apply()
    remote.served.call("PUT", f"/_sandbox/{remote.neevcloud}/data", {
        **remote.served.call("GET", f"/_sandbox/{remote.neevcloud}/world")["data"], "deployments": {},
    })  # fmt: skip
    ran = remote.run("drift", "--format", "json").ended(2)
    assert [(row["address"], row["class"], row["live"]) for row in ran.json["drift"] if row["class"] == "missing"] == [
        ("chat", "missing", None)
    ]
    assert "actions" not in ran.json


def test_unmanaged_ones_alone_are_0(remote: Remote) -> None:
    """What is live but nobody's is told, and is no drift."""
    remote.apply()
    remote.run("state", "rm", "chat").ended(0)
    chat, less = "  chat: {provider: neevcloud", remote.text().replace(", depends_on: [chat]", "")
    remote.write("".join(line for line in less.splitlines(True) if not line.startswith((chat, "outputs"))))
    ran = remote.run("drift", "--unmanaged").ended(0)
    assert "dep-" in ran.out
    assert remote.run("drift", "--format", "json").ended(0).json["summary"]["unmanaged"] == 1


def test_1_drift_beside_a_provider_that_can_not_be_read(remote: Remote) -> None:
    """A provider that can't be read makes `drift` 1; what the others show is printed all the same."""
    remote.apply()
    drift(remote, 5)
    remote.served.fault(remote.nugen, "GET", "status:403")
    ran = remote.run("drift").failed(1, "nugen")
    assert "replicas" in ran.out
    found = remote.run("drift", "--format", "json").ended(1).json
    assert [row["path"] for row in found["drift"] if row["class"] == "changed"] == ["replicas"]
    assert found["unreadable"]


def test_3_an_apply_in_part(remote: Remote) -> None:
    """One action refused: 3, and the state tells which one is done."""
    remote.served.fault(remote.nugen, "POST", "status:400")
    remote.run("apply", "--auto-approve").ended(3)
    assert remote.run("state", "list").ended(0).out.split() == ["chat"]
    remote.served.heal(remote.nugen)
    remote.served.fault(remote.neevcloud, "DELETE|PUT|POST", "status:400")
    remote.run("destroy", "--auto-approve").ended(3)
    assert remote.run("state", "list").ended(0).out.split() == ["chat"]


def test_4_a_stale_plan(applied: Remote, remote: Remote) -> None:
    """A plan carried out already, and one whose world has moved on, are 4 with the reason; nothing is changed."""
    before = applied.files()
    applied.run("apply", "spent.json").failed(4, "stale", "nothing was changed")
    assert applied.files() == before
    remote.apply()
    remote.write(remote.text(replicas=2))
    remote.run("plan", "--out", "p.json").ended(0)
    drift(remote, 5)
    remote.run("apply", "p.json").failed(4, "chat")
    drift(remote, 1)
    remote.run("apply", "--same-as", "p.json").ended(0)
    remote.write(remote.text(replicas=3))
    remote.run("apply", "--same-as", "p.json").failed(4, "p.json")


def test_4_or_1_a_tampered_plan(remote: Remote) -> None:
    """A plan file changed by hand sends no credential elsewhere and does nothing that was not seen."""
    remote.run("plan", "--out", "p.json").ended(0)
    path = remote.folder / "p.json"
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    assert "sandbox-nugen-key" not in text
    assert "sandbox-access-token" not in text
    path.write_text(text.replace(remote.served.url, "http://127.0.0.1:9"))
    ran = remote.run("apply", "p.json")
    assert ran.code in (1, 4), ran
    ran.failed(ran.code, "p.json")
    document = json.loads(text)
    document["lineage"], document["serial"] = "another", 7
    path.write_text(json.dumps(document))
    remote.run("apply", "p.json").failed(4, "p.json")
    assert not remote.files()


def test_5_a_locked_state(remote: Remote) -> None:
    """Somebody else's lock is 5 with who, since when and the complete unlock line; readers are not held up."""
    remote.served.knobs(remote.neevcloud, never_ready=True)
    holder = remote.start("apply", "--auto-approve")
    assert holder.stderr is not None
    holder.stderr.readline()
    ran = remote.run("apply", "--auto-approve").failed(5, "locked", "reconciler unlock ", str(holder.pid))
    lock_id = re.search(r"reconciler unlock (\S+)", ran.err)
    assert lock_id is not None
    status = remote.run("lock", "status", "--format", "json").ended(0).json
    assert status["holder"]["id"] == lock_id[1]
    assert status["state"] == "held"
    assert str(holder.pid) in remote.run("lock", "status").ended(0).out
    remote.run("unlock", lock_id[1]).failed(1, "alive")
    remote.run("unlock", "something-else").failed(1)
    for arguments in (("plan",), ("drift",), ("state", "list"), ("show",)):
        assert remote.run(*arguments).code in (0, 2)
    for arguments in (("destroy", "--auto-approve"), ("state", "rm", "chat"), ("state", "mv", "chat", "c")):
        remote.run(*arguments).failed(5, "locked")
    holder.send_signal(signal.SIGINT)
    holder.communicate(timeout=10)
    assert holder.returncode == 3
    remote.run("state", "rm", "chat").ended(0)


def test_a_dead_holder_is_taken_over(remote: Remote) -> None:
    """A holder that was killed holds nothing: the next run takes over, says so, and continues what it left."""
    remote.served.knobs(remote.neevcloud, deploy_seconds=40 * 3)
    holder = remote.start("apply", "--auto-approve")
    assert holder.stderr is not None
    holder.stderr.readline()
    while not remote.served.call("GET", f"/_sandbox/{remote.neevcloud}/world")["data"]["deployments"]:
        assert holder.poll() is None
    holder.kill()
    holder.communicate()
    assert "gone" in remote.run("lock", "status").ended(0).out
    ran = remote.run("apply", "--auto-approve").ended(0)
    assert "took over" in ran.err
    world = remote.served.call("GET", f"/_sandbox/{remote.neevcloud}/world")["data"]
    assert len(world["deployments"]) == 1


def test_the_table_of_the_documentation_is_complete(project: Project) -> None:
    """The page on exit codes and `--help` name the codes that the program has, and no other."""
    from reconciler import diagnostics
    from reconciler.cli import exits

    classes = [value for value in vars(diagnostics).values() if isinstance(value, type)]
    owned = {cls.exit_code for cls in classes if issubclass(cls, diagnostics.ReconcilerError)}
    known = owned | {0, exits.DIFFERENCE, exits.USAGE, exits.SIGINT, exits.SIGTERM}
    page = (ROOT / "docs" / "exit-codes.md").read_text()
    told = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", page, re.MULTILINE) for code in row.split(", ")}
    assert told == known
    helped = project.run("--help").ended(0).out.split("Exit codes:")[1]
    assert {int(code) for code in re.findall(r"\b\d+\b", helped)} == known
