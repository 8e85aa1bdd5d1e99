"""The plans behind the golden files, built as values: the name of a case is the name of its folder."""

from __future__ import annotations

from dataclasses import replace

from reconciler.diagnostics import Diagnostic, Span
from reconciler.model import Desired
from reconciler.plan import Action, Change, Cost, CostTotal, Drift, Plan, PlanOptions, Refusal, StateChange, Unmanaged

LINEAGE = "5f0c3a52-6c1e-4a3b-9f43-0d9d6a1f2b77"


def _desired(address: str, provider: str, **spec: object) -> Desired:
    return Desired(address, provider, provider.partition(".")[0], spec)


def _deploy(address: str) -> Action:
    return Action(
        address,
        "nugen",
        "deploy",
        "not deployed yet",
        name=address,
        changes=(
            Change("alignment_id", None, "align-7d1"),
            Change("early", None, False),
        ),
        desired=_desired(address, "nugen", alignment_id="align-7d1", early=False),
    )


EMBEDDER = _deploy("embedder")

CHAT = Action(
    "chat",
    "neevcloud",
    "scale",
    "replicas 1 → 4",
    id="dep-1",
    name="chat",
    depends_on=("embedder",),
    changes=(Change("replicas", 1, 4),),
    hourly_cost=Cost(2.5, 10.0, "USD"),
    desired=_desired("chat", "neevcloud", name="chat", gpu_count=1, plan_id="plan-h100-ondemand", replicas=4),
)

BIG = Action(
    'big["eu"]',
    "neevcloud",
    "replace",
    "gpu_config_id can't be changed in place",
    id="dep-2",
    name="big-eu",
    changes=(
        Change("gpu_config_id", "gpu-h100-80", "gpu-h200-141", forces_replacement=True),
        Change(
            "config.extra_args",
            ["--max-model-len", "8192", "--gpu-memory-utilization", "0.9"],
            ["--max-model-len", "16384"],
            forces_replacement=True,
        ),
        Change("config.env.HF_TOKEN", None, None, sensitive=True, forces_replacement=True),
    ),
    hourly_cost=Cost(2.5, 4.0, "USD"),
    desired=_desired('big["eu"]', "neevcloud", name="big-eu", gpu_config_id="gpu-h200-141", gpu_count=1, config={}),
)

RERANK = Action(
    "rerank",
    "opensearch",
    "update",
    "may change: ${deployments.chat.endpoint_url}",
    id="mdl-5",
    name="rerank",
    depends_on=("chat",),
    changes=(
        Change("connector.parameters.endpoint", "https://old.example/v1", None, unknown=True),
        Change("deploy_setting.model_ttl_minutes", 30, 60, note="serving is interrupted while the model is redeployed"),
        Change("description", None, "reranks the answers"),
    ),
    may=True,
    desired=_desired("rerank", "opensearch", name="rerank", connector={}, deploy_setting={}, function_name="remote"),
)

OLD = Action(
    "old", "neevcloud", "undeploy", "no longer declared", id="dep-7", name="old", hourly_cost=Cost(2.5, 0.0, "USD")
)
TAKEN = Action("taken", "modelstudio", "adopt", "adopt: true, and live", id="qwen-plus-x1", name="taken")
LOST = Action("lost", "nugen", "forget", "no longer declared, and gone", name="lost")


def _same(address: str, *notes: str) -> Action:
    return Action(address, "neevcloud", "none", "", id=f"id-{address}", name=address, notes=notes)


EVERYTHING = Plan(
    "support-bots",
    LINEAGE,
    7,
    actions=(
        EMBEDDER,
        CHAT,
        replace(BIG, notes=("the old one stops serving before the new one is ready",)),
        RERANK,
        TAKEN,
        OLD,
        LOST,
        _same("steady"),
        _same("arriving", "live status is INITIALIZING: on its way to what is desired, apply waits for it"),
    ),
    state_changes=(
        StateChange("neevcloud", "scope", "scope", "https://a.example", "https://b.example"),
        StateChange("rerank", "accept", "connector.credential.key", "(sensitive)", "(sensitive)"),
        StateChange("assistant", "moved", "", "helper", "assistant"),
        StateChange("chat", "lifecycle", "lifecycle.prevent_undeploy", False, True),
        StateChange("", "outputs", "chat_url", None, "https://chat.example/v1"),
    ),
    drift=(
        Drift("chat", "changed", "replicas", 2, 1),
        Drift("rerank", "missing", "status", "ready", None, note="expired or undeployed by hand (TTL 30 min)"),
        Drift("neevcloud", "not_compared", "config.env, plan_id", None, None, note="not returned by the provider"),
        Drift("arriving", "not_compared", "status", "ready", "pending", note="in transition (INITIALIZING)"),
    ),
    unmanaged=(Unmanaged("neevcloud", "dep-9", "old", "ready"), Unmanaged("nugen", "gen-3", "gen-3", "on")),
    warnings=(
        Diagnostic(
            "presence is `always`, but the provider undeploys it after 30 idle minutes",
            severity="warning",
            span=Span("reconciler.yaml", 31, 7),
            address="rerank",
            hint="set `presence: on_demand`",
        ),
    ),
    notes=("the last run was killed while it deployed chat; it was found as dep-1 and recorded",),
    costs=(CostTotal(7.5, 14.0, "USD", unknown_before=2, unknown_after=3),),
    looked_at=("modelstudio", "neevcloud", "nugen", "opensearch"),
    ignored=1,
)  # fmt: skip

