"""Controllers: small networks that NEAT evolves, their structure and weights."""

import configparser
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from livn_ipp.errors import ConfigError
from livn_ipp.extras import extra
from livn_ipp.search.records import Candidate

__all__ = ["Controller", "Controllers", "Neat"]

_SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "NEAT": {
        "fitness_criterion": "max",
        "fitness_threshold": 0,
        "no_fitness_termination": True,  # who searches says when to end
        "reset_on_extinction": True,
    },
    "DefaultGenome": {
        "activation_default": "sigmoid",
        "activation_mutate_rate": 0.0,
        "activation_options": "sigmoid",
        "aggregation_default": "sum",
        "aggregation_mutate_rate": 0.0,
        "aggregation_options": "sum",
        "bias_init_mean": 0.0,
        "bias_init_stdev": 1.0,
        "bias_max_value": 30.0,
        "bias_min_value": -30.0,
        "bias_mutate_power": 1.0,
        "bias_mutate_rate": 0.7,
        "bias_replace_rate": 0.1,
        "compatibility_disjoint_coefficient": 1.0,
        "compatibility_weight_coefficient": 0.5,
        "conn_add_prob": 0.5,
        "conn_delete_prob": 0.2,
        "enabled_default": True,
        "enabled_mutate_rate": 0.01,
        "feed_forward": True,
        "initial_connection": "full_direct",
        "node_add_prob": 0.3,
        "node_delete_prob": 0.1,
        "num_hidden": 0,
        "response_init_mean": 1.0,
        "response_init_stdev": 0.0,
        "response_max_value": 30.0,
        "response_min_value": -30.0,
        "response_mutate_power": 0.0,
        "response_mutate_rate": 0.0,
        "response_replace_rate": 0.0,
        "weight_init_mean": 0.0,
        "weight_init_stdev": 2.0,
        "weight_max_value": 30.0,
        "weight_min_value": -30.0,
        "weight_mutate_power": 2.0,
        "weight_mutate_rate": 0.8,
        "weight_replace_rate": 0.1,
    },
    "DefaultSpeciesSet": {"compatibility_threshold": 5.0},
    "DefaultStagnation": {
        "species_fitness_func": "max",
        "max_stagnation": 20,
        "species_elitism": 2,
    },
    "DefaultReproduction": {
        "elitism": 1,  # as many species as networks must be possible
        "survival_threshold": 0.2,
        "min_species_size": 1,
    },
}


class Controllers:
    """The space of feed-forward networks, for ``algorithm="neat"``.

    Parameters
    ----------
    inputs, outputs
        Numbers of inputs and outputs.
    **settings
        Of neat-python, by the names of its configuration file, such as
        ``activation_default="tanh"`` or ``node_add_prob=0.1``.

    Raises
    ------
    ConfigError
        If a number is not positive, or a setting is unknown.

    Examples
    --------
    >>> Controllers(2, 1, node_add_prob=0.1)
    Controllers(2, 1, node_add_prob=0.1)
    """

    def __init__(self, inputs: int, outputs: int, **settings: Any) -> None:
        counts: dict[str, Any] = {"inputs": inputs, "outputs": outputs}
        for name, count in counts.items():
            if not isinstance(count, int) or count < 1:
                raise ConfigError(f"{name} must be a positive number, not {count!r}")
        known = {name for section in _SETTINGS.values() for name in section}
        if unknown := sorted(settings.keys() - known):
            raise ConfigError(f"unknown settings {unknown}; there are {sorted(known)}")
        self.inputs = inputs
        self.outputs = outputs
        self.settings = settings

    def told(self) -> dict[str, str]:
        """Describe the space, for comparison and display."""
        return {"networks": repr(self)}

    def __repr__(self) -> str:
        more = "".join(f", {n}={v!r}" for n, v in sorted(self.settings.items()))
        return f"Controllers({self.inputs}, {self.outputs}{more})"


