"""Our layers and language models as the state dicts of PyTorch's, and back, in NumPy.

Torch is not imported: `model.load_state_dict({k: torch.tensor(v) for k, v in state.items()})`.

PyTorch adds two biases to every gate, one beside each product; ours is their sum. On the way in the two are
merged; on the way out ours is in bias_ih and bias_hh is zeros, but for the candidate of a GRU, whose two do
not merge. Plain SGD then moves torch's sum of biases twice as fast as our one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstm_jax.cells.spec import parse_options
from lstm_jax.compat.leaves import LAYOUTS, Weights, fit, from_weights, to_weights
from lstm_jax.support.errors import UserError
from lstm_jax.support.notation import Params
from lstm_jax.support.registry import lookup

__all__ = [
    "MODULES",
    "layers_from_torch",
    "layers_to_torch",
    "model_from_torch",
    "model_to_torch",
    "module_of",
]

MODULES = {"lstm": "LSTM", "projected_lstm": "LSTM", "gru": "GRU", "elman": "RNN", "irnn": "RNN"}
"""The module of torch.nn with the equations of a cell; LSTM with proj_size for the projected one."""

ACTIVATIONS = {"LSTM": {"tanh"}, "GRU": {"tanh"}, "RNN": {"tanh", "relu"}}
"""What each has in the place of a cell's option `activation`; all have sigmoid for `gate_activation`."""


