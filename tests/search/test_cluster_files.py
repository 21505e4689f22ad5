"""`cluster.yaml` and `clusters/`: what Ray, AWS and KubeRay publish about such files holds for ours, and they agree."""

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import ray
import yaml  # type: ignore[import-untyped]
from ray.autoscaler._private.util import prepare_config, validate_config

REPOSITORY = Path(__file__).resolve().parents[2]
CLOUDS = ("cluster.yaml", "clusters/gcp.yaml")
#: For `ray up`; the file for hosts of one's own is tried for real by tests/cluster.
FOR_RAY_UP = tuple(name for name in (*CLOUDS, "clusters/onprem.yaml") if name in CLOUDS or (REPOSITORY / name).exists())
KUBERAY = "clusters/kuberay.yaml"
DOCS = (REPOSITORY / "docs" / "cluster.md").read_text()
BLOCKS: list[str] = re.findall(r"^```\n(.*?)^```$", DOCS, re.M | re.S)
BELOW = "---- Nothing below needs a change"
COMMANDS = ("setup_commands", "head_setup_commands", "head_start_ray_commands", "worker_start_ray_commands")
#: Where searches and where MLflow's files go.
PLACES = {
    "cluster.yaml": ("s3://BUCKET/dermtune", "s3://BUCKET/mlartifacts"),
    "clusters/gcp.yaml": ("gs://BUCKET/dermtune", "gs://BUCKET/mlartifacts"),
    "clusters/onprem.yaml": ("/mnt/dermtune", "/mnt/dermtune/.mlflow"),
}
PORTS = {"Ray": "6379", "dashboard": "8265", "MLflow": "5000"}

for_ray_up = pytest.mark.parametrize("name", FOR_RAY_UP)
for_all = pytest.mark.parametrize("name", [*FOR_RAY_UP, KUBERAY])


