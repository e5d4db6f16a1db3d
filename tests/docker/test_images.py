"""The images for real: built with buildah over a Debian that debootstrap makes, and tried with a read-only root.

`make images-test` builds all that are tried, `make test-deep` only the smaller one. No image is pulled from anywhere.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WANTED = os.environ.get("IMAGES", "control").split()
GB = 10**9
MOST_BYTES = {"control": 1.9 * GB, "worker": 3.8 * GB}
LEFT_OUT = (
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
    *(f"usr/share/{each}" for each in ("doc", "locale", "man")),
)
"""Of a fresh Debian, as in the small images of it."""

# In a mount namespace of its own, the image becomes a root that cannot be written to, but where pods can write as well.
READ_ONLY = r"""
set -eu
mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"
for folder in tmp home/curate dev; do mount -t tmpfs -o mode=1777 tmpfs "$1/$folder"; done
mkdir "$1/dev/shm" && mount -t tmpfs tmpfs "$1/dev/shm" && chmod 1777 "$1/dev/shm"
for device in null zero random urandom; do touch "$1/dev/$device" && mount --bind "/dev/$device" "$1/dev/$device"; done
mount --rbind /proc "$1/proc"
mount --bind "$2" "$1/data"
cd / && root="$1" && shift 2
exec chroot "$root" setpriv --reuid=1000 --regid=1000 --clear-groups \
    --bounding-set=-all --inh-caps=-all --no-new-privs -- "$@"
"""

pytestmark = [
    pytest.mark.deep,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        os.getuid() != 0 or not all(map(shutil.which, ("buildah", "debootstrap"))),
        reason="needs root, and Debian's packages buildah, crun and debootstrap",
    ),
]


class Engine:
    """Buildah with a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        settings = folder / "storage.conf"
        store = {"driver": '"overlay"', "graphroot": f'"{folder / "store"}"', "runroot": f'"{folder / "run"}"'}
        settings.write_text("\n".join(["[storage]", *(f"{key} = {value}" for key, value in store.items())]))
        (folder / "tmp").mkdir()
        self.environment = os.environ | {
            "BUILDAH_ISOLATION": "chroot",
            "CONTAINERS_STORAGE_CONF": str(settings),
            "TMPDIR": str(folder / "tmp"),
        }

    def __call__(self, *arguments: str) -> str:
        command = ["buildah", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True).stdout.strip()

    def size(self, image: str) -> float:
        """Bytes of an image, from what buildah says with three digits."""
        number, unit = self("images", "--format", "{{.Size}}", image).split()
        return float(number) * {"MB": 10**6, "GB": GB}[unit]


