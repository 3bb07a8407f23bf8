"""A small input with its known output: the proof that a module does here what it did at home.

``golden/golden.npz`` holds the input and what the module's machine made of it. The check runs
before a module may serve, so a file that loads but computes something else is refused.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from legonn_core.decoders.decoder import Decoder
from legonn_core.encoders.speech import SpeechEncoder
from legonn_core.encoders.text import TextEncoder
from legonn_core.errors import BadModule, NonFiniteMarginals
from legonn_core.modules.files import MAX_GOLDEN_BYTES, read_inside
from legonn_core.modules.registry import LoadedModule

FILE = "golden/golden.npz"
MAX_UNPACKED_BYTES = 256 << 20
TOLERANCE = 1e-3
"""Largest difference of a probability from the stored one; another CPU's rounding is far below."""


@torch.inference_mode()
def run(module: LoadedModule, given: NDArray[np.generic]) -> NDArray[np.float32]:
    """What a module makes of a golden input.

    Args:
        module: Any kind.
        given: Speech: int16 samples, whole chunks. Text: source pieces (S,). Decoder: class ids
            (U,), each row of marginals certain of its class.

    Returns:
        Probabilities (rows, V) float32; a decoder's are those of the first output token.
    """
    network, device = module.network, module.device
    if isinstance(network, SpeechEncoder):
        samples = torch.from_numpy(given.astype(np.float32) / 32768.0)[None].to(device)
        state, rows = network.start(1), []
        for chunk in samples.split(network.shape.chunk_samples, dim=1):
            logits, state = network.step(chunk, state)
            rows.append(logits[0])
        logits = torch.cat(rows)[network.shape.held_rows :]
    elif isinstance(network, TextEncoder):
        tokens = torch.from_numpy(given.astype(np.int64))[None].to(device)
        logits = network(tokens, torch.tensor([tokens.shape[1]], device=device))[0][0]
    else:
        assert isinstance(network, Decoder)
        ids = torch.from_numpy(given.astype(np.int64))[None, :, None]
        read = network.ingestor.read_sparse(
            ids, torch.ones(ids.shape), torch.zeros(ids.shape[:2]), torch.tensor([ids.shape[1]])
        )
        memory = network.remember(read.mixture, read.lengths)
        start = torch.zeros(1, dtype=torch.long)
        logits, _ = network.step(start, memory, network.start(1, 1))
    return logits.float().softmax(dim=-1).cpu().numpy()


def make(module: LoadedModule, given: NDArray[np.generic]) -> bytes:
    """The content of the golden file for an input."""
    expected = run(module, given)
    top = np.sort(np.argsort(-expected, axis=1, kind="stable")[:, :8], axis=1)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        given=given,
        classes=top.astype(np.uint16),
        probs=np.take_along_axis(expected, top, axis=1),
    )
    return buffer.getvalue()


def stored(folder: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of a version's golden file: small ones, inside the store, without objects.

    Raises:
        BadModule: If it is anything else.
    """
    ref = f"{folder.parent.name}/{folder.name}"
    where = f"{ref}: {FILE}"
    content = read_inside(folder.parent.parent, f"{ref}/{FILE}", max_bytes=MAX_GOLDEN_BYTES)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(one.file_size for one in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise BadModule(f"{where} unpacks to {unpacked} bytes; at most {MAX_UNPACKED_BYTES}")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {key: arrays[key] for key in ("given", "classes", "probs")}
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise BadModule(f"{where} cannot be read: {error}") from error


def check(module: LoadedModule, folder: Path) -> float:
    """Compare a module with its golden file, and a speech encoder's chunks with the whole.

    Returns:
        The largest difference of a probability.

    Raises:
        BadModule: If there is no such file or the outputs differ.
        NonFiniteMarginals: If the output is not a distribution.
    """
    arrays = stored(folder)
    given, classes = arrays["given"], arrays["classes"]
    probs = arrays["probs"].astype(np.float32)
    try:
        found = run(module, given)
    except (IndexError, RuntimeError, ValueError) as error:
        raise BadModule(f"{module.ref}: the input in {FILE} does not fit: {error}") from error
    if not np.isfinite(found).all() or np.abs(found.sum(axis=1) - 1.0).max() > TOLERANCE:
        raise NonFiniteMarginals(f"{module.ref}: its golden output is not a distribution")
    if classes.shape != probs.shape or found.shape[:1] != classes.shape[:1]:
        raise BadModule(
            f"{module.ref}: golden output has {found.shape[0]} rows, {len(classes)} expected"
        )
    if classes.size and int(classes.max()) >= found.shape[1]:
        raise BadModule(f"{module.ref}: {FILE} names a class that the vocabulary does not have")
    chosen = np.take_along_axis(found, classes.astype(np.int64), axis=1)
    difference = float(np.abs(chosen - probs).max(initial=0.0))
    if not difference <= TOLERANCE:  # NaN too
        raise BadModule(
            f"{module.ref}: golden output differs by {difference:.4f} (at most {TOLERANCE});"
            " these weights do not compute what the card promises"
        )
    _refuse_seams(module, given, found)
    return difference


@torch.inference_mode()
def _refuse_seams(
    module: LoadedModule, given: NDArray[np.generic], found: NDArray[np.float32]
) -> None:
    """Refuse a speech encoder that hears a recording otherwise in chunks than whole.

    Weights that are right for another context than the card's pass for chunks that were stored the
    same way; where the seams are, their marginals are not what training saw.

    Args:
        module: Any kind; only speech encoders read chunk by chunk.
        given: The golden input.
        found: (rows, V) what ``run`` made of it, chunk by chunk.

    Raises:
        BadModule: If the two differ.
    """
    network = module.network
    if not isinstance(network, SpeechEncoder):
        return
    samples = torch.from_numpy(given.astype(np.float32) / 32768.0)[None].to(module.device)
    chunks = torch.tensor([samples.shape[1] // network.shape.chunk_samples], device=module.device)
    logits, count = network(samples, chunks)
    whole = logits[0, : int(count[0])].float().softmax(dim=-1).cpu().numpy()
    seam = float(np.abs(whole - found).max(initial=0.0)) if whole.shape == found.shape else np.inf
    if not seam <= TOLERANCE:
        raise BadModule(
            f"{module.ref}: chunk by chunk it hears its golden input otherwise than whole, by"
            f" {seam:.4f} (at most {TOLERANCE}); its card's contexts are not those of its weights"
        )