class OneOfEach(yaml.SafeLoader):  # type: ignore[misc]
    """Refuses what YAML forbids and PyYAML lets pass: the same key twice, where the last one wins."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"the same key twice in {keys}"
        return dict(super().construct_mapping(node, deep))


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.load_all((REPOSITORY / name).read_text(), Loader=OneOfEach))


def config(name: str) -> dict[str, Any]:
    (only,) = documents(name)
    return only


def of_kind(kind: str) -> dict[str, Any]:
    (only,) = (document for document in documents(KUBERAY) if document["kind"] == kind)
    return only


def commands(name: str, *lists: str) -> list[str]:
    return [command for key in lists or COMMANDS for command in config(name).get(key, [])]


def programs(home: Path, **bodies: str) -> None:
    """Stand-ins for programs, found first by `shell`."""
    (home / "bin").mkdir()
    for program, body in bodies.items():
        (home / "bin" / program).write_text(f"#!/bin/bash\n{body}\n")
        (home / "bin" / program).chmod(0o755)


def shell(command: str, *, home: Path, **environment: str) -> str:
    """What a command prints, on a node whose home is `home`."""
    path = f"{home / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-eu", "-c", command],
        cwd=home,
        env={"HOME": str(home), "PATH": path, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


def fenced(containing: str) -> str:
    """The one block of commands on the page that contains a text."""
    (block,) = (block for block in BLOCKS if containing in block)
    return block


# What others publish.


@for_ray_up
def test_rays_own_schema_accepts_the_file(name: str) -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    assert [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(config(name))] == []


@for_ray_up
def test_ray_ups_parser_accepts_the_file(name: str) -> None:
    prepared = prepare_config(config(name))
    validate_config(prepared)
    assert prepared["cluster_name"] == "dermtune"
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in " ".join(prepared["head_start_ray_commands"])


@pytest.mark.parametrize("name", CLOUDS)
def test_workers_scale_from_none_and_the_head_takes_no_trials(name: str) -> None:
    prepared = prepare_config(config(name))
    head = prepared["available_node_types"].pop(prepared["head_node_type"])
    (workers,) = prepared["available_node_types"].values()
    assert (head["max_workers"], head["resources"]) == (0, {"CPU": 0})
    assert (workers["min_workers"], workers["max_workers"]) == (0, prepared["max_workers"])
    assert prepared["provider"]["cache_stopped_nodes"] is True
    assert prepared["idle_timeout_minutes"] == 5
    # The same Ubuntu, so the same Python, on both.
    images = re.findall(r"(?:ImageId|sourceImage): (\S+)", (REPOSITORY / name).read_text())
    assert [bool(re.search(r"24\.?04", image)) for image in images] == [True, True]


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """boto3 before a stand-in for AWS in this process, where the page's two profiles exist."""
    moto = pytest.importorskip("moto", reason="needs moto, a stand-in for AWS")
    boto3 = pytest.importorskip("boto3")
    (tmp_path / ".ssh").mkdir()
    known = {"HOME": str(tmp_path), "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    with moto.mock_aws():
        for profile in ("dermtune-head", "dermtune-worker"):
            boto3.client("iam").create_instance_profile(InstanceProfileName=profile)
        yield boto3


@pytest.mark.timeout(60)  # 3 to 6 s, and more on a busy machine
@pytest.mark.filterwarnings("ignore")  # moto's and boto's own
def test_rays_provider_opens_ssh_alone_on_aws_and_finds_a_stopped_head_again(aws: Any) -> None:
    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    found = bootstrap_aws(prepare_config(config("cluster.yaml")))
    ec2, provider = aws.client("ec2"), AWSNodeProvider(found["provider"], found["cluster_name"])
    rules = [rule for group in ec2.describe_security_groups()["SecurityGroups"] for rule in group["IpPermissions"]]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in rules if rule["IpRanges"] or rule["Ipv6Ranges"]] == [(22, 22)]

    def launch(kind: str, node: str) -> list[str]:
        tags = {"ray-node-type": kind, "ray-user-node-type": node, "ray-launch-config": "same", "ray-node-name": node}
        return list(provider.create_node(dict(found["available_node_types"][node]["node_config"]), tags, 1))

    (head,), (worker,) = launch("head", "head"), launch("worker", "gpu")
    described = {one["InstanceId"]: one for group in ec2.describe_instances()["Reservations"] for one in group["Instances"]}
    profiles = {node: one["IamInstanceProfile"]["Arn"].rpartition("/")[2] for node, one in described.items()}
    assert profiles == {head: "dermtune-head", worker: "dermtune-worker"}
    assert (described[head].get("InstanceLifecycle"), described[worker]["InstanceLifecycle"]) == (None, "spot")
    provider.non_terminated_nodes({})
    provider.terminate_nodes([head])
    assert launch("head", "head") == [head]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ray_counts_the_gpus_of_the_machine_on_aws(aws: Any) -> None:
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    filled = AWSNodeProvider.fillout_available_node_types_resources(prepare_config(config("cluster.yaml")))
    found = {name: node["resources"] for name, node in filled["available_node_types"].items()}
    assert found["head"] == {"CPU": 0}
    assert (found["gpu"]["GPU"], found["gpu"]["accelerator_type:L4"]) == (1, 1)


