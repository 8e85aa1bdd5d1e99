"""CI's share of the fault campaign: nothing doubled, nothing lost, no state that lies; and it would notice if so.

The runs are shared out by the provider type that has a part in them for certain, so that workers can share them too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.crash.campaign import CONTROLS, PROVIDERS, SABOTAGES, aimed, campaign, control, jobs_of, missed, table
from tests.support.campaign_run import Lane, Tally

pytestmark = pytest.mark.campaign

SEED = 1
RUNS = 500  # of all provider types together


@pytest.fixture(scope="module")
def lanes() -> Iterator[list[Lane]]:
    running = [Lane(), Lane()]
    yield running
    for lane in running:
        lane.close()


@pytest.mark.timeout(480)
@pytest.mark.parametrize("type_", PROVIDERS)
def test_nothing_is_lost_doubled_or_told_wrongly(
    type_: str, lanes: list[Lane], hand_in: Callable[[Tally], None]
) -> None:
    """Whatever goes wrong in an apply, runs without faults end it as if nothing had; killed at every journal point."""
    mine = [job for job in jobs_of(SEED, RUNS) if job[0] % len(PROVIDERS) == PROVIDERS.index(type_)]
    total = campaign(mine, lanes)
    total.add(campaign(aimed(missed(total, [type_]), SEED), lanes))
    hand_in(total)
    assert total.problems == [], "\n".join(total.problems)
    assert total.bad == 0, str(total)
    assert missed(total, [type_]) == [], table(total)
    assert total.faults > len(mine)  # only what took effect
    assert total.kills > len(mine) // 4


@pytest.mark.timeout(240)
@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_the_campaign_would_notice(sabotage: str, lanes: list[Lane]) -> None:
    """With intents not written, creates retried blindly or outcomes not synced, it reports doubled or lost ones."""
    total = control(SEED + 2, lanes, sabotage)
    assert total.doubled + total.lost > 0, str(total)


@pytest.mark.timeout(240)
def test_an_outcome_that_is_lost_whole_is_looked_up(lanes: list[Lane]) -> None:
    """Where the closing of an intent is lost with what came of it, the intent alone is enough."""
    total = campaign(jobs_of(SEED + 2, CONTROLS), lanes, "late-outcomes")
    assert total.problems == [], "\n".join(total.problems)
    assert total.kills > 0