FIRST = Plan(
    "first",
    None,
    0,
    actions=(
        EMBEDDER,
        Action(
            "search",
            "opensearch",
            "deploy",
            "not deployed yet",
            name="search",
            depends_on=("embedder",),
            changes=(
                Change("connector.credential.key", None, None, sensitive=True),
                Change("connector.parameters.endpoint", None, None, unknown=True),
                Change("connector.parameters.stop", None, ["</s>", "\n"]),
                Change("function_name", None, "remote"),
                Change("is_enabled", None, True),
            ),
        ),
    ),
    costs=(CostTotal(0.0, 0.0, "", unknown_after=2),),
    looked_at=("nugen", "opensearch"),
)

EMPTY = Plan(
    "quiet",
    LINEAGE,
    12,
    actions=tuple(_same(f"chat-{n}") for n in range(3)),
    costs=(CostTotal(7.5, 7.5, "USD"),),
    looked_at=("neevcloud",),
)

REFUSED = Plan(
    "support-bots",
    LINEAGE,
    8,
    actions=tuple(replace(OLD, address=f"old-{n}", id=f"dep-{n}", name=f"old-{n}") for n in range(4)),
    refused=(
        Refusal("many_undeploys", "4 of 4 managed deployments would be undeployed; --allow-undeploys 4 lifts this"),
        Refusal("max_hourly_cost", "the plan costs 140.00 USD/h, the limit is 120.00 USD/h (limits.max_hourly_cost)"),
    ),
    costs=(CostTotal(10.0, 0.0, "USD"), CostTotal(3.0, 3.0, "CNY")),
    unmanaged=tuple(Unmanaged("neevcloud", f"dep-{n}", f"stray-{n}", "ready") for n in range(20, 32)),
    looked_at=("neevcloud",),
)

TARGETED = Plan(
    "support-bots",
    LINEAGE,
    7,
    actions=(CHAT, _same("steady")),
    costs=(CostTotal(2.5, 10.0, "USD"),),
    looked_at=("neevcloud",),
    skipped=("modelstudio", "nugen", 'big["eu"]', "rerank"),
    options=PlanOptions(target=("chat", 'ste*["x y"]'), allow_undeploys=3),
    sandbox=True,
)

UNREADABLE = Plan(
    "support-bots",
    LINEAGE,
    7,
    actions=(_same("steady"),),
    unreadable=(
        Diagnostic(
            "403 Forbidden: the key lacks the right to list models",
            provider="modelstudio",
            request_id="7b1e-42",
            detail="GET /api/v1/deployments answered 403",
            hint="check DASHSCOPE_API_KEY",
        ),
        Diagnostic("503 Service Unavailable after 4 tries", provider="neevcloud", address="chat"),
    ),
    looked_at=("neevcloud",),
)

DESTROY = Plan(
    "support-bots",
    LINEAGE,
    7,
    actions=(OLD, replace(OLD, address="embedder", depends_on=("old",), id="dep-8", name="embedder")),
    costs=(CostTotal(5.0, 0.0, "USD"),),
    looked_at=("neevcloud",),
    options=PlanOptions(destroy=True),
)

ATTACK = (
    "\x1b[2J\x1b]0;owned\x07</code></details><script>alert(1)</script><!-- --> ```\n# heading\n::add-mask::x\r"
    "[link](javascript:x) **bold** @team #1 | cell ${{ secrets.X }} ##[error]x \u202egnp.exe \u200b\x9b31m\ud800 \\| \\"
)
HOSTILE = Plan(
    "hostile",
    LINEAGE,
    1,
    actions=(
        Action(
            f'a["{ATTACK}"]',
            f"p.{ATTACK}",
            "update",
            ATTACK,
            id=ATTACK,
            name=ATTACK,
            depends_on=(ATTACK,),
            changes=(
                Change(ATTACK, ATTACK, [ATTACK, {ATTACK: ATTACK}], note=ATTACK),
                Change("long", "a" * 2000 + "b", "a" * 2000 + "c"),
            ),
            hourly_cost=Cost(1.0, 2.0, ATTACK),
            notes=(ATTACK,),
        ),
    ),
    state_changes=(StateChange(ATTACK, ATTACK, ATTACK, ATTACK, ATTACK + "x"),),
    drift=(Drift(ATTACK, "changed", ATTACK, ATTACK, ATTACK + "x", note=ATTACK),),
    unmanaged=(Unmanaged(ATTACK, ATTACK, ATTACK + "n", ATTACK),),
    refused=(Refusal(ATTACK, ATTACK),),
    warnings=(Diagnostic(ATTACK, severity="warning", detail=ATTACK, hint=ATTACK, address=ATTACK),),
    unreadable=(Diagnostic(ATTACK, detail=ATTACK, hint=ATTACK, provider=ATTACK, request_id=ATTACK),),
    notes=(ATTACK,),
    costs=(CostTotal(1.0, 2.0, ATTACK),),
    looked_at=(ATTACK,),
    skipped=(ATTACK,),
)

PLANS = {
    "destroy": DESTROY,
    "empty": EMPTY,
    "everything": EVERYTHING,
    "first": FIRST,
    "hostile": HOSTILE,
    "refused": REFUSED,
    "targeted": TARGETED,
    "unreadable": UNREADABLE,
}
