"""Clients that are programs: curl, Java, Node with fetch and axios, Golang."""

import os
import subprocess
from functools import cache
from pathlib import Path
from shutil import copytree, ignore_patterns
from tempfile import mkdtemp

from harness.requirements import require_programs
from tests.clients.upload import Answer, Client, Upload

FOLDER = Path(__file__).parent
NODE = FOLDER / "node"
TIMEOUT_S = 120


def run(*command: str, data: bytes = b"", cwd: Path | None = None, **environment: str) -> str:
    done = subprocess.run(
        command,
        input=data,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
        cwd=cwd,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def answer_of(output: str) -> Answer:
    """Read a line with the status, then the body."""
    status, _, text = output.partition("\n")
    return Answer(int(status), text)


def curl(*options: str) -> Client:
    def upload(url: str, sent: Upload) -> Answer:
        require_programs("curl")
        fields = [option for pair in sent.pairs for option in ("-F", pair)]
        return run_curl(url, *options, "-F", f"image=@{sent.picture}", *fields)

    return upload


def curl_from_stdin(url: str, sent: Upload) -> Answer:
    """Sends a form from standard input, whose length curl does not know."""
    require_programs("curl")
    body = form(sent, "--B")
    content_type = "Content-Type: multipart/form-data; boundary=--B"
    return run_curl(url, "-X", "POST", "-T", "-", "-H", content_type, data=body)


def run_curl(url: str, *options: str, data: bytes = b"") -> Answer:
    status = "%{stderr}%{http_code}"
    command = ("curl", "--silent", "--no-buffer", "--write-out", status, *options)
    done = subprocess.run(
        [*command, f"{url}/v1/ground"],
        input=data,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    return Answer(int(done.stderr), done.stdout.decode())


def form(sent: Upload, boundary: str) -> bytes:
    """Return the body of a form as browsers write it."""
    lines = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in sent.fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    end = f"\r\n--{boundary}--\r\n"
    return "".join([*lines, head]).encode() + sent.picture.read_bytes() + end.encode()


def java(length: str) -> Client:
    def upload(url: str, sent: Upload) -> Answer:
        require_programs("java", "javac")
        source = str(FOLDER / "java" / "Upload.java")
        return answer_of(run("java", source, length, url, str(sent.picture), *sent.pairs))

    return upload


def golang(length: str) -> Client:
    def upload(url: str, sent: Upload) -> Answer:
        require_programs("go")
        return answer_of(run(built_upload(), length, url, str(sent.picture), *sent.pairs))

    return upload


@cache
def built_upload() -> str:
    program = str(Path(mkdtemp(prefix="kosmos2-golang-")) / "upload")
    run("go", "build", "-o", program, str(FOLDER / "golang" / "upload.go"), GO111MODULE="off")
    return program


def node(script: str, kind: str) -> Client:
    def upload(url: str, sent: Upload) -> Answer:
        require_programs("node", "npm")
        source = str((folder_with_axios() if script == "axios.mjs" else NODE) / script)
        return answer_of(run("node", source, kind, url, str(sent.picture), *sent.pairs))

    return upload


@cache
def folder_with_axios() -> Path:
    """Return a copy of the folder with the packages of its lock file, outside of the project."""
    folder = Path(mkdtemp(prefix="kosmos2-axios-")) / "node"
    copytree(NODE, folder, ignore=ignore_patterns("node_modules"))
    run("npm", "ci", "--no-audit", "--no-fund", cwd=folder)
    return folder


PROGRAMS: dict[str, Client] = {
    "curl": curl(),
    "curl --http2": curl("--http2"),
    "curl, chunked": curl("-H", "Transfer-Encoding: chunked"),
    "curl, Expect: 100-continue": curl("-H", "Expect: 100-continue"),
    "curl -T -": curl_from_stdin,
    "Java HttpClient": java("known"),
    "Java HttpClient, chunked": java("unknown"),
    "Node fetch, Blob": node("fetch.mjs", "blob"),
    "Node fetch, typed Blobs": node("fetch.mjs", "typed"),
    "Node fetch, File": node("fetch.mjs", "file"),
    "axios, Blob": node("axios.mjs", "blob"),
    "axios, form-data stream": node("axios.mjs", "stream"),
    "Golang mime/multipart": golang("known"),
    "Golang mime/multipart, pipe": golang("unknown"),
}