class Image:
    """An image that commands run in."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.name, self.bytes = name, engine.size(name)
        self.config: dict[str, Any] = json.loads(engine("inspect", "--type", "image", name))["OCIv1"]["config"]
        self.data = engine.folder / f"data-{name.rpartition('/')[2].partition(':')[0]}"
        self.data.mkdir()
        os.chown(self.data, 1000, 1000)
        self.root = Path(engine("mount", engine("from", name)))

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        told = [*self.config["Env"], *(f"{name}={value}" for name, value in variables.items())]
        shell = ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", str(self.root), str(self.data)]
        return subprocess.run([*shell, "/usr/bin/env", "-i", *told, *command], capture_output=True, text=True)

    def says(self, *command: str, **variables: str) -> str:
        done = self.run(*command, **variables)
        assert done.returncode == 0, (command, done.stdout[-4000:], done.stderr[-4000:])
        return done.stdout.strip()


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> Iterator[Engine]:
    """A store with a base image in it."""
    made = Engine(tmp_path_factory.mktemp("images"))
    root = made.folder / "debian"
    command = ["debootstrap", "--variant=minbase", "bookworm", str(root)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    for each in LEFT_OUT:
        shutil.rmtree(root / each, ignore_errors=True)
        (root / each).mkdir(parents=True)
    container = made("from", "scratch")
    made("add", container, str(root), "/")
    made("commit", "--rm", container, "localhost/debian:bookworm")
    shutil.rmtree(root)
    yield made
    made("rm", "--all")
    made("rmi", "--all", "--force")


def local_sources() -> list[str]:
    """Options by which a build reaches packages as this machine does: its certificates, and its folders of wheels."""
    options = ["--volume=/etc/ssl/certs:/mnt/certs:ro"]
    arguments = dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE"), "/mnt/certs/ca-certificates.crt")
    folders = [each for each in os.environ.get("PIP_FIND_LINKS", "").split() if Path(each).is_dir()]
    if folders:
        options += [f"--volume={each}:{each}:ro" for each in folders]
        arguments |= {"PIP_FIND_LINKS": " ".join(folders), "UV_FIND_LINKS": ",".join(folders)}
    return [*options, *(f"--build-arg={name}={value}" for name, value in arguments.items())]


@pytest.fixture(scope="module")
def images(engine) -> dict[str, Image]:
    """The wanted images, as `curate image build` makes them."""
    with_torch = "" if os.environ.get("PIP_FIND_LINKS") else "cpu"
    made: dict[str, Image] = {}
    for target in WANTED:
        began = time.monotonic()
        command = [sys.executable, "-m", "curate_cli.main", "image", "build", "--engine", "buildah", "--only", target]
        given = ["--tag", "test", "--torch", with_torch, "--build-arg", "BASE=localhost/debian:bookworm"]
        options = [f"--option={each}" for each in local_sources()]
        done = subprocess.run(
            [*command, *given, *options], cwd=ROOT, env=engine.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-4000:]
        assert yaml.safe_load(done.stdout)["images"][target] == {"repository": f"curate-graph-{target}", "tag": "test"}
        made[target] = Image(engine, f"curate-graph-{target}:test")
        print(f"\n{target}: {made[target].bytes / GB:.2f} GB, built in {time.monotonic() - began:.0f} s", flush=True)
    return made


@pytest.fixture(params=WANTED)
def image(images, request) -> Image:
    return images[request.param]


def test_images_are_small_enough(images):
    assert {name: each.bytes for name, each in images.items() if each.bytes > MOST_BYTES[name]} == {}


def test_an_image_is_no_more_than_it_has_to_be(image):
    assert image.config["User"] == "1000:1000" and image.config["Entrypoint"] == ["/usr/bin/tini", "--"]
    assert image.config["Labels"]["org.opencontainers.image.version"] == "test"
    assert not any(re.match("PIP_|SSL_|UV_", each) for each in image.config["Env"])
    assert image.says("bash", "--login", "-c", "id -u; id -g; which curate python dagster") == "\n".join(
        ["1000", "1000", "/usr/local/bin/curate", "/usr/local/bin/python", "/usr/local/bin/dagster"]
    )
    assert image.says("python", "-c", "import sys; print(sys.version_info[:2])") == "(3, 11)"
    assert image.run("touch", "/usr/local/new").returncode == 1, "the root is read-only"
    assert image.says("/usr/bin/tini", "--", "curate", "--version").startswith("curate ")
    setuid = subprocess.run(
        ["find", image.root, "-xdev", "-type", "f", "-perm", "/6000"], capture_output=True, text=True
    )
    assert setuid.stdout == ""


def test_the_bill_of_materials_names_what_is_installed(image):
    bill = json.loads(image.says("cat", "/usr/local/share/sbom/python.cdx.json"))
    names = {each["name"].lower(): each["version"].partition("+")[0] for each in bill["components"]}
    assert bill["bomFormat"] == "CycloneDX" and "curate-graph" in names
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    assert {name: version for name, version in names.items() if pinned.get(name, version) != version} == {}
    assert ("ray" in names) == ("control" not in image.name)


@pytest.mark.skipif("control" not in WANTED, reason="IMAGES leaves the control image out")
def test_control_processes_start_without_what_only_workers_need(images, kubernetes):
    control = images["control"]
    assert control.run("python", "-c", "import ray").returncode == 1
    (control.data / "kubeconfig").write_text(kubernetes.kubeconfig.read_text())
    (control.data / "cluster.yaml").write_text("headGroupSpec: {template: {spec: {containers: [{name: head}]}}}")
    for folder in ("root", "dagster"):
        (control.data / folder).mkdir()
    cluster = {"mode": "kuberay", "namespace": kubernetes.namespace, "kuberay_template": "/data/cluster.yaml"}
    (control.data / "root" / "curate.yaml").write_text(yaml.safe_dump({"cluster": cluster}))
    for path in control.data.rglob("*"):
        os.chown(path, 1000, 1000)
    variables = {"CURATE_ROOT": "/data/root", "KUBECONFIG": "/data/kubeconfig", "DAGSTER_HOME": "/data/dagster"}
    told = json.loads(control.says("curate", "doctor", "--json", **variables))
    assert [each for each in told["checks"] if each["status"] == "failed"] == []
    imports = "import curate_assets.orchestration.daemon, dagster_k8s, dagster_postgres, dagster_webserver.cli"
    control.says("python", "-c", imports, **variables)
    control.says("dagster", "definitions", "validate", "-m", "curate_assets.definitions", **variables)  # a code server


@pytest.mark.skipif("worker" not in WANTED, reason="IMAGES leaves the worker image out")
def test_a_worker_curates_the_demo(images):
    worker = images["worker"]
    (pinned,) = re.findall(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert worker.says("bash", "--login", "-c", "ray --version").endswith(pinned)
    assert worker.says("ffmpeg", "-version").startswith("ffmpeg version")
    began = time.monotonic()
    told = json.loads(worker.says("curate", "demo", "--root", "/data/demo", "--json"))
    print(f"\ndemo in the worker: {time.monotonic() - began:.0f} s", flush=True)
    assert [each for each in told["outcomes"] if each["error"]] == []
    found = json.loads(worker.says("curate", "doctor", "--root", "/data/demo/curate-data", "--json"))
    assert [each for each in found["checks"] if each["status"] == "failed"] == []
