"""The floor of a plan: `floor.py FILE BASE_URL`. Fetches the same pages, drains libyaml's events, compares; no more."""

import http.client
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import yaml

PATH = "/api/v1beta1/orgs/org-1/projects/prj-1/aimodels"


def main(file: str, base: str) -> None:
    url = urlsplit(base)
    local: dict[int, http.client.HTTPConnection] = {}

    def fetch(page: int) -> dict:
        import threading

        key = threading.get_ident()
        connection = local.get(key) or http.client.HTTPConnection(url.hostname or "", url.port)
        local[key] = connection
        connection.request("GET", f"{url.path}{PATH}?page={page}&limit=100")
        return json.loads(connection.getresponse().read())

    with ThreadPoolExecutor(10) as pool:
        first = fetch(1)
        rest = pool.map(fetch, range(2, first["pagination"]["total_pages"] + 1))
        with open(file) as stream:
            events = sum(1 for _ in yaml.parse(stream, Loader=yaml.CLoader))
        items = {item["name"]: item for part in [first, *rest] for item in part["items"]}
    wanted = {name: (item["region"], item["gpu_count"]) for name, item in items.items()}
    same = sum(1 for name, item in items.items() if wanted[name] == (item["region"], item["gpu_count"]))
    sys.stdout.write(f"{events} events, {same} equal\n")


main(sys.argv[1], sys.argv[2])
