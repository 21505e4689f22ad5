"""Commands, one Ray for all tests of a process that do not ask how Ray starts or ends, and one recorded search of each task."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from commands import CommandClient, Here, Shell
from recorded import Recorded, record
from waiting import PATIENCE_S, wait_until

FOLDER = Path(__file__).parent
#: Ray, MLflow and SQLAlchemy leave sockets and connections to the garbage collector, and warn of each other.
_OF_OTHERS = (
    *("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests here bear with what the libraries warn of, and slow ones with a machine that does other things."""
    for item in items:
        if FOLDER in item.path.parents:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.timeout(2 * PATIENCE_S))
            for warning in _OF_OTHERS:
                item.add_marker(pytest.mark.filterwarnings(warning))


class OneRay:
    """Ray in this process, started when it is first asked for; every search that is run here finds it and leaves it running."""

    def __init__(self) -> None:
        self._running, self._num_gpus = ExitStack(), -1

    def ensure(self, num_gpus: int = 0) -> None:
        """Starts it, or starts it anew where it runs with another number of GPUs, which Ray only counts."""
        if self._num_gpus == num_gpus:
            return
        self.stop()
        if num_gpus:
            self._running.enter_context(_ray_with_gpus(num_gpus))
        else:
            from search.execution.processes import imports
            from search.execution.ray_session import ray_session

            self._running.enter_context(ray_session(None, imports("bowl")))
        self._num_gpus = num_gpus

    def stop(self) -> None:
        """Ends it."""
        self._running.close()
        self._num_gpus = -1


@contextmanager
def _ray_with_gpus(num_gpus: int) -> Iterator[None]:
    import ray

    ray.init(num_cpus=4, num_gpus=num_gpus, include_dashboard=False, object_store_memory=200 * 2**20, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def one_ray() -> Iterator[OneRay]:
    """Ray of this test process, not started yet."""
    made = OneRay()
    yield made
    made.stop()


@pytest.fixture
def ray_here(one_ray: OneRay, own_cache: Path) -> None:
    """Ray runs in this process."""
    one_ray.ensure()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory whose path has a space."""
    made = tmp_path / "a folder"
    made.mkdir()
    return made


@pytest.fixture
def here(folder: Path, own_cache: Path, ray_here: None) -> Here:
    """Commands in this process."""
    return Here(folder, {"DERMTUNE_CACHE": str(own_cache)})


@pytest.fixture(scope="session")
def client() -> Iterator[CommandClient]:
    """The server that forks commands; it imports for seconds, once."""
    made = CommandClient()
    yield made
    made.close()


@pytest.fixture
def shell(folder: Path, own_cache: Path, client: CommandClient) -> Iterator[Shell]:
    """Commands in processes of their own."""
    made = Shell(folder, {"DERMTUNE_CACHE": str(own_cache)}, client)
    yield made
    made.close()


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory, one_ray: OneRay) -> Callable[[str], Recorded]:
    """The recorded search of a task; the first test that asks for it, in whichever process, makes it for all."""
    base = tmp_path_factory.getbasetemp()
    return lambda task: record(task, base.parent if "PYTEST_XDIST_WORKER" in os.environ else base, one_ray.ensure)


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool], str], None]:
    """`wait_until`, for tests."""
    return wait_until


@pytest.fixture
def unused_port() -> int:
    """A port of this machine that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
