"""torch.nn.LSTM: cuDNN and one CUDA graph a step on a GPU, oneDNN on a CPU, both as torch chooses."""

import itertools
from collections.abc import Callable

import torch
from shapes import RATE, VOCAB, WINDOWS, Shape
from torch import nn

__all__ = ["build"]


class LanguageModel(nn.Module):
    """Embedding, LSTM layers, head; all of one width in one nn.LSTM, so that cuDNN may overlap its layers."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, shape.embedding)
        if len(set(shape.hidden)) == 1:
            self.lstms = nn.ModuleList([nn.LSTM(shape.embedding, shape.hidden[0], len(shape.hidden))])
        else:
            widths = (shape.embedding, *shape.hidden)
            self.lstms = nn.ModuleList([nn.LSTM(i, o) for i, o in itertools.pairwise(widths)])
        self.head = nn.Linear(shape.hidden[-1], VOCAB)
        if shape.tied:
            self.head.weight = self.embed.weight
        for weight in self.parameters():
            nn.init.uniform_(weight, -0.1, 0.1)

    def carries(
        self, batch: int, device: torch.device, dtype: torch.dtype
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Zeros (h, c), [L, B, H] for each nn.LSTM."""
        return [
            tuple(
                torch.zeros(lstm.num_layers, batch, lstm.hidden_size, device=device, dtype=dtype)
                for _ in range(2)
            )
            for lstm in self.lstms
        ]

    def forward(self, tokens, carries):
        """Tokens [T, B] -> logits [T, B, V], carries."""
        x, after = self.embed(tokens), []
        for lstm, carry in zip(self.lstms, carries, strict=True):
            x, carry = lstm(x, carry)
            after.append(carry)
        return self.head(x), after


def build(shape: Shape, precision: str) -> tuple[Callable[[int], float], str]:
    """See `contestants`."""
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    model = LanguageModel(shape).to(device, dtype)
    weights = list(model.parameters())
    optimizer = torch.optim.SGD(weights, lr=RATE)
    data = torch.randint(0, VOCAB, (WINDOWS, shape.window + 1, shape.batch), device=device)
    window = data[0].clone()
    carries = model.carries(shape.batch, device, dtype)

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        logits, after = model(window[:-1], carries)
        nats = nn.functional.cross_entropy(
            logits.view(-1, VOCAB).float(), window[1:].reshape(-1), reduction="sum"
        )
        value = nats / shape.batch
        value.backward()
        nn.utils.clip_grad_norm_(weights, 5.0)
        optimizer.step()
        with torch.no_grad():  # into the same buffers: a graph reads and writes fixed places
            for carry, new in zip(carries, after, strict=True):
                for old, now in zip(carry, new, strict=True):
                    old.copy_(now)
        return value.detach()

    how = f"torch {torch.__version__}, CPU, {torch.get_num_threads()} threads"
    if device.type == "cuda":
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            captured = step()

        def advance() -> torch.Tensor:
            graph.replay()
            return captured

        device_name, cudnn = torch.cuda.get_device_name(), torch.backends.cudnn.version()
        how = f"torch {torch.__version__}, {device_name}, cuDNN {cudnn}, CUDA graph"
    else:
        advance = step
    done = [0]

    def run(steps: int) -> float:
        for _ in range(steps):
            window.copy_(data[done[0] % WINDOWS])
            value = advance()
            done[0] += 1
        return float(value) / shape.window

    return run, how