def unknown_fields(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    """Fields that the API server would drop without a word."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from unknown_fields(item, schema.get("items", {}), f"{path}[{number}]")
    elif isinstance(value, dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        known, free = schema.get("properties", {}), schema.get("additionalProperties")
        for key, inner in value.items():
            if key not in known and not free:
                yield f"{path}.{key}"
            elif path or key != "metadata":  # a document's own metadata are the API server's, not the schema's
                yield from unknown_fields(inner, known.get(key) or (free if isinstance(free, dict) else {}), f"{path}.{key}")


@pytest.mark.parametrize("kind", ["RayCluster", "RayJob"])
def test_kuberays_schema_accepts_the_document_and_knows_every_field(kind: str, shared_data: Path) -> None:
    schema = json.loads((shared_data / "schemas" / f"{kind.lower()}s.v1.schema.json").read_text())
    document = of_kind(kind)
    assert document["apiVersion"] == "ray.io/v1"
    assert [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(document)] == []
    assert list(unknown_fields(document, schema, "")) == []


def test_the_operators_rules_that_no_schema_states() -> None:
    """KubeRay refuses a token without a version of Ray, and autoscaler v2 with pods that restart."""
    spec = of_kind("RayCluster")["spec"]
    pods = [spec["headGroupSpec"]["template"]["spec"], *(group["template"]["spec"] for group in spec["workerGroupSpecs"])]
    assert f"ray=={spec['rayVersion']}" in (REPOSITORY / "constraints.txt").read_text().splitlines()
    assert f"FROM rayproject/ray:{spec['rayVersion']}-" in DOCS
    assert spec["enableInTreeAutoscaling"] is True
    assert all("restartPolicy" not in pod for pod in pods)
    assert [group["minReplicas"] for group in spec["workerGroupSpecs"]] == [0]
    assert spec["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}
    assert {container["image"] for pod in pods for container in pod["containers"]} == {"REGISTRY/dermtune:0.1.0"}


def test_the_documents_for_kubernetes_name_each_other() -> None:
    kinds = [document["kind"] for document in documents(KUBERAY)]
    assert kinds == ["RayCluster", "PersistentVolumeClaim", "NetworkPolicy", "RayJob"]
    cluster = of_kind("RayCluster")
    labels = {"ray.io/cluster": cluster["metadata"]["name"]}
    assert of_kind("RayJob")["spec"]["clusterSelector"] == labels
    policy = of_kind("NetworkPolicy")["spec"]
    assert policy["podSelector"] == {"matchLabels": labels}
    assert all(peer["podSelector"]["matchLabels"] for rule in policy["ingress"] for peer in rule["from"])
    (volume,) = cluster["spec"]["headGroupSpec"]["template"]["spec"]["volumes"]
    assert volume["persistentVolumeClaim"] == {"claimName": of_kind("PersistentVolumeClaim")["metadata"]["name"]}


# What they say alike.


@for_all
def test_all_that_is_the_users_stands_at_the_top_and_is_marked(name: str) -> None:
    lines = (REPOSITORY / name).read_text().splitlines()
    (end,) = (number for number, line in enumerate(lines) if BELOW in line)
    marked = {number for number, line in enumerate(lines) if "# FILL IN" in line}
    assert len(marked) >= 4
    assert max(marked) < end
    placeholders = {number for number, line in enumerate(lines) if re.search(r"\b(BUCKET|PROJECT|REGISTRY)\b|192\.0\.2\.", line)}
    assert placeholders <= marked | {number + 1 for number in marked}
    assert any("FILL IN" in line for line in lines[:4])


def test_what_gcp_wants_said_twice_is_said_alike() -> None:
    found = config("clusters/gcp.yaml")
    provider, nodes = found["provider"], [kind["node_config"] for kind in found["available_node_types"].values()]
    assert provider["availability_zone"].rsplit("-", 1)[0] == provider["region"]
    (disks,) = {disk["initializeParams"]["diskType"] for node in nodes for disk in node["disks"]}
    assert disks == f"zones/{provider['availability_zone']}/diskTypes/pd-balanced"
    accounts = [account["email"] for node in nodes for account in node["serviceAccounts"]]
    assert accounts == [f"dermtune-{who}@{provider['project_id']}.iam.gserviceaccount.com" for who in ("head", "worker")]


@for_ray_up
def test_every_start_has_the_token_and_listens_only_where_it_must(name: str) -> None:
    text = (REPOSITORY / name).read_text()
    starts = commands(name, "head_start_ray_commands", "worker_start_ray_commands")
    assert config(name)["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert all(command.startswith(". ~/.dermtune.env; ") for command in starts)
    (head,) = (command for command in starts if "ray start --head" in command)
    assert "--dashboard-host=127.0.0.1" in head
    assert f"--port={PORTS['Ray']}" in head
    assert f"--address=$RAY_HEAD_IP:{PORTS['Ray']}" in starts[-1]
    (mlflow,) = (command for command in starts if "mlflow server" in command)
    assert f"--host 127.0.0.1 --port {PORTS['MLflow']}" in mlflow
    assert "0.0.0.0" not in text


def test_on_kubernetes_the_token_is_on_and_nothing_is_open_outside() -> None:
    spec = of_kind("RayCluster")["spec"]
    head = spec["headGroupSpec"]
    assert spec["authOptions"] == {"mode": "token"}
    assert head["serviceType"] == "ClusterIP"
    assert not {"enableIngress", "ingressOptions", "headService"} & set(head)
    (mlflow,) = head["template"]["spec"]["initContainers"]
    assert mlflow["restartPolicy"] == "Always"
    assert f"--host 127.0.0.1 --port {PORTS['MLflow']}" in mlflow["args"][0]
    environment = {entry["name"]: entry["value"] for entry in head["template"]["spec"]["containers"][0]["env"]}
    assert environment["MLFLOW_TRACKING_URI"] == f"http://127.0.0.1:{PORTS['MLflow']}"
    assert environment["DERMTUNE_STORAGE"] == "s3://BUCKET/dermtune"


@for_all
def test_no_secret_is_in_the_file(name: str) -> None:
    text, names = json.dumps(documents(name)), r"(?i:password|access_key|auth_token)"
    assert not re.search(rf'AKIA[A-Z0-9]{{12}}|PRIVATE KEY|{names}(\W{{1,3}}|", "value": ")(?![~\W])', text)


@for_ray_up
def test_the_files_that_are_sent_are_what_an_installation_needs(name: str) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    needed = {package.split(".")[0] for package in project["tool"]["setuptools"]["packages"]}
    needed |= {
        "pyproject.toml",
        "constraints.txt",
        "benchmarks",
        project["project"]["readme"],
        *project["project"]["license-files"],
    }
    sent = {remote: local for remote, local in config(name)["file_mounts"].items() if not remote.startswith("~/.ray/")}
    if sent != {"~/dermtune": "."}:
        assert sent == {f"~/dermtune/{path}": path for path in needed}
    assert all((REPOSITORY / path).exists() for path in sent.values())
    assert {".git", ".venv", "runs", "build", "*.egg-info", "__pycache__"} <= set(config(name)["rsync_exclude"])
    installs = [command for command in commands(name) if "pip install" in command]
    assert installs
    assert all("-c ~/dermtune/constraints.txt" in command for command in installs)


# Their commands.


def parses(command: str) -> bool:
    return subprocess.run(["bash", "-n"], input=command, capture_output=True, text=True).returncode == 0


@for_ray_up
def test_every_command_parses_as_ray_wraps_it(name: str) -> None:
    assert [command for command in commands(name) if not parses(f"true && ({command})")] == []


@for_ray_up
def test_a_head_set_up_twice_starts_ray_with_the_token_and_one_mlflow(name: str, tmp_path: Path) -> None:
    home = tmp_path / "a home"
    home.mkdir()
    (home / ".bashrc").write_text("# theirs\n")
    programs(
        home,
        ray='echo "$@ with $RAY_AUTH_MODE, threads ${OMP_NUM_THREADS-unset}" >> "$HOME/ray"',
        # Until the test's end; the port answers as soon as the server runs.
        mlflow='echo "$@" >> "$HOME/mlflow-asked"; while test ! -e "$HOME/end"; do /bin/sleep 0.02; done',
        python='test -e "$HOME/mlflow-asked"',
        sleep="/bin/sleep 0.02",
    )
    writing = [c for c in commands(name, "setup_commands", "head_setup_commands") if c.startswith(("echo ", "grep "))]
    try:
        for command in writing * 2 + commands(name, "head_start_ray_commands") * 2:
            shell(f"set +eu; ({command})", home=home, OMP_NUM_THREADS="1")
    finally:
        (home / "end").touch()
    assert (home / ".bashrc").read_text() == "# theirs\n. ~/.dermtune.env\n"
    told = shell('. ~/.bashrc; echo "$PATH"; echo "$MLFLOW_TRACKING_URI"; echo "$DERMTUNE_STORAGE"', home=home).splitlines()
    assert told[0].startswith(f"{home}/dermtune-venv/bin:")
    assert told[1:] == [f"http://127.0.0.1:{PORTS['MLflow']}", PLACES[name][0]]
    started = [line for line in (home / "ray").read_text().splitlines() if line.startswith("start --head")]
    assert len(started) == 2
    assert all(("with token, threads unset" if name in CLOUDS else "with token,") in line for line in started)
    (asked,) = (home / "mlflow-asked").read_text().splitlines()
    assert f"--backend-store-uri sqlite:///{home}/mlflow/mlflow.db --artifacts-destination {PLACES[name][1]}" in asked


def test_the_pods_commands_read_the_bucket_from_the_storage(tmp_path: Path) -> None:
    (mlflow,) = of_kind("RayCluster")["spec"]["headGroupSpec"]["template"]["spec"]["initContainers"]
    programs(tmp_path, mlflow='echo "$@"', dermtune='echo "$@"')
    said = {"DERMTUNE_STORAGE": "s3://bucket/dermtune"}
    assert "--artifacts-destination s3://bucket/mlartifacts\n" in shell(mlflow["args"][0], home=tmp_path, **said)
    searched = shell(of_kind("RayJob")["spec"]["entrypoint"], home=tmp_path, **said)
    assert searched == "search gated --data derm7pt:s3://bucket/release_v0 --name first\n"


# The page.


def test_the_page_names_every_file_and_port_and_its_commands_parse() -> None:
    assert all(f"`{name}`" in DOCS for name in (*CLOUDS, "clusters/onprem.yaml", KUBERAY))
    assert all(f"({port}" in DOCS.partition("## Who can reach what")[2] for port in PORTS.values())
    assert all((REPOSITORY / "benchmarks" / f"{name}.py").exists() for name in re.findall(r"benchmarks/(\w+)\.py", DOCS))
    assert len(BLOCKS) >= 5
    assert [block for block in BLOCKS if not parses(block)] == []


def test_the_pages_roles_are_those_of_the_file_for_aws(tmp_path: Path) -> None:
    found = config("cluster.yaml")
    nodes = {kind: node["node_config"] for kind, node in found["available_node_types"].items()}
    programs(tmp_path, aws='echo "$@" >> "$HOME/calls"; echo 123456789012')
    shell(fenced("machines.json"), home=tmp_path)
    policies = {file.stem: json.loads(file.read_text())["Statement"] for file in tmp_path.glob("*.json")}
    assert set(policies) == {"trust", "bucket", "machines"}
    calls = (tmp_path / "calls").read_text().splitlines()
    profiles = {re.findall(r"--instance-profile-name (\S+)", call)[0] for call in calls if "create-instance-profile" in call}
    assert profiles == {node["IamInstanceProfile"]["Name"] for node in nodes.values()}
    machines = {action: one for one in policies["machines"] for action in [one["Action"]] if isinstance(action, str)}
    assert machines["iam:PassRole"]["Resource"].endswith(f":role/{nodes['gpu']['IamInstanceProfile']['Name']}")
    assert machines["ec2:RunInstances"]["Condition"] == {
        "StringEquals": {"aws:RequestedRegion": found["provider"]["region"]},
        "StringEqualsIfExists": {"ec2:InstanceType": nodes["gpu"]["InstanceType"]},
    }
    (ours,) = (one for one in policies["machines"] if "ec2:TerminateInstances" in one["Action"])
    assert ours["Condition"] == {"StringEquals": {"aws:ResourceTag/ray-cluster-name": found["cluster_name"]}}
    assert [one["Resource"] for one in policies["bucket"]] == ["arn:aws:s3:::my-bucket", "arn:aws:s3:::my-bucket/*"]
    given = {call.split("--role-name ")[1].split()[0] for call in calls if "file://machines.json" in call}
    assert given == {nodes["head"]["IamInstanceProfile"]["Name"]}


def test_the_pages_accounts_are_those_of_the_files() -> None:
    assert "for name in dermtune-head dermtune-worker" in fenced("gcloud storage buckets create")
    spec = of_kind("RayCluster")["spec"]
    (worker,) = (group["template"]["spec"]["serviceAccountName"] for group in spec["workerGroupSpecs"])
    for account in (spec["headGroupSpec"]["template"]["spec"]["serviceAccountName"], worker):
        assert f"kubectl create serviceaccount {account}\n" in DOCS