class Controller:
    """A feed-forward network; what an objective is given of a candidate of NEAT.

    Parameters
    ----------
    candidate
        The network as data.

    Examples
    --------
    >>> node = [0, "identity", "sum", 0.5, 1.0, [[-1, 2.0]]]
    >>> Controller({"inputs": [-1], "outputs": [0], "nodes": [node]})([3.0])
    [6.5]
    """

    def __init__(self, candidate: Mapping[str, Any]) -> None:
        self.candidate = dict(candidate)
        self._network: Any = None

    @property
    def hidden(self) -> int:
        """Number of hidden nodes."""
        outputs = self.candidate["outputs"]
        return sum(node[0] not in outputs for node in self.candidate["nodes"])

    @property
    def connections(self) -> int:
        """Number of connections."""
        return sum(len(node[-1]) for node in self.candidate["nodes"])

    def __call__(self, inputs: Sequence[float]) -> list[float]:
        """Return the outputs for some inputs."""
        if self._network is None:
            self._network = self._built()
        return [float(value) for value in self._network.activate(list(inputs))]

    def _built(self) -> Any:
        neat = extra("neat", "search")
        activations = neat.activations.ActivationFunctionSet()
        aggregations = neat.aggregations.AggregationFunctionSet()
        nodes = [
            (key, activations.get(act), aggregations.get(join), bias, response, links)
            for key, act, join, bias, response, links in self.candidate["nodes"]
        ]
        ends = self.candidate["inputs"], self.candidate["outputs"]
        return neat.nn.FeedForwardNetwork(*ends, nodes)

    def __reduce__(self) -> Any:
        return Controller, (self.candidate,)

    def __repr__(self) -> str:
        return f"Controller({self.hidden} hidden, {self.connections} connections)"


class Neat:
    """NeuroEvolution of Augmenting Topologies, by neat-python.

    Parameters
    ----------
    space, population_size, seed
        As :class:`livn_ipp.search.Search` takes them, the space one of controllers.

    Raises
    ------
    ConfigError
        If the space or a setting does not fit.
    MissingExtra
        If the package neat-python is not installed.
    """

    def __init__(self, space: Controllers, population_size: int, seed: int) -> None:
        if not isinstance(space, Controllers):
            raise ConfigError(
                "algorithm='neat' searches networks: space=Controllers(inputs, outputs)"
            )
        neat = extra("neat", "search")
        self._config = _configuration(neat, space, population_size)
        self._network = neat.nn.FeedForwardNetwork
        self._state = random.Random(seed).getstate()
        with self._own_randomness():
            self._population = neat.Population(self._config)

    def ask(self) -> list[Candidate]:
        """Return the present population."""
        return [self._data(each) for each in self._population.population.values()]

    def tell(
        self, candidates: Sequence[Candidate], losses: Sequence[float | None]
    ) -> None:
        """Let the fitter ones have offspring; those without a value count as worst."""
        del candidates
        worst = max(loss for loss in losses if loss is not None)
        genomes = self._population.population.values()
        for genome, loss in zip(genomes, losses, strict=True):
            genome.fitness = -(worst if loss is None else loss)
        with self._own_randomness():
            self._population.run(lambda *_: None, 1)

    @staticmethod
    def phenotype(candidate: Candidate) -> Controller:
        """Make the network that the objective is given."""
        return Controller(candidate)

    def _data(self, genome: Any) -> Candidate:
        """Write down the network that a genome makes, and nothing that it does not."""
        built = self._network.create(genome, self._config)
        nodes = [
            [
                key,
                genome.nodes[key].activation,
                genome.nodes[key].aggregation,
                bias,
                response,
                [list(link) for link in links],
            ]
            for key, _, _, bias, response, links in built.node_evals
        ]
        ends = {"inputs": built.input_nodes, "outputs": built.output_nodes}
        return {name: list(keys) for name, keys in ends.items()} | {"nodes": nodes}

    @contextmanager
    def _own_randomness(self) -> Iterator[None]:
        """Lend neat-python, which uses Python's one generator, a state of its own."""
        theirs = random.getstate()
        random.setstate(self._state)
        try:
            yield
        finally:
            self._state = random.getstate()
            random.setstate(theirs)


def _configuration(neat: Any, space: Controllers, population_size: int) -> Any:
    parser = configparser.ConfigParser()
    for section, defaults in _SETTINGS.items():
        values = {n: space.settings.get(n, default) for n, default in defaults.items()}
        parser[section] = {name: str(value) for name, value in values.items()}
    parser["NEAT"]["pop_size"] = str(population_size)
    parser["DefaultGenome"]["num_inputs"] = str(space.inputs)
    parser["DefaultGenome"]["num_outputs"] = str(space.outputs)
    parts = (
        neat.DefaultGenome,
        neat.DefaultReproduction,
        neat.DefaultSpeciesSet,
        neat.DefaultStagnation,
    )
    with tempfile.NamedTemporaryFile("w", suffix=".ini") as file:
        parser.write(file)
        file.flush()
        try:
            return neat.Config(*parts, file.name)
        except Exception as error:
            raise ConfigError(f"neat-python refuses the settings: {error}") from error
