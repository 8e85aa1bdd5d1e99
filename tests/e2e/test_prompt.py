"""What a person said yes to is held against the world as it is then, however long the question stood."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import PropertyMock, patch

import pytest

from reconciler.cli.console import Console
from tests.e2e.test_stale_plans import BEFORE, ENV, NOW, PLACE, remove, strangers
from tests.support.by_hand import Rehearsed


@pytest.fixture
def project(tmp_path: Path) -> Rehearsed:
    """`BEFORE` is applied, the file says `NOW`."""
    project = Rehearsed(tmp_path, dict(ENV))
    project.write(BEFORE)
    project.run("plan").ended(0)
    project.quick()
    project.run("apply", "--auto-approve").ended(0)
    project.write(NOW)
    return project


@contextmanager
def asked(meanwhile: Callable[[], None]) -> Iterator[None]:
    """A terminal with somebody who says yes, after something has happened."""

    def ask(_console: Console, _question: str, _answer: str = "yes") -> bool:
        meanwhile()
        return True

    can = patch.object(Console, "can_ask", new_callable=PropertyMock, return_value=True)
    with can, patch.object(Console, "ask", ask):
        yield


def same_name(project: Rehearsed) -> None:
    """Somebody else deploys what `fresh` is to be: the same name and spec."""
    spec = {"catalog_id": "cat", "region": "in-south-1", "gpu_config_id": "gpu-1", "gpu_count": 1, "plan_id": "plan-1"}
    project.by_hand("neevcloud", "POST", PLACE, {"name": "fresh", **spec})


def test_what_came_while_the_question_stood_is_not_taken(project: Rehearsed) -> None:
    """The same name appeared: exit 4 that names it, and state and worlds are as they were when the answer came."""
    seen = {}

    def meanwhile() -> None:
        same_name(project)
        seen.update(project.everything())

    with asked(meanwhile):
        project.run("apply").failed(4, "overtaken while the question stood", "fresh, which fresh would take, is live")
    assert project.everything() == seen


def test_a_destroy_is_looked_at_again(project: Rehearsed) -> None:
    """What it would undeploy has gone meanwhile: told, nothing is changed."""
    with asked(lambda: remove(project, "leaver")):
        project.run("destroy").failed(4, "overtaken while the question stood", "leaver has gone since")
    assert project.recorded("chat")["health"] == "ready"


@pytest.mark.parametrize("command", ["apply", "destroy"])
def test_what_changes_elsewhere_does_not_matter(command: str, project: Rehearsed) -> None:
    """Nothing happened to what the plan changes: it is carried out."""
    with asked(lambda: strangers(project)):
        project.run(command).ended(0)


@pytest.mark.parametrize(
    ("arguments", "question"),
    [
        (["apply"], "Do you want to apply this plan to demo?"),
        (["destroy"], "Do you want to undeploy these deployments of demo?"),
        (["apply", "--destroy"], "Do you want to undeploy these deployments of demo?"),
    ],
)
def test_the_question_says_what_yes_does(arguments: list[str], question: str, project: Rehearsed) -> None:
    """A yes to a destroy is never given to a question about an apply."""
    put: list[str] = []

    def ask(_console: Console, text: str, _answer: str = "yes") -> bool:
        put.append(text)
        return False

    can = patch.object(Console, "can_ask", new_callable=PropertyMock, return_value=True)
    with can, patch.object(Console, "ask", ask):
        project.run(*arguments).ended(1)
    assert put == [question]


def test_a_first_apply_is_carried_out(tmp_path: Path) -> None:
    """There is no state yet, and all goes by the second look."""
    project = Rehearsed(tmp_path, dict(ENV))
    project.write(BEFORE)
    project.run("plan").ended(0)
    project.quick()
    with asked(lambda: None):
        project.run("apply").ended(0)
    assert project.recorded("chat")["health"] == "ready"


def test_the_list_just_before_is_the_one_after_the_answer(project: Rehearsed) -> None:
    """What is sent goes by what was live after the answer, not before the question."""
    from reconciler.engine import apply as engine

    looked = []
    real = engine.apply

    def spy(plan, state, refreshed, **more):  # type: ignore[no-untyped-def]
        looked.extend(live.name for live in refreshed.listings["modelstudio"].objects)
        return real(plan, state, refreshed, **more)

    with asked(lambda: strangers(project)), patch.object(engine, "apply", spy):
        project.run("apply").ended(0)
    assert "theirs" in looked
