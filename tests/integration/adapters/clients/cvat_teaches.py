"""cvat-sdk fetches a task's export from a stand-in for CVAT, and the function asks with what it taught."""

import io
import json
import sys
import zipfile
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import cvat_sdk.auto_annotation as cvataa
from cvat_sdk.masks import decode_mask
from PIL import Image

from lexiseg_client import Client, LexisegError, cvat

url, folder = sys.argv[1], Path(sys.argv[2])
REQUEST = {
    "id": "export-1",
    "status": "finished",
    "message": "",
    "operation": {"type": "export:dataset", "target": "task", "name": None},
    "created_date": "2026-11-30T00:00:00Z",
}
asked: list[str] = []


class Tool(BaseHTTPRequestHandler):
    """The calls of an export, as CVAT answers them."""

    def do_GET(self) -> None:
        asked.append(f"{self.path.partition('?')[0]} {self.headers.get('Authorization')}")
        home = f"http://{self.headers['Host']}"
        answers: dict[str, Any] = {
            "/api/server/about": {"name": "", "description": "", "version": "2.80.0", "logo_url": "", "subtitle": ""},
            "/api/tasks/12": {
                "id": 12,
                "jobs": {"completed": 0, "validation": 0},
                "labels": {"url": home},
                "target_storage": None,
            },
            "/api/requests/export-1": REQUEST | {"result_url": f"{home}/file"},
        }
        path = self.path.partition("?")[0].rstrip("/") or "/"
        if path == "/file":
            self.answer(200, exported(), "application/zip")
        else:
            self.answer(200 if path in answers else 404, json.dumps(answers.get(path, {})).encode())

    def do_POST(self) -> None:
        asked.append(self.path)
        self.answer(202, b'{"rq_id": "export-1"}')

    def answer(self, status: int, content: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def exported() -> bytes:
    """All pictures of the task; the ones of `labels.json` have a shape."""
    labels: dict[str, list[int]] = json.loads((folder / "labels.json").read_text())
    content, images = io.BytesIO(), []
    with zipfile.ZipFile(content, "w") as archive:
        for number, path in enumerate(sorted(folder.glob("*.png"))):
            x0, y0, x1, y1 = labels.get(path.name, [0, 0, 0, 0])
            corners = f"{x0},{y0};{x1},{y0};{x1},{y1};{x0},{y1}"
            shape = f'<polygon label="gadget" points="{corners}" z_order="0"/>' if path.name in labels else ""
            images.append(f'<image id="{number}" name="{path.name}">{shape}</image>')
            archive.write(path, f"images/{path.name}")
        archive.writestr("annotations.xml", f"<annotations>{''.join(images)}</annotations>")
    return content.getvalue()


@dataclass
class Context(cvataa.DetectionFunctionContext):
    frame_name: str = ""
    conf_threshold: float | None = None
    conv_mask_to_poly: bool = False


tool = ThreadingHTTPServer(("127.0.0.1", 0), Tool)
Thread(target=tool.serve_forever, daemon=True).start()
host = f"http://127.0.0.1:{tool.server_port}"
functions = [cvat.create("gadget,sky", server=url, teach=12, host=host) for _ in range(2)]  # the second teaches anew
areas: dict[str, dict[str, int]] = {}
for path in sorted(folder.glob("*.png")):
    picture = Image.open(path)
    names = {label.id: label.name for label in functions[1].spec.labels}
    areas[path.name] = {
        names[shape.label_id]: int(
            decode_mask(shape.points, image_width=picture.width, image_height=picture.height).sum()
        )
        for shape in functions[1].detect(Context(path.name), picture)
    }
with Client(url) as client:
    head = client.heads.get("cvat-12")
    (folder / "labels.json").write_text("{}")  # nothing is labelled any more, so that nothing can be taught
    try:
        cvat.create("gadget,sky", server=url, teach=12, host=host)
    except LexisegError as error:
        refused = f"{type(error).__name__}: {error}"
    stays = client.heads.get("cvat-12").version == head.version
tool.shutdown()
report = {"areas": areas, "pictures": head.pictures, "keys": sorted(head.keys), "refused": refused, "stays": stays}
print(json.dumps(report | {"asked": asked}))
