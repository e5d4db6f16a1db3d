"""What several test files share. They cannot import it: a package named `tests` is installed beside ours."""

import importlib.util
import signal
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import pytest

hypothesis.settings.register_profile("shared-machine", deadline=None)  # its timings say nothing of the code
hypothesis.settings.load_profile("shared-machine")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As a shell starts what goes on in the background. In Dagster's hands SIGTERM is then ignored, too, and so it would
    # be by all processes that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_START_RAY = {
    "test_caption_integrity",
    "test_captions",
    "test_chaos",
    "test_cluster",
    "test_commands",
    "test_concept_clusters",
    "test_control_packages",
    "test_dashboard",
    "test_docs",
    "test_observability",
    "test_ray_engine",
    "test_same_rows",
    "test_semdedup",
    "test_stored_vectors",
    "test_vllm_captions",
}


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run side by side, a file's stay together, and no two Ray clusters are there at a time."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group("ray" if item.path.stem in _START_RAY else item.path.stem))


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_models() -> ModuleType:
    """Makers of tiny models: `tiny_models.py`."""
    return _module(Path(__file__).with_name("tiny_models.py"))


@pytest.fixture(scope="session")
def speaker() -> ModuleType:
    """`speaker.said("en-us", "A sentence.")` has its sound, and its words with their times: `proofs/speaker.py`."""
    return _module(Path(__file__).parents[1] / "benchmarks" / "proofs" / "speaker.py")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A model hub on loopback over `hub.folder`, and an empty store of models on this machine: `hub_server.py`."""
    server = _module(Path(__file__).with_name("hub_server.py")).HubServer(tmp_path / "hub")
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("CURATE_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub_cache"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`media("closed_gop.mp4")` is the path of a small video: see `gpu_kernels/media.py`."""
    return _module(Path(__file__).with_name("gpu_kernels") / "media.py").Media(tmp_path_factory.mktemp("media"))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A head and two worker nodes of two CPUs each, on loopback: `loopback_cluster.py`."""
    started = _module(Path(__file__).with_name("loopback_cluster.py")).LoopbackCluster(tmp_path_factory.mktemp("ray"))
    try:
        started.start()
        yield started
    finally:
        started.close()


@pytest.fixture
def traced_cluster(otlp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """One of its own, whose machines have the variables of `otlp`."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.url)
    started = _module(Path(__file__).with_name("loopback_cluster.py")).LoopbackCluster(tmp_path)
    try:
        started.start()
        yield started
    finally:
        started.close()


@pytest.fixture
def attached(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The cluster, for drivers that are this process."""
    for name, value in {**cluster.environment, "RAY_ADDRESS": cluster.address}.items():
        monkeypatch.setenv(name, value)
    yield cluster
    import ray

    ray.shutdown()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An S3 API on loopback: `s3_server.py`."""
    module = _module(Path(__file__).with_name("s3_server.py"))
    server = module.S3Server(tmp_path_factory.mktemp("s3"))
    server.proxy = module.FaultyProxy(server.port)
    yield server
    server.proxy.close()
    server.close()


@pytest.fixture
def s3(s3_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The server as the environment names it, behind a proxy that can misbehave: `s3.proxy.share = 0.2`."""
    for name, value in {**s3_server.keys, "AWS_ENDPOINT_URL": s3_server.proxy.url}.items():
        monkeypatch.setenv(name, value)
    yield s3_server
    s3_server.proxy.behave()


@pytest.fixture(scope="session")
def dagster_processes() -> Any:
    """Dagster's web server and daemon: `with dagster_processes(home, root) as dagster`, see `dagster_processes.py`."""
    return _module(Path(__file__).with_name("dagster_processes.py")).DagsterProcesses


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A PostgreSQL server on loopback: `postgres_server.py`. Skips where none is installed."""
    module = _module(Path(__file__).with_name("postgres_server.py"))
    if reason := module.missing():
        pytest.skip(reason)
    server = module.PostgresServer()
    yield server
    server.close()


@pytest.fixture
def kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Kubernetes API server's stand-in on loopback, which `KUBECONFIG` names: `kubernetes_api.py`."""
    folder = tmp_path / "kubernetes"
    folder.mkdir()
    api = _module(Path(__file__).with_name("kubernetes_api.py")).KubernetesApi(folder, "curation")
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
    yield api
    api.close()


@pytest.fixture
def operator(kubernetes: Any, tmp_path: Path) -> Iterator[Any]:
    """The stand-in's KubeRay operator, which runs jobs as processes of this machine."""
    folder = tmp_path / "operator"
    folder.mkdir()
    with _module(Path(__file__).with_name("kubernetes_api.py")).Operator(kubernetes, folder) as running:
        yield running


@pytest.fixture(scope="module")
def nursery() -> Iterator[Any]:
    """A decoding nursery with the default limits."""
    from gpu_kernels.sandbox import DecodingLimits, Nursery

    with Nursery(DecodingLimits()) as started:
        yield started


@pytest.fixture
def otlp() -> Iterator[Any]:
    """A receiver of traces; see `otlp_receiver.py`."""
    with _module(Path(__file__).with_name("otlp_receiver.py")).otlp_receiver() as received:
        yield received
