"""How a step begins: its values resolved, what is live found, its operation made. Then `operate.advance` takes over.

Nothing is sent here but a read again before a failed deployment is replaced or started again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from reconciler.core.compare.diff import RANK
from reconciler.core.values.tree import has_unknown, plain
from reconciler.engine.entries import to_probe
from reconciler.engine.job import Step
from reconciler.engine.lane import Request
from reconciler.engine.scheduler import Owner
from reconciler.engine.values import NotResolvedError, check, needed, refuse_failed, refuse_stronger
from reconciler.engine.world import World
from reconciler.model import HEALTH_KIND, Desired, Json, Live, Recorded, Timeouts, Verb
from reconciler.provider import Operation


class Beginner:
    """Begins steps; keeps nothing itself."""

    def __init__(self, world: World, owner: Owner, advance: Callable[[Step], None]) -> None:
        self._world, self._owner, self._advance = world, owner, advance

    def begin(self, step: Step) -> None:
        """Start the step, or end it at once where there is nothing to do."""
        prior = step.prior = self._world.ledger.entries.get(step.record)
        desired = step.job.action.desired
        holder: Desired | Recorded | None = desired if desired is not None else prior
        times = holder.timeouts if holder is not None else Timeouts()
        step.limit = getattr(times, step.node.verb or "deploy")
        step.deadline = step.started + step.limit
        if step.job.result == "unchanged":
            self._owner.over(step, "unchanged")
            return
        try:
            changes = self._prepare(step, prior)
        except NotResolvedError as error:
            self._owner.over(step, "failed", replace(error.diagnostic, provider=step.lane.key))
            return
        if changes is None:
            self._unchanged(step, prior, self._live(step, prior))
            return
        match step.node.name:
            case "adopt":
                self._adopt(step, changes)
            case "undeploy":
                self._undeploy(step, prior)
            case "wait":
                self._wait(step, prior)
            case "deploy":
                self._deploy(step, prior)
            case "scale" | "update" as verb:
                live = self._live(step, prior)
                self._make(step, verb, prior, live, live.id if live is not None else None, changes)
                self._advance(step)

    def mark(self, step: Step) -> None:
        """Give the operation the mark of its next creating call."""
        step.intent_id = self._world.clock.new_id()
        if step.op is not None:
            step.op = replace(step.op, mark=f"reconciler:{self._world.lineage}/{step.address}/{step.intent_id}")

    def reread(self, step: Step, live: Live | None) -> None:
        """What a failed deployment is just before something is done about it: recovered, on its way, or still failed.

        One that can be started again is started when it came back in part, or stopped, too.
        """
        step.op = replace(step.operation, live=live)
        kind = HEALTH_KIND[live.health] if live is not None and not live.dormant else "out"
        tears = step.job.action.action == "replace"
        step.rereading = kind == "in"
        if live is not None:
            step.status, step.health = live.status, live.health
        if kind == "in":
            self._owner.park(step)
        elif kind == "steady" and live is not None and step.prior is not None and (tears or live.health == "ready"):
            self._recovered(step, step.prior, live)
        else:
            step.lane.waiting.pop(step.address, None)
            if step.node.name == "deploy":
                step.op = None
                self._build(step)
            else:
                step.op = replace(step.operation, looks=0)
                self._advance(step)

    def left(self, step: Step, live: Live | None) -> None:
        """Something on its way out stood in the way of a deploy; go on once it is gone."""
        if live is None or live.dormant:
            step.leaving = False
            step.lane.waiting.pop(step.address, None)
            self._make(step, "deploy", step.prior, live, live.id if live is not None else None)
            self._advance(step)

    # --- values -----------------------------------------------------------------------------------------------------
    def _prepare(self, step: Step, prior: Recorded | None) -> tuple[str, ...] | None:
        """Resolve what is wanted; the paths to change, or None where it turns out that nothing is to be done.

        Raises NotResolvedError. The first half of a replace that is certain needs no values yet.
        """
        action, job = step.job.action, step.job
        paths = tuple(change.path for change in action.changes)
        if action.desired is None or (step.node.name == "undeploy" and not action.may):
            return paths
        if job.desired is not None:
            return paths
        open_ = has_unknown(action.desired.spec)
        job.desired = self._world.values.resolve(action.desired)
        if not open_:
            return paths
        type_ = self._world.entries.types[job.desired.type]
        schema = self._world.entries.schemas[job.desired.type]
        check(job.desired, schema, type_, self._world.settings.get(action.provider, {}))
        if action.action not in ("scale", "update", "replace", "adopt"):
            return paths
        compared = needed(job.desired, self._live(step, prior), prior, schema, self._world.entries.digest_key)
        refuse_stronger(action, compared)
        if action.may and compared.strength == "none":
            refuse_failed(action)
            return None
        return tuple(change.path for change in compared.changes) or paths

    def _unchanged(self, step: Step, prior: Recorded | None, live: Live | None) -> None:
        """Nothing to send: write down what is so, and end the whole action."""
        job = step.job
        if job.desired is None and job.action.desired is not None:
            try:
                job.desired = self._world.values.resolve(job.action.desired)
            except NotResolvedError as error:
                self._owner.over(step, "failed", error.diagnostic)
                return
        if job.desired is not None and live is not None:
            generation = prior.generation if prior is not None else job.action.generation
            self._world.ledger.put(self._world.entries.settled(job.desired, live, prior, generation))
            job.id, job.health = live.id, live.health
        job.result = "unchanged"
        self._owner.over(step, "unchanged")

    def _recovered(self, step: Step, prior: Recorded, live: Live) -> None:
        """Its failure was all that asked for the action, and that is over: nothing to send."""
        now, pending = self._world.clock.now(), to_probe(step.job.action.desired, prior.pending)
        seen = replace(prior, computed=live.computed, health=live.health, status=live.status)
        self._world.ledger.put(replace(seen, pending=pending, updated_at=now))
        step.job.id, step.job.health, step.job.result = live.id, live.health, "unchanged"
        self._owner.over(step, "unchanged")

    # --- kinds of steps ---------------------------------------------------------------------------------------------
    def _deploy(self, step: Step, prior: Recorded | None) -> None:
        if not step.first or not self._read_again(step, prior):
            self._build(step)

    def _build(self, step: Step) -> None:
        """Bring it into being, once nothing of the same identity is on its way out any more."""
        if step.job.action.action == "replace":
            if step.job.action.create_first:
                step.job.old = step.prior
            step.prior = None  # it has been undeployed, or is the other one that stays until this one is ready
            live = self._dormant(step)
        else:
            live = self._live(step, step.prior)
            if self._is_another(step, live):
                step.prior, live = None, self._by_identity(step)
        if live is not None and live.health == "deleting" and not live.dormant:
            step.leaving = True
            step.status, step.health = live.status, live.health
            self._make(step, "undeploy", step.prior, live, live.id)
            self._owner.park(step)
            return
        self._make(step, "deploy", step.prior, live, live.id if live is not None else None)
        self._advance(step)

    def _undeploy(self, step: Step, prior: Recorded | None) -> None:
        if prior is None or (prior.id is None and not prior.created):
            self._world.ledger.drop(step.record)
            self._owner.over(step, "done")
            return
        if step.first and step.job.action.action == "replace" and self._read_again(step, prior):
            return
        live = self._live(step, prior)
        self._make(step, "undeploy", prior, live, live.id if live is not None else prior.id)
        self._advance(step)

    def _read_again(self, step: Step, prior: Recorded | None) -> bool:
        """Whether a failed deployment is read first: only where its failure is all that asks for the action.

        What a create-first replace derives anew asks for nothing by itself.
        """
        action = step.job.action
        derived = action.desired.derived if action.desired is not None and action.create_first else frozenset()
        if action.expected.health != "failed" or any(change.path not in derived for change in action.changes):
            return False
        live = self._live(step, prior)
        if action.address in self._world.forced or prior is None or live is None or prior.provider != action.provider:
            return False
        self._make(step, "undeploy", prior, live, live.id)
        step.rereading = True
        if step.lane.type.capabilities.read_by_id:
            step.turn += 1
            self._owner.ask(Request("read", step.lane, step, None, step.turn))
        else:
            self._owner.park(step)
        return True

    def _wait(self, step: Step, prior: Recorded | None) -> None:
        pending = prior.pending if prior is not None else None
        verb: Verb = pending.verb if pending is not None and pending.verb != "undeploy" else "deploy"
        live = self._live(step, prior)
        self._make(step, verb, prior, live, live.id if live is not None else None, self._scaling(step, verb))
        if live is not None:
            step.status, step.health = live.status, live.health
        self._advance(step)

    def _scaling(self, step: Step, verb: Verb) -> tuple[str, ...]:
        """What an unfinished scale is about: it has several steps at some providers, and a run may have ended between
        two of them."""
        desired = step.job.desired
        if verb != "scale" or desired is None:
            return ()
        schema = self._world.entries.schemas[desired.type]
        return tuple(name for name in desired.spec if schema.attribute(name).change == "scale")

    def _adopt(self, step: Step, changes: tuple[str, ...]) -> None:
        live = self._live(step, None)
        desired = step.job.desired
        if live is None or desired is None:
            missing = f"{step.address}: what it was to adopt is not there any more"
            self._owner.over(step, "failed", NotResolvedError.about(step.address, missing).diagnostic)
            return
        entry = self._world.entries.settled(desired, live, None, step.job.action.generation, adopted=True)
        step.prior = entry
        self._world.ledger.put(entry)
        step.job.id, step.job.health = live.id, live.health
        if not changes:
            self._owner.over(step, "done")
            return
        schema = self._world.entries.schemas[desired.type]
        strongest = max(RANK.get(schema.attribute(path).change, 0) for path in changes)
        self._make(step, "update" if strongest >= RANK["update"] else "scale", step.prior, live, live.id, changes)
        self._advance(step)

    # --- operations -------------------------------------------------------------------------------------------------
    def _make(
        self,
        step: Step,
        verb: Verb,
        prior: Recorded | None,
        live: Live | None,
        id_: str | None,
        changes: tuple[str, ...] = (),
    ) -> None:
        desired = step.job.desired
        spec: Mapping[str, Json] = plain(desired.spec) if desired is not None and verb != "undeploy" else {}
        step.op = Operation(
            verb=verb,
            address=step.address,
            mark="",
            desired=spec,
            prior=prior,
            live=live,
            changes=changes,
            id=id_ if id_ is not None else prior.id if prior is not None and verb != "deploy" else None,
            created=dict(prior.created) if prior is not None else {},
            removed=step.job.removed,
        )
        self.mark(step)

    def _live(self, step: Step, prior: Recorded | None) -> Live | None:
        """The live object of this step's deployment, as the refresh before this run saw it."""
        world = self._world
        if prior is not None:
            found = world.live.find(prior, world.entries.schemas[prior.type])
            if found is not None or step.node.name not in ("deploy", "adopt"):
                return found
        if step.job.action.id is not None and step.job.action.id in world.live.ids(step.lane.key):
            return world.live.ids(step.lane.key)[step.job.action.id]
        return self._by_identity(step)

    def _by_identity(self, step: Step) -> Live | None:
        """Something of the wanted identity: what is dormant or on its way out, or (adopt) what is live."""
        identity = self._identity(step)
        found = self._world.live.by_identity(step.lane.key, identity) if identity else ()
        if step.node.name == "adopt":
            return next((live for live in found if not live.dormant), None)
        passing = [live for live in found if live.dormant or live.health == "deleting"]
        return min(passing, key=lambda live: live.dormant) if passing else None

    def _dormant(self, step: Step) -> Live | None:
        """What the second half of a replace can wake up: what the first half left behind, or another one asleep."""
        left, identity = step.job.left, self._identity(step)
        if left is not None and left.dormant and step.job.left_at == step.lane.key and identity in left.identities:
            return left
        found = self._by_identity(step)
        return found if found is not None and found.dormant else None

    def _is_another(self, step: Step, live: Live | None) -> bool:
        """Whether what is wanted is another one than what the state holds, which has gone: at another provider, or of
        another identity (one thing may have several spellings)."""
        prior, identity = step.prior, self._identity(step)
        if prior is None:
            return False
        differs = identity not in (None, prior.identity) and (live is None or identity not in live.identities)
        return prior.provider != step.lane.key or differs

    def _identity(self, step: Step) -> str | None:
        wanted = step.job.desired
        return step.lane.type.identity(plain(wanted.spec)) if wanted is not None else None
