"""What the state says about a step's deployment at each moment. A finished record is made by core/compare/record.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reconciler.core.compare.record import record, unsure
from reconciler.core.schemas.schema import ProviderSchema
from reconciler.engine.clock import Clock
from reconciler.engine.job import Step
from reconciler.model import Desired, Health, Live, Pending, Recorded, Verb
from reconciler.provider import ProviderType


class Entries:
    """Makes records of deployments under way. `types` and `schemas` are by provider type."""

    def __init__(
        self,
        *,
        types: Mapping[str, ProviderType],
        schemas: Mapping[str, ProviderSchema],
        digest_key: str,
        clock: Clock,
    ) -> None:
        self.types, self.schemas, self.digest_key, self._clock = types, schemas, digest_key, clock

    def settled(
        self, desired: Desired, live: Live | None, prior: Recorded | None, generation: int, *, adopted: bool = False
    ) -> Recorded:
        """The record of a deployment that is as desired, with nothing pending but a probe that it has not answered."""
        entry = record(
            desired,
            live,
            prior,
            schema=self.schemas[desired.type],
            digest_key=self.digest_key,
            identity=self.types[desired.type].identity,
            now=self._clock.now(),
            generation=generation,
            adopted=adopted,
        )
        return entry if entry.pending is None else replace(entry, pending=to_probe(desired, entry.pending))

    def of(self, step: Step, *, pending: Pending | None, health: Health | None = None) -> Recorded:
        """The record of the step's deployment as it is now; `pending` says what is not finished about it."""
        op, live, desired, prior = step.operation, step.operation.live, step.job.desired, step.prior
        there = live if live is not None and live.id else None  # without an id: on its way to being made, no more
        now, deploys = self._clock.now(), step.node.name == "deploy"
        known: Health = health or (live.health if live is not None else "pending" if pending is not None else "unknown")
        status = live.status if live is not None else step.status
        id_ = there.id if there is not None else op.id  # a provider may rename it (Nugen)
        made = {**(prior.created if prior is not None else {}), **op.created}
        created = {name: one for name, one in made.items() if one}  # an empty one is not there any more
        if prior is not None and (op.verb == "undeploy" or desired is None or (pending is not None and not deploys)):
            entry = replace(
                prior, address=step.record, id=id_ if id_ is not None else prior.id, created=created,
                health=known, status=status, pending=pending, updated_at=now,
            )  # fmt: skip
            return entry if op.verb == "undeploy" else self._under_way(entry, step)
        if desired is None:
            raise ValueError(f"{step.address} has neither a record nor a declaration")
        generation = step.job.action.generation if deploys or prior is None else prior.generation
        # A deploy sends the whole spec, ignored paths too: for the record it is a new object, of no record before.
        entry = self.settled(desired, there, None if deploys and step.touched else prior, generation)
        waited = prior is not None and prior.pending is not None and prior.pending.verb == "deploy"
        before = prior.deployed_at if prior is not None else ""
        entry = replace(
            entry,
            address=step.record,
            id=id_ if id_ is not None else entry.id,
            created=created,
            health=known,
            status=status,
            pending=pending,
            deployed_at=now if pending is None and (deploys or waited) else before,
        )
        return entry if pending is None else self._under_way(entry, step)

    def _under_way(self, entry: Recorded, step: Step) -> Recorded:
        """What was not finished is not written down as applied. A new deployment gets what it is made of; one that was
        there before, and can't show all that it has, may have the old values or the new ones."""
        desired, prior = step.job.desired, step.prior
        if desired is None or prior is None or prior.id is None or entry.id != prior.id or step.operation.id is None:
            return entry
        ignore = () if step.node.name == "deploy" else desired.lifecycle.ignore_changes
        return unsure(entry, desired, prior, self.schemas[desired.type], self.digest_key, ignore=ignore)

    def unanswered(self, step: Step, cause: str) -> Recorded:
        """The record of a deployment that is as desired but for its probe: its deploy is not done."""
        entry = replace(self.of(step, pending=None), pending=self.pending(step, "deploy", cause))
        if step.node.name == "deploy" or step.prior is None:
            return entry
        return replace(entry, deployed_at=step.prior.deployed_at or entry.deployed_at)

    def pending(self, step: Step, verb: Verb, cause: str) -> Pending:
        """What is unfinished since this step began, or since an earlier run began the same. A deploy that was not done
        is not done by a change of it: it is still to be waited for, and probed."""
        before = step.prior.pending if step.prior is not None else None
        if before is not None and before.verb == "deploy" and verb != "undeploy":
            return Pending("deploy", before.since, cause)
        since = before.since if before is not None and before.verb == verb else step.begun
        return Pending(verb, since, cause)


def to_probe(desired: Desired | None, pending: Pending | None) -> Pending | None:
    """What stays pending of a deployment that is as desired: a deploy whose probe nobody has seen answered."""
    if desired is None or desired.probe is None or pending is None or pending.verb != "deploy":
        return None
    return pending