def module_of(cell: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """The module of torch.nn with the equations of a cell, and its keyword arguments beside the sizes.

    Args:
      cell: the config section `model.cell`.

    Raises:
      UserError: PyTorch has no such cell, or has it with other activations.
    """
    name, options = cell["name"], parse_options(cell.get("options", ""), "model.cell.options")
    if name not in MODULES:
        raise UserError(
            f"PyTorch has no cell {name!r}: it has {', '.join(MODULES)}; with --layout=lstm_jax any cell can "
            "be written, for this project to read"
        )
    module = MODULES[name]
    activation = options.get("activation", "relu" if name == "irnn" else "tanh")
    for option, value, has in (
        ("activation", activation, ACTIVATIONS[module]),
        ("gate_activation", options.get("gate_activation", "sigmoid"), {"sigmoid"}),
    ):
        if value not in has:
            raise UserError(
                f"torch.nn.{module} has no {option}={value}, only {', '.join(sorted(has))}; with "
                "--layout=lstm_jax it can be written, for this project to read"
            )
    return module, {"nonlinearity": str(activation)} if module == "RNN" else {}


def layers_to_torch(layers: Sequence[Params], cell: str = "lstm") -> dict[str, np.ndarray]:
    """The state dict of `torch.nn.LSTM(D, H, len(layers))`, or of the module of another cell of MODULES.

    weight_ih_lK [G H, D], weight_hh_lK [G H, H], bias_ih_lK [G H] = b, and bias_hh_lK = 0 (its last H: `b_h`
    of a GRU); for projected layers also weight_hr_lK [P, H], and weight_hh_lK is [4 H, P].

    Args:
      layers: parameters, one dict a layer, from the input up; all of the same H.
      cell: a name of MODULES.

    Raises:
      UserError: parameters of another cell, or layers that differ in H.
    """
    lookup(MODULES, cell, "cell for PyTorch")
    state, sizes = {}, []
    for layer, params in enumerate(layers):
        weights = to_weights(params, cell)
        sizes.append(weights.w_h.shape[2])
        state[f"weight_ih_l{layer}"] = np.ascontiguousarray(weights.w_x.reshape(len(weights.w_x), -1).T)
        state[f"weight_hh_l{layer}"] = np.ascontiguousarray(weights.w_h.reshape(len(weights.w_h), -1).T)
        state[f"bias_ih_l{layer}"] = weights.b.reshape(-1)
        state[f"bias_hh_l{layer}"] = weights.b_h.reshape(-1)
        if weights.w_p is not None:
            state[f"weight_hr_l{layer}"] = np.ascontiguousarray(weights.w_p.T)
    if len(set(sizes)) > 1:
        raise UserError(
            f"torch.nn.{MODULES[cell]} has one hidden size, these layers {sizes}: convert them one by one"
        )
    return state


def layers_from_torch(
    state: Mapping[str, Any],
    *,
    input_dim: int,
    hidden: int,
    layers: int = 1,
    cell: str = "lstm",
    projection: int | None = None,
    source: str = "",
) -> tuple[Params, ...]:
    """Parameters of a cell, one dict a layer, from the state dict of a torch.nn.LSTM, GRU or RNN.

    Args:
      state: name -> array or torch tensor, of any floating-point dtype, trainable or not; names may all begin
        with "module.", as DataParallel writes them.
      input_dim: D of the first layer.
      hidden: H.
      layers: L.
      cell: a name of MODULES.
      projection: P of `projected_lstm`, torch's proj_size.
      source: what the weights are, for messages; "": torch and the module's name.

    Raises:
      UserError: a leaf is missing, unknown (a projection, a reverse direction), or of another shape.
    """
    module = lookup(MODULES, cell, "cell for PyTorch")
    gates, projected = len(LAYOUTS[cell].gates), LAYOUTS[cell].projected
    if projected != (projection is not None):
        raise UserError(f"cell {cell!r} {'needs' if projected else 'has no'} projection, torch's proj_size")
    width = projection if projection is not None else hidden
    wanted: dict[str, tuple[int, ...]] = {}
    for layer in range(layers):
        wanted[f"weight_ih_l{layer}"] = (gates * hidden, input_dim if layer == 0 else width)
        wanted[f"weight_hh_l{layer}"] = (gates * hidden, width)
        wanted[f"bias_ih_l{layer}"] = wanted[f"bias_hh_l{layer}"] = (gates * hidden,)
        if projected:
            wanted[f"weight_hr_l{layer}"] = (width, hidden)
    leaves = fit(_arrays(state), wanted, source or f"torch {module}")

    def weights(layer: int) -> Weights:
        return Weights(
            leaves[f"weight_ih_l{layer}"].T.reshape(-1, gates, hidden),
            leaves[f"weight_hh_l{layer}"].T.reshape(-1, gates, hidden),
            leaves[f"bias_ih_l{layer}"].reshape(gates, hidden),
            leaves[f"bias_hh_l{layer}"].reshape(gates, hidden),
            leaves[f"weight_hr_l{layer}"].T if projected else None,
        )

    return tuple(from_weights(weights(layer), cell) for layer in range(layers))


def model_to_torch(params: Params, model: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The state dict of a whole model, with the names of the RNNModel of pytorch/examples' language model.

    encoder.weight [V, E] (token inputs only), rnn.* as `layers_to_torch`, decoder.weight [O, H] and
    decoder.bias [O]; tied, decoder.weight is encoder.weight once more.

    Args:
      params: of `models.recurrent`.
      model: its config section `model`.

    Raises:
      UserError: a model that PyTorch cannot be: another model or cell, layers of several widths, zoneout
        (which mixes the old state in when evaluated, too), frozen biases (which nothing in the state dict
        would tell from the others, on the way back).
    """
    if model.get("name", "recurrent") != "recurrent" or set(params) - {"embedding", "layers", "head"}:
        raise UserError(
            f"the model {model.get('name')!r} with {', '.join(params)} has no like in pytorch/examples: only "
            "an embedding, recurrent layers of one direction and a head can be written for PyTorch"
        )
    for name in ("zoneout_cell", "zoneout_hidden"):
        if model.get("dropout", {}).get(name):
            raise UserError(
                f"model.dropout.{name}={model['dropout'][name]}: PyTorch has no zoneout, which changes what "
                "the model computes when evaluated, too; --layout=lstm_jax can write it"
            )
    module_of(model["cell"])
    for index, layer in enumerate(params["layers"]):
        if "b_fixed" in layer:
            raise UserError(
                f"layers/{index}/b_fixed: PyTorch has no frozen biases, and what is written could not be "
                "read back; --layout=lstm_jax can write it"
            )
    state = {}
    if "embedding" in params:
        state["encoder.weight"] = np.asarray(params["embedding"], np.float32)
    layers = layers_to_torch(params["layers"], model["cell"]["name"])
    state |= {f"rnn.{name}": leaf for name, leaf in layers.items()}
    weight = params["head"]["w"].T if "w" in params["head"] else params["embedding"]
    state["decoder.weight"] = np.ascontiguousarray(weight, np.float32)
    return state | {"decoder.bias": np.asarray(params["head"]["b"], np.float32)}


def cell_of(layer: Params) -> str:
    """The cell of MODULES with the leaves of this layer. Raises UserError where none has.

    The simple networks have the same leaves: "elman" stands for both.
    """
    gates = np.shape(layer.get("w_x", ()))[1:2]
    for cell, layout in LAYOUTS.items():
        leaves = {
            "w_x",
            "w_h",
            "b",
            *(["b_h"] if layout.apart else []),
            *(["w_p"] if layout.projected else []),
        }
        if set(layer) == leaves and gates == (len(layout.gates),):
            return cell
    if "b_fixed" in layer:
        raise UserError(
            "layers/0/b_fixed: PyTorch has no frozen biases; set model.cell.forget_bias_trainable=True to "
            "read its weights, or write and read with --layout=lstm_jax"
        )
    raise UserError(
        f"a layer with the leaves {', '.join(sorted(layer))} is none of PyTorch's, which has "
        f"{', '.join(MODULES)}; with --layout=lstm_jax any cell can be written and read"
    )


def model_from_torch(state: Mapping[str, Any], like: Params, source: str = "torch model") -> Params:
    """Parameters of the structure of `like` from the state dict that `model_to_torch` describes.

    A tied model may have encoder.weight or decoder.weight alone, as `safetensors.torch.save_model` leaves it.

    Args:
      state: name -> array.
      like: parameters of `models.recurrent`, or their shapes.
      source: what the weights are, for messages.

    Raises:
      UserError: a leaf is missing, unknown, or of another shape; or two that should be tied differ; or `like`
        is of another model.
    """
    if not {"layers", "head"} <= set(like) <= {"embedding", "layers", "head"}:
        raise UserError(
            f"a model with {', '.join(sorted(like))} is none of PyTorch's: only an embedding, recurrent "
            "layers of one direction and a head are read; with --layout=lstm_jax any model can be written"
        )
    first, tied = like["layers"][0], "w" not in like["head"]
    cell = cell_of(first)
    widths = [layer["w_x"].shape[2] for layer in like["layers"]]
    if len(set(widths)) > 1:
        raise UserError(
            f"torch.nn.{MODULES[cell]} has one hidden size, and this model {widths}: set one width"
        )
    outputs = like["head"]["b"].shape[0]
    last = like["embedding"].shape[1] if tied else like["head"]["w"].shape[0]
    wanted = {"decoder.weight": (outputs, last), "decoder.bias": (outputs,)}
    if "embedding" in like:
        wanted = {"encoder.weight": tuple(like["embedding"].shape), **wanted}
    state = _arrays(state)
    outer = {name: leaf for name, leaf in state.items() if not name.startswith("rnn.")}
    outer = fit(_with_both(outer, source) if tied else outer, wanted, source)
    layers = layers_from_torch(
        {name.removeprefix("rnn."): leaf for name, leaf in state.items() if name.startswith("rnn.")},
        input_dim=first["w_x"].shape[0],
        hidden=widths[0],
        layers=len(widths),
        cell=cell,
        projection=first["w_p"].shape[1] if "w_p" in first else None,
        source=f"{source}, rnn",
    )
    head = {"b": outer["decoder.bias"]}
    if not tied:
        head["w"] = np.ascontiguousarray(outer["decoder.weight"].T)
    params: dict[str, Any] = {"layers": layers, "head": head}
    return params | ({"embedding": outer["encoder.weight"]} if "embedding" in like else {})


def _arrays(state: Mapping[str, Any]) -> dict[str, Any]:
    """The state with tensors as float32 arrays, and without the prefix "module." where every name has it."""
    shared = all(name.startswith("module.") for name in state)
    return {
        name.removeprefix("module.") if shared else name: (
            leaf.detach().cpu().float().numpy()
            if hasattr(leaf, "detach") and leaf.is_floating_point()
            else leaf
        )
        for name, leaf in state.items()
    }


def _with_both(state: Mapping[str, Any], source: str) -> Mapping[str, Any]:
    """The state of a tied model with both names of its one weight. Raises UserError where the two differ."""
    names = [name for name in ("encoder.weight", "decoder.weight") if name in state]
    shapes = [tuple(np.shape(state[name])) for name in names]
    if len(names) == 2 and shapes[0] == shapes[1] and not np.array_equal(*(state[name] for name in names)):
        raise UserError(
            f"{source}: encoder.weight {shapes[0]} and decoder.weight {shapes[1]} differ, and this model is "
            "tied: set model.tied=False"
        )
    one = {name: state[names[0]] for name in ("encoder.weight", "decoder.weight")} if names else {}
    return {**one, **state}
