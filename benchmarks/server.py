"""A loopback stand-in for NeevCloud's deployment API, as cheap as a Python server gets: `server.py N [LATENCY_MS]`.

N deployments exist at the start (pages are rendered once); a create answers `ready` at once. Prints its port.
Counts requests: GET /_count.
"""

import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

COUNT = int(sys.argv[1])
LATENCY = float(sys.argv[2]) / 1000 if len(sys.argv) > 2 else 0.0
TIME = "2026-01-01T00:00:00Z"
LOCK = threading.Lock()


def model(number, body):
    name = body["name"]
    return {
        "id": f"dep-{number:06d}", "name": name, "project_id": "prj-1", "model_id": "meta-llama/Llama-3.1-8B-Instruct",
        "model_name": "Llama 3.1 8B", "region": body["region"], "status": "ready",
        "endpoint_url": f"https://{name}.inference.invalid/v1", "gpu_config_id": body["gpu_config_id"],
        "gpu_count": body["gpu_count"], "replicas": 1, "created_at": TIME, "updated_at": TIME, "uptime_seconds": 60,
    }  # fmt: skip


def seeded(number):
    return model(
        number, {"name": f"m{number:06d}", "region": "in-south-1", "gpu_config_id": "gpu-h100-80", "gpu_count": 1}
    )


ITEMS = [seeded(number) for number in range(COUNT)]
PAGES = {}
REQUESTS = {"GET": 0, "POST": 0, "DELETE": 0, "PUT": 0}


def page(number, limit):
    key = (number, limit, len(ITEMS))
    if key not in PAGES:
        total = len(ITEMS)
        part = ITEMS[(number - 1) * limit : number * limit]
        pages = max(1, -(-total // limit))
        paging = {"total_items": total, "total_pages": pages, "current_page": number, "items_per_page": limit}
        PAGES[key] = json.dumps({"items": part, "pagination": paging}).encode()
    return PAGES[key]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_arguments):
        pass

    def answer(self, status, body):
        head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/_count":
            return self.answer(200, json.dumps(REQUESTS).encode())
        REQUESTS["GET"] += 1
        time.sleep(LATENCY)
        query = parse_qs(url.query)
        if re.search(r"/aimodels$", url.path):
            return self.answer(200, page(int(query.get("page", ["1"])[0]), int(query.get("limit", ["20"])[0])))
        found = next((item for item in ITEMS if item["id"] == url.path.rsplit("/", 1)[1]), None)
        return self.answer(
            200 if found else 404, json.dumps(found or {"code": "not_found", "message": "none"}).encode()
        )

    def do_POST(self):
        REQUESTS["POST"] += 1
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(LATENCY)
        with LOCK:
            item = model(len(ITEMS), body)
            ITEMS.append(item)
        return self.answer(201, json.dumps(item).encode())


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
