"""Desired-state files for measuring: N regular NeevCloud deployments that the stand-in server knows as m000000 …"""

from pathlib import Path

HEAD = """version: 1
stack: bench
providers:
  neevcloud: {{org_id: org-1, project_id: prj-1, endpoint: "{endpoint}", max_concurrency: {concurrency}}}
deployments:
"""
ITEM = """  m{number:06d}:
    provider: neevcloud
    spec:
      catalog_id: meta-llama-Llama-3.1-8B-Instruct
      region: in-south-1
      gpu_config_id: gpu-h100-80
      gpu_count: 1
      plan_id: plan-h100-ondemand
      replicas: 1
      config:
        max_model_len: {length}
        max_num_seqs: {seqs}
    {adopt}
"""


def write(folder: Path, count: int, endpoint: str, *, adopt: bool, concurrency: int = 10) -> Path:
    """Write `reconciler.yaml` with `count` deployments of 420 shapes; `adopt` takes over what is live."""
    folder.mkdir(parents=True, exist_ok=True)
    items = (
        ITEM.format(number=n, length=4096 + n % 42, seqs=64 + n % 10, adopt=f"adopt: {str(adopt).lower()}")
        for n in range(count)
    )
    path = folder / "reconciler.yaml"
    path.write_text(HEAD.format(endpoint=endpoint, concurrency=concurrency) + "".join(items))
    return path
